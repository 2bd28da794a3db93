// Package backfill submits purge requests in bulk: it reads users from a source, submits them in batches at a given
// rate, keeps the queue small, and records its position.
//
//	source → batches → high-water mark → rate → intake → checkpoint → summary
//
// The checkpoint is written after a batch was accepted. If the process dies in between, the batch is submitted twice,
// and each of its users is still one request. The package refuses no user: the worker decides who is retiring.
package backfill

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"time"

	"golang.org/x/time/rate"

	"github.com/certpurge/certpurge/internal/purge"
)

// Item is one submission and its position in the source, after which a later run can continue.
type Item struct {
	Submission purge.Submission
	Position   int64
}

// Source yields submissions.
type Source interface {
	// Items yields the submissions after a position, 0 for the beginning, always in the same order, each once. It ends
	// with the first error.
	Items(ctx context.Context, after int64) iter.Seq2[Item, error]
	// Fingerprint describes the source and its filters in a few words. Sources that would yield the same submissions have
	// the same fingerprint; a checkpoint of another source is refused.
	Fingerprint() string
	// Share is the part of the source up to a position, from 0 to 1; negative if unknown.
	Share(position int64) float64
}

// Intake takes submissions, as purge.Intake does.
type Intake interface {
	Accept(ctx context.Context, submissions []purge.Submission) ([]purge.Accepted, error)
}

// Runner backfills from one source. Set the fields once.
type Runner struct {
	Source     Source
	Intake     Intake
	Waiting    func(ctx context.Context) (int, error) // how many tasks wait in the queue
	HighWater  int                                    // nothing is submitted while this many tasks wait
	MaxUsers   int                                    // in this run; 0 for all
	Rate       float64                                // users a second; 0 for no limit
	Batch      int                                    // users submitted at a time, at most; 0 for purge.MaxBatch
	Checkpoint *Checkpoint                            // nil for none
	Status     *Status
	Accepted   func([]purge.Accepted) // called after each batch; may be nil
	Patience   time.Duration          // how long to wait while MySQL or Redis is down
	Notice     func(text string)      // called with what an operator should know meanwhile
}

// ErrCapped is the error of a run that stopped at MaxUsers before the end of its source.
var ErrCapped = errors.New("stopped at --max-users, and there are more")

// Summary is what a run did.
type Summary struct {
	Users int `json:"users"` // submitted in this run
	// of those, what the submission met: new, queued, running, done, refused, failed
	Found    map[purge.Found]int `json:"found"`
	Closed   int                 `json:"already_done"`     // of those, done before and with nothing left to do
	Earlier  int                 `json:"users_of_earlier"` // submitted by the earlier runs of the checkpoint
	Position int64               `json:"position"`         // in the source
	Complete bool                `json:"complete"`         // the source has come to its end
}

// Run submits the source's users until its end, the cap, or the end of ctx. The summary is valid also with an error.
func (r *Runner) Run(ctx context.Context) (Summary, error) {
	sum := Summary{Found: map[purge.Found]int{}}
	if r.Checkpoint != nil {
		sum.Position, sum.Earlier, sum.Complete = r.Checkpoint.Position, r.Checkpoint.Users, r.Checkpoint.Complete
		if sum.Complete {
			return sum, nil
		}
		if err := r.Checkpoint.save(sum); err != nil { // before any request is made in vain
			return sum, err
		}
		if r.MaxUsers == 0 {
			r.Status.Begin(r.Source.Share(sum.Position))
		}
	}
	next, stop := iter.Pull2(r.Source.Items(ctx, sum.Position))
	defer stop()
	size, limiter := r.pace()
	for {
		batch, err := r.collect(next, r.room(sum, size))
		if err == nil && ctx.Err() != nil { // a source that was interrupted is not at its end
			err, batch = ctx.Err(), nil
		}
		if err == nil && len(batch) == 0 {
			sum.Complete = r.room(sum, 1) > 0
			if !sum.Complete { // at the cap: is there another user?
				if _, err, more := next(); err != nil || more {
					return sum, errors.Join(err, ErrCapped)
				}
				sum.Complete = true
			}
			r.Status.advance(sum, 1)
			return sum, r.save(sum)
		}
		// The users before an error are still submitted: the source has checked them.
		if err := r.submit(ctx, batch, limiter, &sum); err != nil {
			return sum, err
		}
		if err != nil {
			return sum, err
		}
	}
}

// pace returns the size of a batch, and the limiter of the rate.
func (r *Runner) pace() (size int, limiter *rate.Limiter) {
	size = cmp.Or(r.Batch, purge.MaxBatch)
	if r.Rate <= 0 {
		return size, rate.NewLimiter(rate.Inf, 0)
	}
	size = max(1, min(size, int(math.Ceil(r.Rate))))
	return size, rate.NewLimiter(rate.Limit(r.Rate), size)
}

// room is how many users may still be submitted, at most size.
func (r *Runner) room(sum Summary, size int) int {
	if r.MaxUsers == 0 {
		return size
	}
	return min(size, r.MaxUsers-sum.Users)
}

// share is how much of the run is done: of the source, or of the cap.
func (r *Runner) share(sum Summary) float64 {
	if r.MaxUsers > 0 {
		return float64(sum.Users) / float64(r.MaxUsers)
	}
	return r.Source.Share(sum.Position)
}

func (r *Runner) collect(next func() (Item, error, bool), size int) ([]Item, error) {
	var batch []Item
	for len(batch) < size {
		item, err, more := next()
		if err != nil || !more {
			return batch, err
		}
		batch = append(batch, item)
	}
	return batch, nil
}

// submit submits a batch, in parts if the queue has no room for all of it.
func (r *Runner) submit(ctx context.Context, batch []Item, limiter *rate.Limiter, sum *Summary) error {
	for len(batch) > 0 {
		room, err := r.awaitRoom(ctx)
		if err != nil {
			return err
		}
		part := batch[:min(room, len(batch))]
		if err := limiter.WaitN(ctx, len(part)); err != nil {
			return fmt.Errorf("waiting for --rate: %w", context.Cause(ctx))
		}
		accepted, err := r.accept(ctx, part)
		if err != nil {
			return err
		}
		for _, a := range accepted {
			sum.Found[a.Found]++
			if !a.Open {
				sum.Closed++
			}
		}
		sum.Users += len(part)
		sum.Position = part[len(part)-1].Position
		if r.Accepted != nil {
			r.Accepted(accepted)
		}
		r.Status.advance(*sum, r.share(*sum))
		if err := r.save(*sum); err != nil {
			return err
		}
		batch = batch[len(part):]
	}
	return nil
}

func (r *Runner) save(sum Summary) error {
	if r.Checkpoint == nil {
		return nil
	}
	return r.Checkpoint.save(sum)
}
