package mysql

import (
	"context"
	"database/sql"
	"slices"
	"strings"
	"time"

	"github.com/certpurge/certpurge/internal/purge"
)

// Progress is what has ended lately.
type Progress struct {
	LastDone *time.Time // nil if none ever was
	Minute   int64      // done in the last minute
	Ten      int64      // in the last ten
	Hour     int64      // in the last hour
	Failed   int64      // ended as failed in the last hour
}

// Progress reads what has ended lately, from the ends of an index.
func (s *Store) Progress(ctx context.Context) (Progress, error) {
	const what = "reading the progress"
	now := s.now()
	standings, err := s.standings(ctx, []purge.State{purge.Done, purge.Failed}, "")
	if err != nil {
		return Progress{}, classify(what, err)
	}
	var p Progress
	var q script
	var scans []func(*sql.Rows) error
	for _, at := range standings { // one range of the index for each
		const from = " FROM requests FORCE INDEX (requests_since) WHERE state = ? AND reason = ?"
		const since = "(SELECT COUNT(*)" + from + " AND since > ?)"
		which := []any{at.State, at.Reason}
		q.add("SELECT (SELECT MAX(since)"+from+"), "+since+", "+since+", "+since, slices.Concat(which, which,
			[]any{now.Add(-time.Minute)}, which, []any{now.Add(-10 * time.Minute)}, which, []any{now.Add(-time.Hour)})...)
		scans = append(scans, func(rows *sql.Rows) error {
			var last sql.NullTime
			var minute, ten, hour int64
			err := rows.Scan(&last, &minute, &ten, &hour)
			if at.State == purge.Failed {
				p.Failed += hour
				return err
			}
			if last.Valid && (p.LastDone == nil || last.Time.After(*p.LastDone)) {
				p.LastDone = &last.Time
			}
			p.Minute, p.Ten, p.Hour = p.Minute+minute, p.Ten+ten, p.Hour+hour
			return err
		})
	}
	if len(scans) == 0 {
		return p, nil
	}
	return p, classify(what, s.run(ctx, &q, scans...))
}

// Oldest is when the request that has been open longest was opened, of those that are in one state for one reason.
type Oldest struct {
	State    purge.State
	Reason   purge.Reason
	OpenedAt time.Time
}

// Oldest reads it for every reason for which requests are open: the first entry of an index for each.
func (s *Store) Oldest(ctx context.Context) ([]Oldest, error) {
	const what = "looking for the oldest requests"
	standings, err := s.standings(ctx, []purge.State{purge.Queued, purge.Running}, "")
	if err != nil || len(standings) == 0 {
		return nil, classify(what, err)
	}
	const one = "SELECT ? AS state, ? AS reason, MIN(since) AS opened_at FROM requests FORCE INDEX (requests_since)" +
		" WHERE state = ? AND reason = ?"
	var args []any
	for _, at := range standings {
		args = append(args, at.State, at.Reason, at.State, at.Reason)
	}
	var oldest []Oldest
	err = s.read(ctx, what, &oldest, "SELECT * FROM ("+one+strings.Repeat(" UNION ALL "+one, len(standings)-1)+
		") o WHERE opened_at IS NOT NULL", args...) // null: they have moved meanwhile
	return oldest, err
}

// Dates are a number of requests that wait for one, and the first and the last of the dates.
type Dates struct {
	Count       int64
	First, Last *time.Time // nil if there are none
}

// Recoverable counts requests of which something that was erased can still be restored.
func (s *Store) Recoverable(ctx context.Context) (d Dates, err error) {
	err = s.read(ctx, "counting what can be restored", &d, "SELECT COUNT(*) AS count, MIN(recoverable_until) AS first,"+
		" MAX(recoverable_until) AS last FROM requests WHERE recoverable_until > ?", s.now())
	return d, err
}

// Retained counts open requests that wait for a date that protects a file. Unlike the others it reads a row for each.
func (s *Store) Retained(ctx context.Context) (d Dates, err error) {
	err = s.read(ctx, "counting what waits for a date", &d, "SELECT COUNT(*) AS count, MIN(not_before) AS first,"+
		" MAX(not_before) AS last FROM requests WHERE state = ? AND reason IN ?", purge.Queued,
		[]purge.Reason{purge.ReasonRetained, purge.ReasonSoftDeleted})
	return d, err
}

// Ended is how many requests ended in one state within one slot of time.
type Ended struct {
	State purge.State
	Slot  int // from 0, counted from the time that was asked for
	Count int64
}

// EndedSince counts the requests that ended from a time on and before another, by state, in slots of whole seconds:
// a count for each reason. It reads one entry of an index for each request.
func (s *Store) EndedSince(ctx context.Context, from, before time.Time, slot time.Duration) ([]Ended, error) {
	const what = "counting what has ended"
	standings, err := s.standings(ctx, []purge.State{purge.Done, purge.Refused, purge.Failed}, "")
	if err != nil || len(standings) == 0 {
		return nil, classify(what, err)
	}
	var q script
	for _, at := range standings {
		q.add("SELECT ? AS state, TIMESTAMPDIFF(SECOND, ?, since) DIV ? AS slot, COUNT(*) FROM requests"+
			" FORCE INDEX (requests_since) WHERE state = ? AND reason = ? AND since >= ? AND since < ?"+
			" GROUP BY slot", at.State, from.UTC(), int64(slot/time.Second), at.State, at.Reason, from.UTC(), before.UTC())
	}
	var ended []Ended
	scan := func(rows *sql.Rows) error {
		var e Ended
		err := rows.Scan(&e.State, &e.Slot, &e.Count)
		ended = append(ended, e)
		return err
	}
	return ended, classify(what, s.run(ctx, &q, slices.Repeat([]func(*sql.Rows) error{scan}, len(standings))...))
}
