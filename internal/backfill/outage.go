package backfill

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/certpurge/certpurge/internal/purge"
)

const (
	// roomInterval is how often a full queue is checked for room.
	roomInterval = time.Second
	// Waits between tries while a server is down.
	firstWait = time.Second
	lastWait  = 30 * time.Second
	// acceptTimeout is the limit of a batch that is under way when the run is stopped.
	acceptTimeout = time.Minute
)

// awaitRoom returns how many tasks the queue has room for, once it has any.
func (r *Runner) awaitRoom(ctx context.Context) (room int, err error) {
	defer r.Status.hold(false)
	for {
		var waiting int
		err := r.retry(ctx, func() (err error) {
			waiting, err = r.Waiting(ctx)
			return err
		})
		if err != nil || waiting < r.HighWater {
			return r.HighWater - waiting, err
		}
		r.Status.hold(true)
		if !purge.Sleep(ctx, roomInterval) {
			return 0, ctx.Err()
		}
	}
}

// accept submits a batch. A batch that is under way is finished when the run is stopped, so that no request is left
// without its task. Each answer is that of the first try that wrote the request into the ledger.
func (r *Runner) accept(ctx context.Context, items []Item) ([]purge.Accepted, error) {
	submissions := make([]purge.Submission, len(items))
	for i, item := range items {
		submissions[i] = item.Submission
	}
	var first []purge.Accepted
	err := r.retry(ctx, func() error {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), acceptTimeout)
		defer cancel()
		accepted, err := r.Intake.Accept(ctx, submissions)
		if n := len(first); len(accepted) > n {
			first = append(first, accepted[n:]...)
		}
		return err
	})
	return first, err
}

// retry calls try again while a server is down, and says so once. Errors that do not pass by themselves are returned.
func (r *Runner) retry(ctx context.Context, try func() error) error {
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
