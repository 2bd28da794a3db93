package purge

import (
	"context"
	"errors"
	"fmt"
	"slices"
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

// Gather combines the submissions of concurrent callers into batches. Calls that arrive while others are being accepted
// wait, and are accepted together: the more callers, the larger the batches, and a single caller does not wait at all.
// Each gets the answers to its own submissions only. Make it with NewGather; it is safe for concurrent use.
type Gather struct {
	intake Intake
	calls  *Batcher[[]Submission, []Accepted]
}

// NewGather makes a Gather.
func NewGather(intake Intake) *Gather {
	g := &Gather{intake: intake}
	g.calls = NewBatcher(BatchOptions[[]Submission]{
		Size: func(submissions []Submission) int { return len(submissions) },
		Max:  MaxBatch, Workers: gatherWorkers, Limit: gatherLimit,
	}, func(ctx context.Context, calls [][]Submission, _ bool) ([]Answer[[]Accepted], error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), gatherLimit) // also where a single caller leaves
		defer cancel()
		return g.accept(ctx, calls), nil
	})
	return g
}

// Accept does what Intake's does. A caller whose context ends leaves without an answer; its submissions may be accepted
// all the same.
func (g *Gather) Accept(ctx context.Context, submissions []Submission) ([]Accepted, error) {
	if err := errors.Join(ctx.Err(), checkSubmissions(submissions)); err != nil {
		return nil, err
	}
	if len(submissions) >= MaxBatch { // a batch by itself
		return g.intake.Accept(ctx, submissions)
	}
	return g.calls.Do(ctx, submissions)
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

// accept accepts the submissions of all callers, and answers each. ErrKeyTaken and ErrTooManyKeys fail the whole batch,
// of which nothing was accepted, so each half is tried by itself: the other callers are delayed a little.
func (g *Gather) accept(ctx context.Context, calls [][]Submission) []Answer[[]Accepted] {
	accepted, err := g.intake.Accept(ctx, slices.Concat(calls...))
	if (errors.Is(err, ErrKeyTaken) || errors.Is(err, ErrTooManyKeys)) && len(calls) > 1 {
		half := len(calls) / 2
		return append(g.accept(ctx, calls[:half]), g.accept(ctx, calls[half:])...)
	}
	answers := make([]Answer[[]Accepted], len(calls))
	for i, submissions := range calls {
		if err != nil && !errors.Is(err, ErrNotQueued) {
			answers[i].Err = err
			continue
		}
		n := len(submissions)
		answers[i] = Answer[[]Accepted]{accepted[:n:n], notQueued(accepted[:n], err)}
		accepted = accepted[n:]
	}
	return answers
}

// notQueued returns the error of a batch for one caller: nil, if the tasks of all its requests were queued.
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
