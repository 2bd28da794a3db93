package mysql

import (
	"context"
	"time"
)

// Receiver says whether the receiver of notifications accepts them. Times are zero if there is none.
type Receiver struct {
	Failures     int       `json:"failures"` // in a row
	FailingSince time.Time `json:"failing_since,omitzero"`
	NextAt       time.Time `json:"next_at,omitzero"` // nothing is sent before
	Answer       string    `json:"answer,omitempty"` // to the latest failure
	DeliveredAt  time.Time `json:"delivered_at,omitzero"`
}

// NotifyState is how far the notifications have come.
type NotifyState struct {
	Receiver

	BeganAt  time.Time `json:"began_at,omitzero"`  // requests that ended before it get no notification
	Position time.Time `json:"position,omitzero"`  // requests that ended before it have one, except for late commits
	LookedAt time.Time `json:"looked_at,omitzero"` // when a process last searched, give or take lookedEvery
	Verdict  string    `json:"verdict,omitempty"`  // of the latest notification about one
}

// lookedEvery is how old looked_at becomes before it is written again.
const lookedEvery = time.Minute

// NotifyState reads how far the notifications have come, and writes down that a process searches. The first call begins
// them.
func (s *Store) NotifyState(ctx context.Context, now time.Time) (NotifyState, error) {
	const what = "reading the state of the notifications"
	state, begun, err := s.readNotifyState(ctx)
	if err == nil && !begun {
		_, err = s.exec(ctx, what, "INSERT IGNORE INTO notify_state (id, began_at, position, looked_at) VALUES "+
			"(1, ?, ?, ?)", now.UTC(), now.UTC(), now.UTC())
		if err == nil {
			state, _, err = s.readNotifyState(ctx)
		}
	}
	if err == nil && now.Sub(state.LookedAt).Abs() >= lookedEvery {
		_, err = s.exec(ctx, what, "UPDATE notify_state SET looked_at = ? WHERE id = 1", now.UTC())
	}
	return state, err
}

// BeginNotify begins the notifications anew: requests that ended before a moment get none.
func (s *Store) BeginNotify(ctx context.Context, now time.Time) error {
	_, err := s.exec(ctx, "writing down where notifications begin", "UPDATE notify_state SET began_at = ?, position = ?"+
		" WHERE id = 1", now.UTC(), now.UTC())
	return err
}

// readNotifyState reads the one row; begun is false if there is none.
func (s *Store) readNotifyState(ctx context.Context) (state NotifyState, begun bool, err error) {
	err = s.read(ctx, "reading the state of the notifications", &state, "SELECT * FROM notify_state WHERE id = 1")
	return state, !state.BeganAt.IsZero(), err
}

// NotifyFigures is what an operator wants to know of the notifications.
type NotifyFigures struct {
	NotifyState
	NotifyCounts
}

// NotifyCounts counts notifications that are not delivered.
type NotifyCounts struct {
	Waiting int64     `json:"waiting"`
	Oldest  time.Time `json:"oldest,omitzero"` // when the oldest that waits was made
	GivenUp int64     `json:"given_up"`
}

// NotifyFigures reads them; ok is false if no process has ever had a notify.url.
func (s *Store) NotifyFigures(ctx context.Context) (f NotifyFigures, ok bool, err error) {
	f.NotifyState, ok, err = s.readNotifyState(ctx)
	if err != nil || !ok {
		return f, false, err
	}
	err = s.read(ctx, "counting notifications", &f.NotifyCounts, "SELECT"+
		" (SELECT COUNT(*) FROM notifications WHERE outcome = '') AS waiting,"+
		" (SELECT MIN(created_at) FROM notifications WHERE outcome = '') AS oldest,"+
		" (SELECT COUNT(*) FROM notifications WHERE outcome = 'given_up') AS given_up")
	return f, true, err
}
