package purge

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

const (
	// gatherWorkers is how many batches are accepted at a time: one is written into the ledger while the tasks of another
	// go into the queue.
	gatherWorkers = 2
	// gatherLimit bounds the acceptance of one batch, for which its callers' contexts do not speak. It is longer than
	// a caller should have to wait.
	gatherLimit = time.Minute
)

// Gather accepts the submissions of many callers at the same time, each with a few. Those who come while others are
// being accepted wait, and are accepted together: the more callers, the larger the batches, and one who comes alone
// does not wait at all. Each hears of its own submissions only. Make it with NewGather; it is safe for concurrent use.
type Gather struct {
	intake Intake

	mu      sync.Mutex
	waiting []*call
	workers int // how many are at work
}

// call is one caller's.
type call struct {
	submissions []Submission
	answer      chan answer // holds one, so that no worker waits for a caller who has left
}

type answer struct {
	accepted []Accepted
	err      error
}

// NewGather makes a Gather.
func NewGather(intake Intake) *Gather { return &Gather{intake: intake} }

// Accept does what Intake's does. A caller whose context ends leaves without an answer; its submissions may be accepted
// all the same.
func (g *Gather) Accept(ctx context.Context, submissions []Submission) ([]Accepted, error) {
	if err := errors.Join(ctx.Err(), checkSubmissions(submissions)); err != nil {
		return nil, err
	}
	if len(submissions) >= MaxBatch { // a batch by itself
		return g.intake.Accept(ctx, submissions)
	}
	c := &call{submissions: submissions, answer: make(chan answer, 1)}
	g.mu.Lock()
	g.waiting = append(g.waiting, c)
	if g.workers < gatherWorkers {
		g.workers++
		go g.work(context.WithoutCancel(ctx))
	}
	g.mu.Unlock()
	select {
	case a := <-c.answer:
		return a.accepted, a.err
	case <-ctx.Done():
		g.mu.Lock()
		g.waiting = slices.DeleteFunc(g.waiting, func(other *call) bool { return other == c })
		g.mu.Unlock()
		return nil, context.Cause(ctx)
	}
}

// checkSubmissions rejects what the ledger would refuse, together with the submissions of other callers.
func checkSubmissions(submissions []Submission) error {
	for _, w := range submissions {
		if !w.User.Valid() || w.Key == "" || len(w.Key) > maxLedgerKey {
			return fmt.Errorf("user %d: the submission has no valid user and key", w.User)
		}
	}
	return nil
}

// work accepts batches until no caller waits.
func (g *Gather) work(ctx context.Context) {
	for {
		calls := g.next()
		if len(calls) == 0 {
			return
		}
		limited, cancel := context.WithTimeout(ctx, gatherLimit)
		g.accept(limited, calls)
		cancel()
	}
}

// next takes those who have waited longest, a batch of them. Where there are none, the lane ends.
func (g *Gather) next() []*call {
	g.mu.Lock()
	defer g.mu.Unlock()
	submissions, n := 0, 0
	for n < len(g.waiting) && submissions+len(g.waiting[n].submissions) <= MaxBatch {
		submissions += len(g.waiting[n].submissions)
		n++
	}
	calls := slices.Clone(g.waiting[:n])
	g.waiting = slices.Delete(g.waiting, 0, n)
	if n == 0 {
		g.workers--
	}
	return calls
}

// accept accepts the submissions of all, and answers each. A key that is taken, or one too many, fails the whole batch,
// in which nothing was accepted then, so each half is tried alone: those who are not to blame lose a moment.
func (g *Gather) accept(ctx context.Context, calls []*call) {
	var submissions []Submission
	for _, c := range calls {
		submissions = append(submissions, c.submissions...)
	}
	accepted, err := g.intake.Accept(ctx, submissions)
	if (errors.Is(err, ErrKeyTaken) || errors.Is(err, ErrTooManyKeys)) && len(calls) > 1 {
		half := len(calls) / 2
		g.accept(ctx, calls[:half])
		g.accept(ctx, calls[half:])
		return
	}
	for _, c := range calls {
		if err != nil && !errors.Is(err, ErrNotQueued) {
			c.answer <- answer{err: err}
			continue
		}
		n := len(c.submissions)
		c.answer <- answer{accepted[:n:n], notQueued(accepted[:n], err)}
		accepted = accepted[n:]
	}
}

// notQueued is what the error of a batch means to one caller: nothing, if the tasks of all its requests were queued.
func notQueued(own []Accepted, err error) error {
	batch, failed := errors.AsType[*NotQueuedError](err)
	if !failed {
		return nil
	}
	mine := &NotQueuedError{Cause: batch.Cause}
	for _, a := range own {
		if a.Open && slices.Contains(batch.Requests, a.Request) {
			mine.Requests = append(mine.Requests, a.Request)
		}
	}
	if len(mine.Requests) == 0 {
		return nil
	}
	return fmt.Errorf("%w: %w", ErrNotQueued, mine)
}
