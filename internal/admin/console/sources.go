package console

import (
	"context"
	"errors"
	"time"

	"github.com/certpurge/certpurge/internal/certificate"
	"github.com/certpurge/certpurge/internal/doctor"
	"github.com/certpurge/certpurge/internal/mysql"
	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/queue/inspect"
	"github.com/certpurge/certpurge/internal/queue/presence"
	"github.com/certpurge/certpurge/internal/telemetry"
)

// Ledger is what the page reads of the ledger. None of it may need more than a walk along an index.
type Ledger interface {
	// Tallies counts all requests by state and reason.
	Tallies(ctx context.Context) ([]mysql.Tally, error)
	// Progress says what has ended lately.
	Progress(ctx context.Context) (mysql.Progress, error)
	// Oldest says since when the oldest open requests are open, by state and reason.
	Oldest(ctx context.Context) ([]mysql.Oldest, error)
	// EndedSince counts what ended from a time on and before another, in slots.
	EndedSince(ctx context.Context, from, before time.Time, slot time.Duration) ([]mysql.Ended, error)
	// Operations are what operators did lately, the last one first.
	Operations(ctx context.Context, limit int) ([]mysql.Operation, error)
	// UnanchoredSince is when the oldest evidence was written that is in no anchor; zero if all is.
	UnanchoredSince(ctx context.Context) (time.Time, error)
	// Retained and Recoverable say what waits for a date, and what can still be restored.
	Retained(ctx context.Context) (mysql.Dates, error)
	Recoverable(ctx context.Context) (mysql.Dates, error)
}

// Queues is what the page reads of Redis.
type Queues interface {
	// Backlog counts tasks, also while one is broken.
	Backlog(ctx context.Context) ([]inspect.Depth, error)
	// Statistics fails where asynq's own statistics, and so the dashboard, fail.
	Statistics(ctx context.Context) error
	// EvictionPolicy is what Redis does when its memory is full; empty if it does not report it.
	EvictionPolicy(ctx context.Context) string
	// Workers are all workers, with what they do.
	Workers(ctx context.Context) ([]presence.Worker, error)
}

// Uncovered is a number of retiring users who still have links, and the state of their requests.
type Uncovered struct {
	State  purge.State // empty: never requested
	Reason purge.Reason
	Users  int
	IDs    []purge.UserID // the first of them, maxUncovered at most
}

// Diagnosis is what the doctor has found. Whole is false if it left out what reads every task.
type Diagnosis struct {
	Findings []doctor.Finding
	Whole    bool
}

// Records is what the pages of requests, users and inventories read. Each call has a bound; EachFound, for exports, has
// none but reads page by page.
type Records interface {
	Search(ctx context.Context, s mysql.Search, after mysql.Position, b mysql.Bounds) (mysql.Hits, error)
	EachFound(ctx context.Context, s mysql.Search, do func([]mysql.Request) error) error
	// Requests returns those of the requests that the ledger has.
	Requests(ctx context.Context, ids []purge.RequestID) ([]mysql.Request, error)
	Detail(ctx context.Context, r mysql.Request) (mysql.Detail, error)
	GlanceUser(ctx context.Context, user purge.UserID) (mysql.Glance, error)
	Inventories(ctx context.Context, limit int) ([]mysql.Inventory, error)
	InventoryReport(ctx context.Context, id int64) ([]byte, error)
}

// Sources are where the content of pages comes from. Coverage, Doctor, Buckets and Paces may be nil: then pages say
// nothing of them.
type Sources struct {
	Ledger   Ledger
	Queues   Queues
	Problems func(ctx context.Context) []string // why the process is not ready
	Coverage func(ctx context.Context) ([]Uncovered, error)
	Doctor   func(ctx context.Context) (Diagnosis, error)
	Buckets  func() []purge.BucketSettings
	Paces    func() []telemetry.BucketFigures // how fast a worker may go
	// Records are the pages of requests, users and inventories; nil for none of them.
	Records Records
	// Refusal says why a user may not be purged.
	Refusal func(purge.Retirement) purge.Reason
	// Certificate makes the certificate of erasure of a user, signed if there is a key; nil if no request was ever made.
	Certificate func(ctx context.Context, user purge.UserID) (*certificate.Certificate, error)
	// Operations are what visitors may change; nil in a process whose account may not.
	Operations Operations
}

// Operations change something in the name of an operator, by, whom the ledger keeps.
type Operations interface {
	// ResumeQueue lets workers pull tasks from a paused queue.
	ResumeQueue(ctx context.Context, queue, by, ticket string) error
	// Fix is what enqueuer doctor --fix does. It returns what was found, and what of it was fixed.
	Fix(ctx context.Context, by, ticket string) ([]doctor.Finding, error)
	// Requeue opens requests again that have ended, and queues their tasks. It returns how many were opened: those of
	// whose user, or certificate, another request is open stay as they are.
	Requeue(ctx context.Context, requests []purge.OpenRequest, r purge.Reopening) (int, error)
	// Submit requests the purge of a user. The error is errNoSuchUser if the LMS does not have the user.
	Submit(ctx context.Context, user purge.UserID, by, ticket string) (purge.Accepted, error)
}

// errNoSuchUser means that the LMS does not have a user.
var errNoSuchUser = errors.New("the LMS has no such user")
