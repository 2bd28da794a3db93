package doctor

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/certpurge/certpurge/internal/config"
	"github.com/certpurge/certpurge/internal/mysql"
	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/queue/inspect"
)

const (
	maxLost      = 10_000           // users in memory; beyond it, a finding says "more than"
	longRunning  = 10 * time.Minute // above the time that a task, its lease and asynq's recovery take
	restoreRate  = 500
	restoreWater = 50_000
)

// Lost searches for open requests that no task will serve. It reads the ledger before Redis, because a request is
// recorded before its task is enqueued, and the ledger again after Redis, because a request ends before its task does.
func (d *Doctor) Lost(ctx context.Context) ([]Finding, error) {
	since := d.Now().Add(-d.Grace)
	var queued, running []purge.UserID
	more := false
	for last := (purge.OpenRequest{}); !more; more = len(queued)+len(running) >= maxLost {
		open, err := d.Store.OpenRequests(ctx, last, since, purge.MaxBatch)
		if err != nil {
			return nil, err
		}
		if len(open) == 0 {
			break
		}
		last = open[len(open)-1]
		missing, err := d.Keeper.Missing(ctx, open)
		if err != nil {
			return nil, err
		}
		ids := make([]purge.RequestID, len(missing))
		for i, r := range missing {
			ids[i] = r.Request
		}
		rows, err := d.Store.Requests(ctx, ids)
		if err != nil {
			return nil, err
		}
		for _, r := range rows {
			switch {
			case !due(r, since, d.Now()):
			case r.State == purge.Running && r.UpdatedAt.Before(d.Now().Add(-longRunning)):
				running = append(running, r.UserID)
			default:
				queued = append(queued, r.UserID)
			}
		}
	}
	restore := sync.OnceValues(func() (bool, error) { return d.restore(ctx) })
	var findings []Finding
	add := func(kind, text string, users []purge.UserID) {
		if len(users) == 0 {
			return
		}
		findings = append(findings, Finding{
			Severity: Warn, Kind: kind, Subject: people(distinct(users), more), Text: text,
			Fix: "make a task for " + count(len(users), "request", more),
			fix: func(context.Context) (bool, error) { return restore() },
		})
	}
	add("request_without_task", "The ledger has open requests for which Redis has no task, after a crash or a loss of "+
		"data for example. The reconciler of a running worker makes them within minutes: if they stay, no worker is running.",
		queued)
	add("running_without_task", "The ledger says that requests have been running for more than ten minutes, but Redis "+
		"has no task for them. Their worker died, and no other continues; the reconciler of a running worker "+
		"makes new tasks.", running)
	return findings, nil
}

// due reports whether a request should have a task.
func due(r mysql.Request, since, now time.Time) bool {
	return !r.State.Ended() && !r.UpdatedAt.After(since) && (r.NotBefore == nil || r.NotBefore.Before(now))
}

// restore makes one round of the reconciler, and reports whether it reached the last request.
func (d *Doctor) restore(ctx context.Context) (bool, error) {
	r := Reconciler{
		Reconciler: config.Reconciler{Grace: d.Grace, Rate: restoreRate, HighWater: restoreWater},
		Ledger:     d.Store, Queue: d.Keeper, Now: d.Now, Log: slog.New(slog.DiscardHandler),
	}
	sum, err := r.Once(ctx)
	return err == nil && sum.Led && !sum.Full, err
}

// Needless searches for tasks that wait although no request of their user is open. It does so twice: a task that ran
// between the reads of Redis and the ledger does not wait any more.
func (d *Doctor) Needless(ctx context.Context) ([]Finding, error) {
	first, err := d.needless(ctx, nil)
	if err != nil || len(first) == 0 {
		return nil, err
	}
	second, err := d.needless(ctx, first)
	if err != nil || len(second) == 0 {
		return nil, err
	}
	return []Finding{{
		Severity: Note, Kind: "task_without_request",
		Subject: people(slices.Sorted(maps.Keys(second)), len(second) >= maxLost),
		Text: "Tasks wait for users of whom the ledger has no open request: it has ended, or belongs to another " +
			"installation. They are harmless: a worker that meets one finds nothing to do. Nothing needs to be done.",
	}}, nil
}

// needless returns users who have a waiting task and no open request; if among is not nil, of those users only.
func (d *Doctor) needless(ctx context.Context, among map[purge.UserID]bool) (map[purge.UserID]bool, error) {
	found := map[purge.UserID]bool{}
	for users, err := range inspect.WaitingUsers(ctx, d.Redis) {
		if err != nil {
			return nil, fmt.Errorf("reading the waiting tasks: %w", err)
		}
		if among != nil {
			users = slices.DeleteFunc(users, func(u purge.UserID) bool { return !among[u] })
		}
		open, err := d.Store.WithOpenRequests(ctx, users)
		if err != nil {
			return nil, err
		}
		for _, u := range users {
			if !slices.Contains(open, u) && len(found) < maxLost {
				found[u] = true
			}
		}
	}
	return found, nil
}

// maxShown is how many users, or rights, a text names.
const maxShown = 10

func distinct(users []purge.UserID) []purge.UserID {
	return slices.Compact(slices.Sorted(slices.Values(users)))
}

// people names users by their IDs.
func people(users []purge.UserID, more bool) string {
	names := make([]string, len(users))
	for i, u := range users {
		names[i] = strconv.FormatInt(int64(u), 10)
	}
	if len(names) == 1 {
		return "user " + names[0]
	}
	text := "users " + listed(names)
	if more {
		text += ", or even more"
	}
	return text
}

// listed joins the first few.
func listed(names []string) string {
	if len(names) > maxShown {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:maxShown], ", "), len(names)-maxShown)
	}
	return strings.Join(names, ", ")
}

// count writes a number of things, such as "3 tasks".
func count(n int, what string, more bool) string {
	switch {
	case more:
		return fmt.Sprintf("more than %d %ss", n, what)
	case n == 1:
		return "1 " + what
	default:
		return fmt.Sprintf("%d %ss", n, what)
	}
}
