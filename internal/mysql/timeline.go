package mysql

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"time"

	"github.com/certpurge/certpurge/internal/evidence"
	"github.com/certpurge/certpurge/internal/purge"
)

// Kinds of entries in a timeline, beside those of events.
const (
	TimelineRequested = "requested" // the request was made
	TimelineKey       = "key"       // another idempotency key leads to it from now on
	TimelineAttempt   = "attempt"
	TimelineMigrated  = "migrated" // evidence of an earlier version became a document
	TimelineEnded     = "ended"

	TimelineResubmitted = string(eventResubmitted)
)

// TimelineEntry is something that happened to a request.
type TimelineEntry struct {
	Request  purge.RequestID `json:"request_id"`
	At       time.Time       `json:"at"`
	Kind     string          `json:"kind"`
	Actor    string          `json:"actor,omitempty"`  // who asked, opened again or accepted
	Ticket   string          `json:"ticket,omitempty"` // theirs
	Attempt  int             `json:"attempt,omitempty"`
	Ended    *time.Time      `json:"ended,omitempty"` // of an attempt: when its record was written
	Worker   string          `json:"worker,omitempty"`
	Software string          `json:"software,omitempty"`
	State    purge.State     `json:"state,omitempty"` // in which the attempt left the request, or in which it ended
	Reason   purge.Reason    `json:"reason,omitempty"`
	Detail   string          `json:"detail,omitempty"`
	Cleared  int             `json:"references_cleared,omitempty"`
	// Running says that the attempt has written its intents, and its record is still to come; Died that none can come:
	// the worker died, or lost its lease.
	Running   bool    `json:"running,omitempty"`
	Died      bool    `json:"died,omitempty"`
	Documents []int64 `json:"documents,omitempty"` // their numbers in the ledger
}

// Title says in a few words what happened.
func (e TimelineEntry) Title() string {
	switch e.Kind {
	case TimelineKey:
		return "another idempotency key leads here"
	case TimelineResubmitted:
		return "submitted again"
	case string(eventReopened):
		return "opened again"
	case string(eventAcceptedMissing):
		return "missing files accepted"
	case string(eventAcceptedShared):
		return "shared directory accepted"
	case TimelineMigrated:
		return "evidence of an earlier version became documents"
	case TimelineAttempt:
		return fmt.Sprintf("attempt %d", e.Attempt)
	default: // requested, ended
		return e.Kind
	}
}

// Timeline returns what happened to requests: who made them, what callers and operators did to them afterwards, and
// each attempt that has left a document. It is ordered by request, then by time.
func (s *Store) Timeline(ctx context.Context, requests []Request) ([]TimelineEntry, error) {
	var all []TimelineEntry
	for some := range slices.Chunk(requests, rowsPerStatement) {
		entries, err := s.timelineOf(ctx, some)
		if err != nil {
			return nil, classify("reading the timeline", err)
		}
		all = append(all, entries...)
	}
	return all, nil
}

func (s *Store) timelineOf(ctx context.Context, requests []Request) ([]TimelineEntry, error) {
	var ids []any
	for _, r := range requests {
		ids = append(ids, r.ID)
	}
	t := newTimeline()
	var q script
	list := " WHERE request_id IN (" + tuples("?", len(ids)) + ") ORDER BY "
	q.add("SELECT request_id, created_at, requested_by FROM request_keys"+list+"created_at", ids...)
	q.add("SELECT request_id, at, kind, actor, ticket FROM events"+list+"id", ids...)
	q.add("SELECT request_id, id, document FROM evidence_documents"+list+"request_id, number", ids...)
	err := s.run(ctx, &q, t.scanKey, t.scanEvent, func(rows *sql.Rows) error {
		var request purge.RequestID
		var id int64
		var text []byte
		if err := rows.Scan(&request, &id, &text); err != nil {
			return err
		}
		d, err := evidence.Decode(text)
		if err != nil {
			return fmt.Errorf("document %d: %w", id, err)
		}
		t.document(request, id, d)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return t.entries(requests), nil
}

// timeline collects what happened to requests.
type timeline struct {
	others   map[purge.RequestID][]TimelineEntry
	attempts map[purge.RequestID]*attempts
}

func newTimeline() *timeline {
	return &timeline{others: map[purge.RequestID][]TimelineEntry{}, attempts: map[purge.RequestID]*attempts{}}
}

func (t *timeline) add(e TimelineEntry) { t.others[e.Request] = append(t.others[e.Request], e) }

// scanKey scans request_id, created_at, requested_by of request_keys.
func (t *timeline) scanKey(rows *sql.Rows) error {
	e := TimelineEntry{Kind: TimelineKey}
	err := rows.Scan(&e.Request, &e.At, &e.Actor)
	t.add(e)
	return err
}

// scanEvent scans request_id, at, kind, actor, ticket of events.
func (t *timeline) scanEvent(rows *sql.Rows) error {
	var e TimelineEntry
	err := rows.Scan(&e.Request, &e.At, &e.Kind, &e.Actor, &e.Ticket)
	t.add(e)
	return err
}

func (t *timeline) document(request purge.RequestID, id int64, d *evidence.Document) {
	if t.attempts[request] == nil {
		t.attempts[request] = newAttempts()
	}
	t.attempts[request].add(id, d)
}

// entries are those of the requests, by request, then by time.
func (t *timeline) entries(requests []Request) (all []TimelineEntry) {
	for _, r := range requests {
		all = append(all, timelineOfOne(r, t.others[r.ID], t.attempts[r.ID])...)
	}
	return all
}

// timelineOfOne orders what happened to a request: that it was made, what others did to it, its attempts, its end.
func timelineOfOne(r Request, others []TimelineEntry, made *attempts) []TimelineEntry {
	entries := []TimelineEntry{{
		Request: r.ID, At: r.RequestedAt, Kind: TimelineRequested, Actor: r.RequestedBy, Ticket: r.Ticket,
	}}
	entries = append(append(entries, others...), made.entries(r)...)
	if r.FinishedAt != nil && r.State.Ended() {
		entries = append(entries, TimelineEntry{
			Request: r.ID, At: *r.FinishedAt, Kind: TimelineEnded, State: r.State, Reason: r.Reason,
		})
	}
	slices.SortStableFunc(entries, func(a, b TimelineEntry) int { return a.At.Compare(b.At) })
	return entries
}

// attempts are those of one request, in the order of their documents.
type attempts struct {
	order    []*TimelineEntry
	byNumber map[int]*TimelineEntry
}

func newAttempts() *attempts { return &attempts{byNumber: map[int]*TimelineEntry{}} }

// add adds a document. An attempt may have several of each part.
func (a *attempts) add(id int64, d *evidence.Document) {
	if d.Part == evidence.Migrated {
		a.order = append(a.order, &TimelineEntry{
			Request: d.Request.ID, At: d.At, Kind: TimelineMigrated, Software: d.Software, Documents: []int64{id},
		})
		return
	}
	e := a.byNumber[d.Attempt]
	if e == nil {
		e = &TimelineEntry{
			Request: d.Request.ID, At: d.At, Kind: TimelineAttempt, Attempt: d.Attempt, Worker: d.Worker, Software: d.Software,
		}
		if d.Began != nil {
			e.At = *d.Began
		}
		a.byNumber[d.Attempt], a.order = e, append(a.order, e)
	}
	e.Documents = append(e.Documents, id)
	if d.Part != evidence.Record {
		return
	}
	if d.State != "" { // only in the last of several
		e.Ended, e.State, e.Reason, e.Detail = &d.At, d.State, d.Reason, d.Detail
	}
	for _, l := range d.Links {
		e.Cleared += l.Cleared
	}
}

func (a *attempts) entries(r Request) (entries []TimelineEntry) {
	if a == nil {
		return nil
	}
	for _, e := range a.order {
		if e.Kind == TimelineAttempt && e.Ended == nil {
			e.Running = r.State == purge.Running && e.Attempt == r.Attempts
			e.Died = !e.Running
		}
		entries = append(entries, *e)
	}
	return entries
}
