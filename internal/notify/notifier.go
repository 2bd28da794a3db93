package notify

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"github.com/certpurge/certpurge/internal/config"
	"github.com/certpurge/certpurge/internal/mysql"
	"github.com/certpurge/certpurge/internal/purge"
)

// Ledger is where a Notifier finds requests that have ended, and keeps its notifications.
type Ledger interface {
	// LeadNotify makes the caller the leader unless another process is. release must be called by a leader.
	LeadNotify(ctx context.Context) (release func(), leading bool, err error)
	// NotifyState reads the state of the notifications; the first call begins them.
	NotifyState(ctx context.Context, now time.Time) (mysql.NotifyState, error)
	// BeginNotify begins anew: requests that ended before a moment get no notification.
	BeginNotify(ctx context.Context, now time.Time) error
	// NotifyFigures counts what waits; ok is false if no process has ever had a notify.url.
	NotifyFigures(ctx context.Context) (f mysql.NotifyFigures, ok bool, err error)
	// EndsAfter returns ends in their order; fewer than limit only if there are no more.
	EndsAfter(ctx context.Context, after mysql.End, limit int) ([]mysql.End, error)
	// Requests returns requests as they are now: one that had ended may be open again.
	Requests(ctx context.Context, ids []purge.RequestID) ([]mysql.Request, error)
	// AddNotifications and AddVerdictNotification write notifications down; an end that has one gets no second one.
	AddNotifications(ctx context.Context, all []mysql.Notification, position time.Time) error
	AddVerdictNotification(ctx context.Context, n mysql.Notification, level string) error
	// DueNotifications returns those that may be sent now, with the fewest tries first.
	DueNotifications(ctx context.Context, now time.Time, limit int) ([]mysql.Notification, error)
	// SaveDeliveries writes down their outcomes, and the state of the receiver.
	SaveDeliveries(ctx context.Context, all []mysql.Delivery, receiver mysql.Receiver, now time.Time) error
	// GiveUpNotifications and PruneNotifications end and forget what is too old.
	GiveUpNotifications(ctx context.Context, before, now time.Time) (int64, error)
	PruneNotifications(ctx context.Context, delivered, givenUp time.Time) (int64, error)
}

// Meter counts what a Notifier does.
type Meter interface {
	// Sent counts tries, and what was given up.
	Sent(delivered, failed, givenUp int)
	// Waits says how many notifications wait, and for how long the oldest has.
	Waits(n int64, oldest time.Duration)
}

// Notifier makes notifications and sends them. Set the exported fields once.
type Notifier struct {
	config.Notify

	Ledger Ledger
	Send   func(ctx context.Context, id string, body []byte, now time.Time) Answer
	// Verdict is the level of the overview; known is false while it is still being read.
	Verdict func(ctx context.Context) (level, title string, known bool)
	Now     func() time.Time
	Log     *slog.Logger
	Meter   Meter

	deepAt   time.Time // when the latest deep look was
	keptAt   time.Time // when old notifications were given up and forgotten
	judgedAt time.Time
	level    string // one that differs from the latest notification,
	seen     int    // and in how many looks it was seen
}

// Summary is what one round did.
type Summary struct {
	Led       bool // false: another process is the leader
	Found     int  // ends and verdicts without a notification
	Delivered int
	Failed    int // tries
	GivenUp   int
}

// Once makes one round, unless another process leads: find, and send until nothing is due.
func (n *Notifier) Once(ctx context.Context) (sum Summary, err error) {
	release, leading, err := n.Ledger.LeadNotify(ctx)
	if err != nil || !leading {
		return sum, err
	}
	defer release()
	sum.Led = true
	state, err := n.Ledger.NotifyState(ctx, n.Now())
	if err != nil {
		return sum, err
	}
	if err := n.collect(ctx, state, &sum); err != nil {
		return sum, err
	}
	if err := n.judge(ctx, state, &sum); err != nil {
		return sum, err
	}
	if err := n.deliver(ctx, state.Receiver, &sum); err != nil {
		return sum, err
	}
	return sum, n.forget(ctx, &sum)
}

// How far back a look begins. Requests are found by their finished_at, which the worker takes from its own clock before
// it commits: an end may become visible after later ones were seen.
//
// Every look goes back by shortOverlap. Every deepEvery, and when a process starts, one goes back by deepOverlap, which
// no transaction outlives: an attempt ends after tasks.timeout, an hour at most, and the rest is for clocks that
// differ. What has a notification costs an entry of two indexes each.
const (
	shortOverlap = 30 * time.Second
	deepOverlap  = 75 * time.Minute
	deepEvery    = 10 * time.Minute
)

// page is how many ends are read at a time.
const page = 1000

// collect remembers a notification for each request that has ended.
func (n *Notifier) collect(ctx context.Context, state mysql.NotifyState, sum *Summary) error {
	now := n.Now()
	if !slices.Contains(n.Events, mysql.KindRequestEnded) {
		if now.Sub(state.Position) < time.Minute {
			return nil
		}
		return n.Ledger.BeginNotify(ctx, now) // what ends meanwhile gets no notification later
	}
	overlap, deep := shortOverlap, now.Sub(n.deepAt) >= deepEvery
	if deep {
		overlap = deepOverlap
	}
	from := slices.MaxFunc([]time.Time{state.BeganAt, state.Position.Add(-overlap), now.Add(-n.MaxAge)}, time.Time.Compare)
	for after := (mysql.End{FinishedAt: from}); ; {
		ends, err := n.Ledger.EndsAfter(ctx, after, page)
		if err != nil {
			return err
		}
		if len(ends) > 0 {
			after = ends[len(ends)-1]
		}
		if err := n.add(ctx, ends, state, now, sum); err != nil {
			return err
		}
		if len(ends) < page {
			break
		}
	}
	if deep {
		n.deepAt = now
	}
	return nil
}

// add writes down the notifications of a page of ends, and its last one as the position.
func (n *Notifier) add(ctx context.Context, ends []mysql.End, state mysql.NotifyState, now time.Time,
	sum *Summary,
) error {
	var ids []purge.RequestID
	position := state.Position
	for _, e := range ends {
		if !e.Notified {
			ids = append(ids, e.Request)
		}
		// Never beyond now: a worker whose clock is ahead must not hide what others end before its time comes.
		if e.FinishedAt.After(position) && !e.FinishedAt.After(now) {
			position = e.FinishedAt
		}
	}
	rows, err := n.Ledger.Requests(ctx, ids)
	if err != nil {
		return err
	}
	var all []mysql.Notification
	for _, r := range rows {
		if !r.State.Ended() || r.FinishedAt == nil {
			continue // opened again since
		}
		notification, err := n.requestEnded(r, now)
		if err != nil {
			return err
		}
		all = append(all, notification)
	}
	if len(all) == 0 && !position.After(state.Position) {
		return nil
	}
	sum.Found += len(all)
	return n.Ledger.AddNotifications(ctx, all, position)
}

// A verdict is notified when it was the same in this many checks: what comes and goes within a minute is not worth a
// call.
const (
	judgeEvery = 30 * time.Second
	steady     = 3
)

// judge writes down a notification if the verdict of the overview has changed since the last one, and stays so.
func (n *Notifier) judge(ctx context.Context, state mysql.NotifyState, sum *Summary) error {
	now := n.Now()
	if n.Verdict == nil || !slices.Contains(n.Events, mysql.KindVerdictChanged) || now.Sub(n.judgedAt) < judgeEvery {
		return nil
	}
	n.judgedAt = now
	level, title, known := n.Verdict(ctx)
	if !known || level == state.Verdict || level != n.level {
		n.seen = 0
	}
	if !known || level == state.Verdict {
		return nil
	}
	n.level = level
	if n.seen++; n.seen < steady {
		return nil
	}
	data := verdict{Level: level, Was: state.Verdict, Title: title}
	notification, err := n.notification(mysql.KindVerdictChanged, 0, "", now, now, data)
	if err != nil {
		return err
	}
	n.seen = 0
	sum.Found++
	return n.Ledger.AddVerdictNotification(ctx, notification, level)
}

// How long notifications stay in the ledger after they could have been given up. Delivered ones stay longer than ends
// are searched for, even if clocks differ; given up ones until an operator has had the time to retry them.
const (
	keepDelivered = 24 * time.Hour
	keepGivenUp   = 30 * 24 * time.Hour
	forgetEvery   = time.Hour
)

// forget gives up and removes what is too old.
func (n *Notifier) forget(ctx context.Context, sum *Summary) error {
	now := n.Now()
	if now.Sub(n.keptAt) < forgetEvery {
		return nil
	}
	givenUp, err := n.Ledger.GiveUpNotifications(ctx, now.Add(-n.MaxAge), now)
	sum.GivenUp = int(givenUp)
	if err != nil {
		return err
	}
	if givenUp > 0 {
		n.Log.ErrorContext(ctx, "notifications given up: the receiver has not accepted them within notify.max_age",
			slog.Int64("notifications", givenUp))
	}
	old := now.Add(-n.MaxAge)
	if _, err := n.Ledger.PruneNotifications(ctx, old.Add(-keepDelivered), old.Add(-keepGivenUp)); err != nil {
		return err
	}
	n.keptAt = now
	return nil
}
