package telemetry

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/certpurge/certpurge/internal/purge"
)

// tracedSubmissions is how many submissions one call may have for its trace to include their purges. In a larger call
// each purge is a trace of its own, because one trace would have a million spans.
const tracedSubmissions = 100

// Follow makes the purges of the requests that next accepts part of the caller's trace.
func (t *Tracing) Follow(next purge.Requests) purge.Requests {
	if t == nil {
		return next
	}
	return following{t, next}
}

type following struct {
	*Tracing

	next purge.Requests
}

func (f following) Accept(ctx context.Context, submissions []purge.Submission) (accepted []purge.Accepted, err error) {
	ctx, end := f.start(ctx, "accept", trace.SpanKindProducer, attribute.Int("certpurge.submissions", len(submissions)))
	defer func() { end(err) }()
	if parent := Traceparent(ctx); len(submissions) <= tracedSubmissions {
		for i := range submissions {
			submissions[i].Trace = parent
		}
	}
	return f.next.Accept(ctx, submissions)
}

// mysqlSpan begins the span of what is one round trip to MySQL.
func (t *Tracing) mysqlSpan(ctx context.Context, operation string) (context.Context, func(error)) {
	return t.start(ctx, "mysql "+operation, trace.SpanKindClient, attribute.String("db.system.name", "mysql"),
		attribute.String("db.operation.name", operation))
}

// Users has spans for the check of a user.
func (t *Tracing) Users(next purge.Users) purge.Users {
	if t == nil {
		return next
	}
	return tracedUsers{t, next}
}

type tracedUsers struct {
	t    *Tracing
	next purge.Users
}

func (u tracedUsers) User(ctx context.Context, id purge.UserID) (user purge.User, err error) {
	ctx, end := u.t.mysqlSpan(ctx, "user")
	defer func() { end(err) }()
	return u.next.User(ctx, id)
}

func (u tracedUsers) Sharing(ctx context.Context, user purge.UserID, ids []string) (_ []purge.Shared, err error) {
	ctx, end := u.t.mysqlSpan(ctx, "sharing")
	defer func() { end(err) }()
	return u.next.Sharing(ctx, user, ids)
}

// Ledger has spans for the statements of an attempt.
func (t *Tracing) Ledger(next purge.Ledger) purge.Ledger {
	if t == nil {
		return next
	}
	return tracedLedger{t, next}
}

type tracedLedger struct {
	t    *Tracing
	next purge.Ledger
}

func (l tracedLedger) Begin(ctx context.Context, task purge.Task) (attempt purge.Attempt, err error) {
	ctx, end := l.t.mysqlSpan(ctx, "begin")
	defer func() { end(err) }()
	return l.next.Begin(ctx, task)
}

func (l tracedLedger) Extend(ctx context.Context, attempt purge.Attempt) (err error) {
	ctx, end := l.t.mysqlSpan(ctx, "extend")
	defer func() { end(err) }()
	return l.next.Extend(ctx, attempt)
}

func (l tracedLedger) Intend(
	ctx context.Context, attempt purge.Attempt, intents []purge.Evidence, empty []purge.Directory,
) (intended purge.Intended, err error) {
	ctx, end := l.t.mysqlSpan(ctx, "intend")
	defer func() { end(err) }()
	return l.next.Intend(ctx, attempt, intents, empty)
}

func (l tracedLedger) Record(ctx context.Context, attempt purge.Attempt, report purge.Report) (r purge.Recorded,
	err error,
) {
	ctx, end := l.t.mysqlSpan(ctx, "record")
	defer func() { end(err) }()
	return l.next.Record(ctx, attempt, report)
}

// Requests has spans for the writing of submissions.
func (t *Tracing) Requests(next purge.Requests) purge.Requests {
	if t == nil {
		return next
	}
	return tracedRequests{t, next}
}

type tracedRequests struct {
	t    *Tracing
	next purge.Requests
}

func (r tracedRequests) Accept(ctx context.Context, submissions []purge.Submission) (accepted []purge.Accepted,
	err error,
) {
	ctx, end := r.t.mysqlSpan(ctx, "accept")
	defer func() { end(err) }()
	return r.next.Accept(ctx, submissions)
}

// Tasks has spans for what is put into Redis.
func (t *Tracing) Tasks(next purge.Tasks) purge.Tasks {
	if t == nil {
		return next
	}
	return tracedTasks{t, next}
}

type tracedTasks struct {
	t    *Tracing
	next purge.Tasks
}

func (q tracedTasks) Enqueue(ctx context.Context, tasks []purge.Task) (err error) {
	ctx, end := q.t.start(ctx, "redis enqueue", trace.SpanKindProducer, attribute.String("messaging.system", "asynq"),
		attribute.Int("messaging.batch.message_count", len(tasks)))
	defer func() { end(err) }()
	return q.next.Enqueue(ctx, tasks)
}

// Objects has spans for the steps towards the store; the requests that each takes are spans below it.
func (t *Tracing) Objects(next purge.Objects) purge.Objects {
	if t == nil {
		return next
	}
	return tracedObjects{t, next}
}

type tracedObjects struct {
	t    *Tracing
	next purge.Objects
}

func (o tracedObjects) List(ctx context.Context, dir purge.Directory) (all []purge.Generation, err error) {
	ctx, end := o.t.start(ctx, "list", trace.SpanKindInternal)
	defer func() { end(err) }()
	return o.next.List(ctx, dir)
}

func (o tracedObjects) Delete(ctx context.Context, g purge.Generation) (err error) {
	ctx, end := o.t.start(ctx, "delete", trace.SpanKindInternal)
	defer func() { end(err) }()
	return o.next.Delete(ctx, g)
}

func (o tracedObjects) SoftDeleted(
	ctx context.Context, dir purge.Directory, since time.Time,
) (all []purge.SoftDeletedObject, err error) {
	ctx, end := o.t.start(ctx, "list soft-deleted", trace.SpanKindInternal)
	defer func() { end(err) }()
	return o.next.SoftDeleted(ctx, dir, since)
}
