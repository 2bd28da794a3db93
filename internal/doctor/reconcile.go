package doctor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/certpurge/certpurge/internal/config"
	"github.com/certpurge/certpurge/internal/purge"
)

// Ledger is what the Reconciler reads.
type Ledger interface {
	// Lead makes the caller the leader unless another process is. A leader must call release.
	Lead(ctx context.Context) (release func(), leading bool, err error)
	// OpenRequests returns open requests that were not touched since a moment and that wait for no date, in an order of
	// its own: those after a given one, or the first if it is the zero value; fewer than limit only if there are no more.
	OpenRequests(ctx context.Context, after purge.OpenRequest, untouchedSince time.Time, limit int) ([]purge.OpenRequest,
		error)
}

// Queue is what the Reconciler changes. Each method may be repeated.
type Queue interface {
	// Missing returns the requests that no task will serve.
	Missing(ctx context.Context, open []purge.OpenRequest) ([]purge.OpenRequest, error)
	// Restore puts tasks for requests into the queue.
	Restore(ctx context.Context, requests []purge.OpenRequest) error
	// Pending is the number of tasks that wait.
	Pending(ctx context.Context) (int, error)
	// Clean drops tasks that no worker will ever run, and returns their number.
	Clean(ctx context.Context) (int, error)
}

// Reconciler makes Redis agree with the ledger, which is the truth: tasks that no worker will ever run are dropped, and
// every open request without a task gets one, for any cause (a flushed Redis, an evicted key, an
// enqueuer that died half-way, asynq's archive). It touches no LMS table and no bucket, and ends no request. Set the
// fields once.
type Reconciler struct {
	config.Reconciler

	Ledger  Ledger
	Queue   Queue
	Now     func() time.Time
	Log     *slog.Logger
	Observe func(Summary, error) // called after every round of Run; may be nil
}

// Summary is what one round did.
type Summary struct {
	Led      bool `json:"led"`      // false: another process is the leader
	Checked  int  `json:"looked"`   // open requests compared
	Restored int  `json:"restored"` // tasks put back
	Dropped  int  `json:"swept"`    // archived and broken tasks
	Full     bool `json:"full"`     // stopped early, because enough tasks wait
}

// Once makes one round. It drops first, so that the requests of dropped tasks count as missing.
func (r *Reconciler) Once(ctx context.Context) (Summary, error) {
	var sum Summary
	release, leading, err := r.Ledger.Lead(ctx)
	if err != nil || !leading {
		return sum, err
	}
	defer release()
	sum.Led = true
	if sum.Dropped, err = r.Queue.Clean(ctx); err != nil {
		return sum, fmt.Errorf("cleaning the queues: %w", err)
	}
	since := r.Now().Add(-r.Grace)
	for last := (purge.OpenRequest{}); ; {
		pending, err := r.Queue.Pending(ctx)
		if err != nil {
			return sum, err
		}
		if pending >= r.HighWater {
			sum.Full = true
			return sum, nil
		}
		open, err := r.Ledger.OpenRequests(ctx, last, since, min(purge.MaxBatch, r.HighWater-pending))
		if err != nil || len(open) == 0 {
			return sum, err
		}
		sum.Checked += len(open)
		last = open[len(open)-1]
		missing, err := r.Queue.Missing(ctx, open)
		if err != nil {
			return sum, err
		}
		if err := r.Queue.Restore(ctx, missing); err != nil {
			return sum, err
		}
		sum.Restored += len(missing)
		wait := time.Duration(len(missing)) * time.Second / time.Duration(r.Rate)
		if !purge.Sleep(ctx, wait) {
			return sum, ctx.Err()
		}
	}
}

// Run makes rounds until ctx ends. What fails is tried again in the next round.
func (r *Reconciler) Run(ctx context.Context) {
	for purge.Sleep(ctx, r.Interval) {
		sum, err := r.Once(ctx)
		if r.Observe != nil {
			r.Observe(sum, err)
		}
		switch {
		case errors.Is(err, context.Canceled):
		case err != nil:
			r.Log.WarnContext(ctx, "reconciling failed", slog.Any("error", err))
		case sum.Restored+sum.Dropped > 0:
			r.Log.WarnContext(ctx, "ledger and queue differed", slog.Int("open_requests", sum.Checked),
				slog.Int("tasks_restored", sum.Restored), slog.Int("dead_tasks_removed", sum.Dropped))
		}
	}
}
