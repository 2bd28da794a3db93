package backfill

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/certpurge/certpurge/internal/purge"
)

const (
	// look is how often a full queue is checked.
	look = time.Second
	// Waits between tries while a server is away.
	firstWait = time.Second
	lastWait  = 30 * time.Second
	// lastWords is how long a batch that was begun may take to be finished when the run is told to stop.
	lastWords = time.Minute
)

// await returns how many tasks the queue has room for, once it has any.
func (r *Runner) await(ctx context.Context) (room int, err error) {
	defer r.Status.hold(false)
	for {
		var waiting int
		err := r.patiently(ctx, func() (err error) {
			waiting, err = r.Waiting(ctx)
			return err
		})
		if err != nil || waiting < r.HighWater {
			return r.HighWater - waiting, err
		}
		r.Status.hold(true)
		if !purge.Sleep(ctx, look) {
			return 0, ctx.Err()
		}
	}
}

// accept requests users. What was begun is finished even when the run is told to stop, so that no request is left
// without its task. Each answer is that of the first try that brought its user into the ledger.
func (r *Runner) accept(ctx context.Context, items []Item) ([]purge.Accepted, error) {
	submissions := make([]purge.Submission, len(items))
	for i, item := range items {
		submissions[i] = item.Submission
	}
	var first []purge.Accepted
	err := r.patiently(ctx, func() error {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWords)
		defer cancel()
		accepted, err := r.Intake.Accept(ctx, submissions)
		if n := len(first); len(accepted) > n {
			first = append(first, accepted[n:]...)
		}
		return err
	})
	return first, err
}

// patiently tries something again while a server is away, and says so once. What will not pass by itself is returned.
func (r *Runner) patiently(ctx context.Context, try func() error) error {
	var since time.Time
	for wait := firstWait; ; wait = min(2*wait, lastWait) {
		err := try()
		class := purge.ClassOf(err)
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil, errors.Is(err, purge.ErrKeyTaken), class != purge.Transient && class != purge.Unavailable:
			return err
		case since.IsZero():
			since = time.Now()
			r.Notice(fmt.Sprintf("waiting: %v", err))
		case time.Since(since) > r.Patience:
			return fmt.Errorf("waited %v: %w", r.Patience, err)
		}
		if !purge.Sleep(ctx, wait) {
			return ctx.Err()
		}
	}
}
