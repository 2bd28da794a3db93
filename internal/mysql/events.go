package mysql

import (
	"cmp"
	"context"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/certpurge/certpurge/internal/purge"
)

// eventKind says what happened to a request after it was made.
type eventKind string

// The kinds of events.
const (
	eventResubmitted     eventKind = "resubmitted" // submitted again, and left as it was
	eventReopened        eventKind = "reopened"
	eventAcceptedMissing eventKind = "accepted_missing"
	eventAcceptedShared  eventKind = "accepted_shared"
)

// event is a row of the table events. Rows are added, in the transaction of the change that they record, and never
// changed. Who made a request, when and with which ticket is no event: it is in the request's own row, in columns that
// no account of a running program may change.
type event struct {
	request purge.RequestID
	kind    eventKind
	actor   string
	ticket  string
}

func newEvent(request purge.RequestID, kind eventKind, r purge.Reopening) event {
	return event{request, kind, cut(r.By, 160), cutTicket(r.Ticket)}
}

// acceptances are the events of what is accepted for a request and was not accepted by the same person before.
func acceptances(request purge.RequestID, r purge.Reopening, missingBefore, sharedBefore string) (events []event) {
	for _, a := range []struct {
		kind       eventKind
		by, before string
	}{
		{eventAcceptedMissing, r.AcceptMissing, missingBefore}, {eventAcceptedShared, r.AcceptShared, sharedBefore},
	} {
		if a.by != "" && cut(a.by, 128) != a.before {
			e := newEvent(request, a.kind, r)
			e.actor = cmp.Or(e.actor, cut(a.by, 128))
			events = append(events, e)
		}
	}
	return events
}

const insertEvents = "INSERT INTO events (request_id, at, kind, actor, ticket) "

// addEvents adds the statements that write events.
func addEvents(q *script, events []event, at time.Time) {
	for some := range slices.Chunk(events, acceptBatch) {
		var args []any
		for _, e := range some {
			args = append(args, e.request, at, e.kind, e.actor, e.ticket)
		}
		q.add(insertEvents+"VALUES "+tuples("(?, ?, ?, ?, ?)", len(some)), args...)
	}
}

// addAcceptedByKey adds the statements that write what submissions accept, of requests that the transaction has made.
func addAcceptedByKey(q *script, submissions []purge.Submission) {
	for _, a := range []struct {
		kind   eventKind
		column string
	}{{eventAcceptedMissing, "accept_missing_by"}, {eventAcceptedShared, "accept_shared_by"}} {
		args := []any{a.kind}
		for _, w := range submissions {
			args = append(args, w.Key)
		}
		q.add(insertEvents+"SELECT id, requested_at, ?, COALESCE(NULLIF(requested_by, ''), "+a.column+"), ticket"+
			" FROM requests WHERE idempotency_key IN ("+tuples("?", len(submissions))+") AND "+a.column+" <> '' ORDER BY id",
			args...)
	}
}

// How often it is written that a request was submitted again: once an actor within an hour, and not more than 20 times
// within an hour, because a caller may name many on whose behalf it asks. What is left out changes nothing. Calls of
// the same moment do not see each other's events, so a few more may be written.
const (
	resubmittedPause = time.Hour
	maxResubmitted   = 20
)

// addResubmitted writes events of requests that were submitted again and stay as they are: those that are done, and
// those that are open and did not have the submission's ticket. It reads first, because an INSERT that reads would lock
// what it reads, and two callers with the same user would deadlock.
func (s *Store) addResubmitted(ctx context.Context, events []event) error {
	now := s.now()
	for some := range slices.Chunk(events, acceptBatch) {
		type submitter struct {
			RequestID purge.RequestID
			Actor     string
		}
		ids := make([]purge.RequestID, len(some))
		for i, e := range some {
			ids[i] = e.request
		}
		var written []submitter
		err := s.read(ctx, "reading events", &written, "SELECT request_id, actor FROM events WHERE kind = ? AND at > ?"+
			" AND request_id IN ?", eventResubmitted, now.Add(-resubmittedPause), ids)
		if err != nil {
			return err
		}
		before, count := map[submitter]bool{}, map[purge.RequestID]int{}
		for _, w := range written {
			before[w] = true
			count[w.RequestID]++
		}
		var fresh []event
		for _, e := range some {
			w := submitter{e.request, e.actor}
			if !before[w] && count[e.request] < maxResubmitted {
				fresh, before[w] = append(fresh, e), true
				count[e.request]++
			}
		}
		var q script
		if addEvents(&q, fresh, now); len(fresh) == 0 {
			continue
		}
		_, err = s.exec(ctx, "writing events to the ledger", q.statements[0].text, q.statements[0].args...)
		if err != nil {
			return err
		}
	}
	return nil
}

// cutTicket shortens a ticket to what the columns hold, 64 characters.
func cutTicket(s string) string {
	const characters = 64
	if utf8.RuneCountInString(s) <= characters {
		return s
	}
	return string([]rune(s)[:characters])
}

// OperationKind is what an operator did that is not about one request.
type OperationKind string

// The kinds of operations.
const (
	OperationResumed   OperationKind = "queue_resumed"
	OperationFixed     OperationKind = "doctor_fixed"
	OperationDashboard OperationKind = "dashboard" // a change in asynq's dashboard
)

// Operation is something that an operator did that is not about one request.
type Operation struct {
	Kind    OperationKind
	Subject string // what it was done to, such as the name of a queue; at most 64 characters
	By      string
	Ticket  string
	At      time.Time // when it was written down
}

// NoteOperation writes down what an operator is about to do.
func (s *Store) NoteOperation(ctx context.Context, o Operation) error {
	_, err := s.exec(ctx, "writing an event to the ledger",
		"INSERT INTO events (request_id, at, kind, actor, ticket, subject) VALUES (0, ?, ?, ?, ?, ?)",
		s.now(), o.Kind, cut(o.By, 160), cutTicket(o.Ticket), cut(o.Subject, 64))
	return err
}

// Operations returns the latest operations, the last one first.
func (s *Store) Operations(ctx context.Context, limit int) (all []Operation, err error) {
	err = s.read(ctx, "reading what operators did", &all, "SELECT at, kind, actor AS `by`, ticket, subject FROM events"+
		" WHERE request_id = 0 ORDER BY id DESC LIMIT ?", limit)
	return all, err
}
