package purge

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
)

// MaxBatch is how many submissions are accepted together at most: what one INSERT and one pipeline carry well. Callers
// that read users or requests in pages, to submit or queue them, read as many at a time.
const MaxBatch = 500

// Intake accepts submissions: first into the ledger, then into the queue, so that a crash in between costs a re-run,
// never a user.
type Intake struct {
	Requests Requests
	Tasks    Tasks
	By       string // for submissions without one
	Ticket   string // for submissions without one
}

// write writes a batch into the ledger.
func (in Intake) write(ctx context.Context, submissions []Submission) ([]Accepted, error) {
	if in.By != "" || in.Ticket != "" {
		submissions = slices.Clone(submissions)
		for i := range submissions {
			s := &submissions[i]
			s.By, s.Ticket = cmp.Or(s.By, in.By), cmp.Or(s.Ticket, in.Ticket)
		}
	}
	return in.Requests.Accept(ctx, submissions)
}

// Accept writes the requests of submissions into the ledger and queues a task for each that is open. If only the second
// step fails, it returns all answers, with an error that is ErrNotQueued and holds a *NotQueuedError. More than
// MaxBatch submissions are accepted batch by batch, as in Stream: if the first step fails, it returns the answers to
// the batches before.
func (in Intake) Accept(ctx context.Context, submissions []Submission) ([]Accepted, error) {
	var all []Accepted
	queued := 0
	err := in.Stream(ctx, slices.Chunk(submissions, MaxBatch), func(accepted []Accepted, err error) error {
		all = append(all, accepted...)
		if err == nil {
			queued = len(all)
		}
		return err
	})
	if !errors.Is(err, ErrNotQueued) || len(submissions) <= MaxBatch {
		return all, err
	}
	rest, ledgerErr := in.write(ctx, submissions[len(all):]) // an unreachable queue keeps no request out of the ledger
	if ledgerErr != nil {
		return all, fmt.Errorf("accepting %d requests: %w", len(submissions)-len(all), ledgerErr)
	}
	all = append(all, rest...)
	return all, alsoNotQueued(err, all[queued:])
}

// alsoNotQueued adds to the error of a batch all requests of the batches after it, none of which was queued. accepted
// begins with that batch.
func alsoNotQueued(err error, accepted []Accepted) error {
	batch, _ := errors.AsType[*NotQueuedError](err)
	missing := slices.Clone(batch.Requests)
	for _, task := range openTasks(accepted[min(MaxBatch, len(accepted)):], nil) {
		missing = append(missing, task.Request)
	}
	return fmt.Errorf("%w: %w", ErrNotQueued, &NotQueuedError{Requests: missing, Cause: batch.Cause})
}

// Stream accepts batches of submissions, of MaxBatch at most. While the tasks of one are queued, the next is written
// into the ledger; no task is queued before its request is written. Stream calls answered for each batch in the ledger,
// in order, with nil once its tasks are in the queue, or with an error that is ErrNotQueued. An error of answered ends
// the stream, and so does a batch that the ledger rejects. Only two batches are in memory at a time.
func (in Intake) Stream(ctx context.Context, batches iter.Seq[[]Submission],
	answered func([]Accepted, error) error,
) error {
	finish := func() error { return nil } // the batch before: wait for its tasks, and answer it
	for submissions := range batches {
		accepted, err := in.write(ctx, submissions)
		if before := finish(); before != nil {
			if err == nil {
				_ = answered(accepted, fmt.Errorf("%w: the batch before was not", ErrNotQueued)) // the stream has its error
			}
			return before
		}
		if err != nil {
			return fmt.Errorf("accepting %d requests: %w", len(submissions), err)
		}
		done := make(chan error, 1)
		go func() { done <- in.enqueue(ctx, accepted, submissions) }()
		finish = func() error { return answered(accepted, <-done) }
	}
	return finish()
}

// openTasks is one task for each request that is open. Its trace is that of the submission, if the submissions are
// given.
func openTasks(accepted []Accepted, submissions []Submission) []Task {
	tasks := make([]Task, 0, len(accepted))
	seen := make(map[RequestID]bool, len(accepted))
	for i, a := range accepted {
		if a.Open && !seen[a.Request] {
			seen[a.Request] = true
			task := Task{Request: a.Request, User: a.User, Certificate: a.Certificate}
			if i < len(submissions) {
				task.Trace = submissions[i].Trace
			}
			tasks = append(tasks, task)
		}
	}
	return tasks
}

func (in Intake) enqueue(ctx context.Context, accepted []Accepted, submissions []Submission) error {
	tasks := openTasks(accepted, submissions)
	err := in.Tasks.Enqueue(ctx, tasks)
	if err == nil {
		return nil
	}
	if _, named := errors.AsType[*NotQueuedError](err); !named {
		all := &NotQueuedError{Cause: err}
		for _, task := range tasks {
			all.Requests = append(all.Requests, task.Request)
		}
		err = all
	}
	return fmt.Errorf("%w: %w", ErrNotQueued, err)
}
