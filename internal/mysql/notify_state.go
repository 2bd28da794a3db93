package mysql

import (
	"context"
	"database/sql"
	"errors"
	"time"
)

// Receiver is how the receiver of notifications is. Times are zero if there is none.
type Receiver struct {
	Failures     int       `json:"failures"` // in a row
	FailingSince time.Time `json:"failing_since,omitzero"`
	NextAt       time.Time `json:"next_at,omitzero"` // nothing is sent before
	Answer       string    `json:"answer,omitempty"` // to the latest failure
	DeliveredAt  time.Time `json:"delivered_at,omitzero"`
}

// NotifyState is how far telling others has come.
type NotifyState struct {
	Receiver

	BeganAt  time.Time `json:"began_at,omitzero"`  // ends before it are not told
	Position time.Time `json:"position,omitzero"`  // ends up to here are told, except for late commits
	LookedAt time.Time `json:"looked_at,omitzero"` // when a process last looked, give or take lookedEvery
	Verdict  string    `json:"verdict,omitempty"`  // that was told last
}

const notifyColumns = "began_at, position, looked_at, failures, failing_since, next_at, answer, delivered_at, verdict"

// lookedEvery is how old looked_at becomes before it is written again.
const lookedEvery = time.Minute

// NotifyState reads how far telling has come, and writes down that a process looks. The first call begins it.
func (s *Store) NotifyState(ctx context.Context, now time.Time) (NotifyState, error) {
	state, err := s.readNotifyState(ctx)
	if errors.Is(err, sql.ErrNoRows) {
		_, err = s.sql.ExecContext(ctx, "INSERT IGNORE INTO notify_state (id, began_at, position, looked_at) VALUES "+
			"(1, ?, ?, ?)", now.UTC(), now.UTC(), now.UTC())
		if err == nil {
			state, err = s.readNotifyState(ctx)
		}
	}
	if err == nil && now.Sub(state.LookedAt).Abs() >= lookedEvery {
		_, err = s.sql.ExecContext(ctx, "UPDATE notify_state SET looked_at = ? WHERE id = 1", now.UTC())
	}
	return state, classify("reading how far telling has come", err)
}

// BeginNotify begins telling again: what ended before a moment is not told.
func (s *Store) BeginNotify(ctx context.Context, now time.Time) error {
	_, err := s.sql.ExecContext(ctx, "UPDATE notify_state SET began_at = ?, position = ? WHERE id = 1",
		now.UTC(), now.UTC())
	return classify("writing down from where to tell", err)
}

func (s *Store) readNotifyState(ctx context.Context) (state NotifyState, err error) {
	var failing, next, delivered sql.NullTime
	err = s.sql.QueryRowContext(ctx, "SELECT "+notifyColumns+" FROM notify_state WHERE id = 1").Scan(&state.BeganAt,
		&state.Position, &state.LookedAt, &state.Failures, &failing, &next, &state.Answer, &delivered, &state.Verdict)
	state.FailingSince, state.NextAt, state.DeliveredAt = failing.Time, next.Time, delivered.Time
	return state, err
}

// NotifyFigures is what an operator wants to know of the notifications.
type NotifyFigures struct {
	NotifyState

	Waiting int64     `json:"waiting"`
	Oldest  time.Time `json:"oldest,omitzero"` // when the oldest that waits was made
	GivenUp int64     `json:"given_up"`
}

// NotifyFigures reads them; ok is false if telling has never begun.
func (s *Store) NotifyFigures(ctx context.Context) (f NotifyFigures, ok bool, err error) {
	const what = "reading the figures of the notifications"
	f.NotifyState, err = s.readNotifyState(ctx)
	if errors.Is(err, sql.ErrNoRows) {
		return f, false, nil
	}
	if err != nil {
		return f, false, classify(what, err)
	}
	var oldest sql.NullTime
	err = s.sql.QueryRowContext(ctx, "SELECT (SELECT COUNT(*) FROM notifications WHERE outcome = ''),"+
		" (SELECT MIN(created_at) FROM notifications WHERE outcome = ''),"+
		" (SELECT COUNT(*) FROM notifications WHERE outcome = 'given_up')").Scan(&f.Waiting, &oldest, &f.GivenUp)
	f.Oldest = oldest.Time
	return f, true, classify(what, err)
}
