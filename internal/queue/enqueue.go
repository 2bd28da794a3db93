package queue

import (
	"context"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/certpurge/certpurge/internal/purge"
)

const (
	// enqueueBatch is the number of tasks in a batch: about 150 kB, answered in a few milliseconds. More gain nothing.
	enqueueBatch = 500
	// enqueueBatches is the number of batches in flight: one is made while Redis works on the other.
	enqueueBatches = 2
)

// Enqueue puts a task for each request into the queue. A task that is there already is a success: it may be our own,
// put there by a command whose answer was lost. A task that has ended is replaced, and one that waits for its retry
// runs now. At most two batches are in memory and in flight. After a failure no further batch is sent.
func (c *Client) Enqueue(ctx context.Context, tasks []purge.Task) error {
	errs := make([]error, len(tasks))
	var failed atomic.Bool
	var batches errgroup.Group
	batches.SetLimit(enqueueBatches)
	sent := 0
	for sent < len(tasks) && !failed.Load() {
		batch := tasks[sent:min(sent+enqueueBatch, len(tasks))]
		answers := errs[sent : sent+len(batch)]
		sent += len(batch)
		batches.Go(func() error {
			if !c.enqueueTogether(ctx, batch, answers) {
				failed.Store(true)
			}
			return nil
		})
	}
	_ = batches.Wait() // each task has its own error
	if !failed.Load() {
		return nil
	}
	missing := &purge.NotQueuedError{}
	for i, task := range tasks {
		if i < sent && errs[i] == nil {
			continue
		}
		if missing.Cause == nil {
			missing.Cause = errs[i]
		}
		missing.Requests = append(missing.Requests, task.Request)
	}
	return missing
}

// enqueueTogether sets an error or nil for each task, and reports whether all are nil.
func (c *Client) enqueueTogether(ctx context.Context, tasks []purge.Task, errs []error) (ok bool) {
	if len(tasks) == 1 {
		errs[0] = c.enqueue(ctx, tasks[0])
		return errs[0] == nil
	}
	l := newLockstep(c.redis) // single enqueues whose commands travel together: docs/decisions/0009
	// Its asynq client is new, so it registers the queue once more: an operator may have removed it.
	each := NewClient(l, c.queue, c.tasks)
	l.run(ctx, len(tasks), func(i int) { errs[i] = each.enqueue(ctx, tasks[i]) })
	for _, err := range errs {
		if err != nil {
			return false
		}
	}
	return true
}
