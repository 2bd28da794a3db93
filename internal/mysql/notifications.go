package mysql

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/certpurge/certpurge/internal/purge"
)

// The kinds of notifications.
const (
	KindRequestEnded   = "request.ended"
	KindVerdictChanged = "verdict.changed"
)

// Notification is an event for the receiver of notify.url.
type Notification struct {
	ID         int64 // in the ledger
	EventID    string
	Kind       string
	Request    purge.RequestID // 0: about no request
	HappenedAt time.Time       // of a request its finished_at
	CreatedAt  time.Time
	Tries      int
	Body       []byte
}

// Delivery is one try to deliver a notification.
type Delivery struct {
	Notification int64
	Delivered    bool
	Answer       string    // what was wrong
	DueAt        time.Time // when it may be tried again
}

// End is the end of a request.
type End struct {
	Request    purge.RequestID
	FinishedAt time.Time
	Notified   bool // it has a notification
}

// EndsAfter returns requests that ended at a moment or later, in the order of their ends: those after a given one, or
// all if its Request is 0. It returns fewer than limit only if there are no more. It reads only indexes, because it is
// called often for the latest ends.
func (s *Store) EndsAfter(ctx context.Context, after End, limit int) ([]End, error) {
	const what = "looking for requests that have ended"
	standings, err := s.standings(ctx, []purge.State{purge.Done, purge.Refused, purge.Failed}, "")
	if err != nil || len(standings) == 0 {
		return nil, classify(what, err)
	}
	// A range of an index for each. Of an IN, the server would sort all that have ended.
	const one = "(SELECT id, since FROM requests FORCE INDEX (requests_since) WHERE state = ? AND reason = ? AND" +
		" since >= ? AND (since > ? OR id > ?) ORDER BY since, id LIMIT ?)"
	var args []any
	for _, at := range standings {
		args = append(args, at.State, at.Reason, after.FinishedAt.UTC(), after.FinishedAt.UTC(), after.Request, limit)
	}
	args = append(args, KindRequestEnded, limit)
	var ends []End
	err = s.read(ctx, what, &ends, "SELECT e.id AS request, e.since AS finished_at, n.id IS NOT NULL AS notified"+
		" FROM ("+one+strings.Repeat(" UNION ALL "+one, len(standings)-1)+") e"+
		" LEFT JOIN notifications n ON n.kind = ? AND n.request_id = e.id AND n.happened_at = e.since"+
		" ORDER BY e.since, e.id LIMIT ?", args...)
	return ends, err
}

// AddNotifications writes down notifications, each of which is due at once, and the position up to which requests that
// ended have one. An end that has a notification gets no second one.
func (s *Store) AddNotifications(ctx context.Context, all []Notification, position time.Time) error {
	var q script
	q.add("START TRANSACTION")
	addNotifications(&q, all)
	q.add("UPDATE notify_state SET position = GREATEST(position, ?) WHERE id = 1", position.UTC())
	q.add("COMMIT")
	return classify("writing down notifications", s.run(ctx, &q))
}

// AddVerdictNotification writes down a notification about the verdict, and its level.
func (s *Store) AddVerdictNotification(ctx context.Context, n Notification, level string) error {
	var q script
	q.add("START TRANSACTION")
	addNotifications(&q, []Notification{n})
	q.add("UPDATE notify_state SET verdict = ? WHERE id = 1", level)
	q.add("COMMIT")
	return classify("writing down a notification", s.run(ctx, &q))
}

func addNotifications(q *script, all []Notification) {
	for some := range slices.Chunk(all, rowsPerStatement) {
		var args []any
		for _, n := range some {
			args = append(args, n.EventID, n.Kind, n.Request, n.HappenedAt.UTC(), n.CreatedAt.UTC(), n.CreatedAt.UTC(), n.Body)
		}
		q.add("INSERT IGNORE INTO notifications (event_id, kind, request_id, happened_at, created_at, due_at, body) VALUES "+
			tuples("(?, ?, ?, ?, ?, ?, ?)", len(some)), args...)
	}
}

// DueNotifications returns notifications that may be sent now, those with the fewest tries first: one that the receiver
// refuses again and again does not hold up the others, and a new one shows soonest whether the receiver is well again.
func (s *Store) DueNotifications(ctx context.Context, now time.Time, limit int) (due []Notification, err error) {
	err = s.read(ctx, "looking for notifications to send", &due, "SELECT id, event_id, kind, request_id AS request,"+
		" happened_at, created_at, tries, body FROM notifications FORCE INDEX (notifications_due)"+
		" WHERE outcome = '' AND due_at <= ? ORDER BY tries, due_at LIMIT ?", now.UTC(), limit)
	return due, err
}

// SaveDeliveries writes down what became of notifications, and how the receiver is.
func (s *Store) SaveDeliveries(ctx context.Context, all []Delivery, receiver Receiver, now time.Time) error {
	var q script
	q.add("START TRANSACTION")
	for _, d := range all {
		if d.Delivered {
			q.add("UPDATE notifications SET tries = tries + 1, outcome = 'delivered', settled_at = ?, answer = '', body = ''"+
				" WHERE id = ? AND outcome = ''", now.UTC(), d.Notification)
			continue
		}
		q.add("UPDATE notifications SET tries = tries + 1, due_at = ?, answer = ? WHERE id = ? AND outcome = ''",
			d.DueAt.UTC(), cut(d.Answer, 160), d.Notification)
	}
	q.add("UPDATE notify_state SET failures = ?, failing_since = ?, next_at = ?, answer = ?, delivered_at = ?"+
		" WHERE id = 1",
		receiver.Failures, nullable(receiver.FailingSince), nullable(receiver.NextAt), cut(receiver.Answer, 160),
		nullable(receiver.DeliveredAt))
	q.add("COMMIT")
	return classify("writing down what was delivered", s.run(ctx, &q))
}

// GiveUpNotifications ends notifications that have waited since before a moment, and returns how many.
func (s *Store) GiveUpNotifications(ctx context.Context, before, now time.Time) (int64, error) {
	return inBatches(ctx, s.sql, "giving up old notifications", "UPDATE notifications SET outcome = 'given_up',"+
		" settled_at = ? WHERE outcome = '' AND created_at < ? LIMIT ?", now.UTC(), before.UTC())
}

// RetryNotifications makes all notifications due that wait or were given up, and the receiver as if it had never
// failed. It returns how many were given up.
func (s *Store) RetryNotifications(ctx context.Context, now time.Time) (int64, error) {
	const what = "making notifications due again"
	n, err := inBatches(ctx, s.sql, what, "UPDATE notifications SET outcome = '', tries = 0, due_at = ?, created_at = ?,"+
		" settled_at = NULL WHERE outcome = 'given_up' LIMIT ?", now.UTC(), now.UTC())
	if err == nil {
		_, err = inBatches(ctx, s.sql, what, "UPDATE notifications SET due_at = ? WHERE outcome = '' AND due_at > ?"+
			" LIMIT ?", now.UTC(), now.UTC())
	}
	if err == nil {
		_, err = s.exec(ctx, what, "UPDATE notify_state SET next_at = NULL WHERE id = 1")
	}
	return n, err
}

// PruneNotifications removes notifications that were delivered, or given up, and are older than a moment.
func (s *Store) PruneNotifications(ctx context.Context, delivered, givenUp time.Time) (removed int64, err error) {
	for outcome, before := range map[string]time.Time{"delivered": delivered, "given_up": givenUp} {
		n, err := inBatches(ctx, s.sql, "removing old notifications", "DELETE FROM notifications WHERE outcome = ?"+
			" AND created_at < ? LIMIT ?", outcome, before.UTC())
		removed += n
		if err != nil {
			return removed, err
		}
	}
	return removed, nil
}
