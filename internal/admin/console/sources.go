package console

import (
	"context"
	"time"

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
	// EvictionPolicy is what Redis does when its memory is full; empty if it does not tell.
	EvictionPolicy(ctx context.Context) string
	// Workers are all workers, with what they do.
	Workers(ctx context.Context) ([]presence.Worker, error)
}

// Uncovered is a number of retiring users who still have links, and what became of their requests.
type Uncovered struct {
	State  purge.State // empty: never requested
	Reason purge.Reason
	Users  int
}

// Diagnosis is what the doctor has found. Whole is false if it left out what reads every task.
type Diagnosis struct {
	Findings []doctor.Finding
	Whole    bool
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
	// Operations are what visitors may change; nil in a process whose account may not.
	Operations Operations
}

// Operations change something in the name of an operator, by, whom the ledger keeps.
type Operations interface {
	// ResumeQueue lets workers pull tasks from a paused queue.
	ResumeQueue(ctx context.Context, queue, by, ticket string) error
	// Fix is what enqueuer doctor --fix does. It returns what was found, and what of it was fixed.
	Fix(ctx context.Context, by, ticket string) ([]doctor.Finding, error)
}
