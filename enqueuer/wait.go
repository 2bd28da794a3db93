package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/certpurge/certpurge/internal/cli"
	"github.com/certpurge/certpurge/internal/mysql"
	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/queue/inspect"
)

// pollInterval is how often the ledger is read while waiting.
const pollInterval = 250 * time.Millisecond

// errWaited is the end of --timeout.
var errWaited = errors.New("--timeout was over before all requests had ended; they continue")

// wait follows requests in the ledger until each has ended or waits for a date, prints them, and returns the error that
// decides the exit code. If no worker takes tasks meanwhile, it says why.
func (a *app) wait(ctx context.Context, store *mysql.Store, rdb redis.UniversalClient, accepted []purge.Accepted,
	o enqueueOptions,
) error {
	ids, before := make([]purge.RequestID, len(accepted)), map[purge.RequestID]int{}
	for i, r := range accepted {
		ids[i], before[r.Request] = r.Request, r.Attempts
	}
	ctx, cancel := context.WithTimeoutCause(ctx, o.timeout, errWaited)
	defer cancel()
	var rows []mysql.Request
	begin := sync.OnceValue(func() func() {
		return followStandstill(ctx, rdb, o.queue, func(why string) {
			_, _ = fmt.Fprintln(a.streams.Err, standstillNotice(why))
		})
	})
	silence := func() {} // before anything else is said
	defer func() { silence() }()
	for {
		latest, err := store.Requests(ctx, ids)
		if err == nil {
			rows = latest
			if settled(rows, before) {
				break
			}
		} else if ctx.Err() == nil {
			return cli.Unavailable(err)
		}
		silence = begin()
		if !purge.Sleep(ctx, pollInterval) {
			silence()
			return errors.Join(a.printRequests(rows, nil, o.output), ended(ctx))
		}
	}
	silence()
	if err := a.printRequests(rows, nil, o.output); err != nil {
		return err
	}
	undone, missing := 0, 0
	for _, r := range rows {
		switch {
		case r.State != purge.Done:
			undone++
		case r.Reason == purge.ReasonFilesMissing:
			missing++
		}
	}
	if undone+missing > 0 {
		return cli.Errorf(cli.ExitNotDone, "%s", notDone(missing, undone, len(rows)))
	}
	return nil
}

// notDone says how many of all requests are not plainly done.
func notDone(missing, undone, all int) string {
	var parts []string
	if undone > 0 {
		parts = append(parts, fmt.Sprintf("not done: %d of %d", undone, all))
	}
	if missing > 0 {
		parts = append(parts, fmt.Sprintf("done with files missing: %d of %d", missing, all))
	}
	return strings.Join(parts, "; ")
}

// ended says why waiting ended.
func ended(ctx context.Context) error {
	if errors.Is(context.Cause(ctx), errWaited) {
		return cli.Errorf(cli.ExitTimeout, "%w", errWaited)
	}
	return ctx.Err()
}

// settled reports whether nothing will happen to the requests soon. A request that waits for a date counts only after
// an attempt that began after this command: the date may have changed.
func settled(rows []mysql.Request, before map[purge.RequestID]int) bool {
	for _, r := range rows {
		if !r.State.Ended() && (r.NotBefore == nil || r.Attempts <= before[r.ID]) {
			return false
		}
	}
	return true
}

const (
	// standstillInterval is how often a command that waits reads the states of the workers, and standstillTime the limit
	// of one read.
	standstillInterval = 2 * time.Second
	standstillTime     = 5 * time.Second
)

// followStandstill calls changed with the reason why no task of a queue is taken, at once and whenever that changes,
// and with an empty string when tasks are taken again. It ends when stop is called.
func followStandstill(
	ctx context.Context, rdb redis.UniversalClient, queueName string, changed func(why string),
) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var following sync.WaitGroup
	following.Go(func() {
		for last := ""; ; {
			why := standstill(ctx, rdb, queueName)
			if ctx.Err() != nil {
				return
			}
			if why != last {
				last = why
				changed(why)
			}
			if !purge.Sleep(ctx, standstillInterval) {
				return
			}
		}
	})
	return func() { cancel(); following.Wait() }
}

// standstill says why no task of a queue is taken, or why that cannot be known.
func standstill(ctx context.Context, rdb redis.UniversalClient, queueName string) string {
	ctx, cancel := context.WithTimeout(ctx, standstillTime)
	defer cancel()
	why, err := inspect.Standstill(ctx, rdb, queueName)
	if err != nil {
		return "it cannot be seen whether workers pull tasks: " + err.Error()
	}
	return why
}

// standstillNotice is the line about it.
func standstillNotice(why string) string {
	if why == "" {
		return "tasks are taken again"
	}
	return "waiting: " + why
}
