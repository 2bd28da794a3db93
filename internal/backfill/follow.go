package backfill

import (
	"context"
	"sync"
	"time"

	"github.com/RoaringBitmap/roaring/v2/roaring64"

	"github.com/certpurge/certpurge/internal/purge"
)

// Request is the part of a request in the ledger that a Follower needs.
type Request struct {
	ID        purge.RequestID
	State     purge.State
	Reason    purge.Reason
	NotBefore time.Time // zero unless it waits for a date
	UpdatedAt time.Time
}

// Ended counts requests that are followed no longer.
type Ended struct {
	Done    int `json:"done"`
	Missing int `json:"done_files_missing"` // done, but files were missing, which the settings or an operator accepted
	Refused int `json:"refused"`
	Failed  int `json:"failed"`
	Waiting int `json:"waiting_for_a_date"` // retained or restorable files; they are tried again after it
}

// All is the number of all of them.
func (e Ended) All() int { return e.Done + e.Missing + e.Refused + e.Failed + e.Waiting }

// Follower follows requests to their ends. It holds their ids in a compressed set, however many there are, and reads a
// page of them at a time.
type Follower struct {
	Requests func(ctx context.Context, ids []purge.RequestID) ([]Request, error)
	Status   *Status
	Now      func() time.Time

	mu    sync.Mutex
	open  *roaring64.Bitmap
	ended Ended
	begun time.Time
	all   bool // have been added
}

// maxSkew is how far the clocks of workers may be apart.
const maxSkew = 5 * time.Minute

// Begin makes the follower ready for requests.
func (f *Follower) Begin() { f.open, f.begun = roaring64.New(), f.Now() }

// Add follows those of the requests that are open. The others are counted as done.
func (f *Follower) Add(accepted []purge.Accepted) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, a := range accepted {
		switch {
		case a.Open:
			f.open.Add(uint64(a.Request)) //nolint:gosec // ids of the ledger are positive
		case a.Reason == purge.ReasonFilesMissing:
			f.ended.Missing++
		default:
			f.ended.Done++
		}
	}
}

// NoMore says that all requests have been added.
func (f *Follower) NoMore() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.all = true
}

// followInterval is the time between two checks of all requests.
const followInterval = time.Second

// Follow checks the requests at intervals, until all have ended or ctx has. It waits while the ledger is down.
func (f *Follower) Follow(ctx context.Context) (Ended, error) {
	for {
		f.mu.Lock()
		ids, all := f.open.Clone(), f.all
		f.mu.Unlock()
		for page := ids.ManyIterator(); ; {
			var raw [purge.MaxBatch]uint64
			n := page.NextMany(raw[:])
			if n == 0 {
				break
			}
			if err := f.check(ctx, raw[:n]); err != nil && ctx.Err() != nil {
				break
			}
		}
		f.mu.Lock()
		ended, left := f.ended, f.open.GetCardinality()
		f.mu.Unlock()
		f.Status.follow(ended)
		if all && left == 0 {
			return ended, nil
		}
		if !purge.Sleep(ctx, followInterval) {
			return ended, ctx.Err()
		}
	}
}

// check reads one page, and counts and removes the requests that have ended, or that wait for a date which an attempt
// found during this run.
func (f *Follower) check(ctx context.Context, raw []uint64) error {
	ids := make([]purge.RequestID, len(raw))
	for i, id := range raw {
		ids[i] = purge.RequestID(id) //nolint:gosec // as in Add
	}
	requests, err := f.Requests(ctx, ids)
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, r := range requests {
		switch {
		case r.State == purge.Done && r.Reason == purge.ReasonFilesMissing:
			f.ended.Missing++
		case r.State == purge.Done:
			f.ended.Done++
		case r.State == purge.Refused:
			f.ended.Refused++
		case r.State == purge.Failed:
			f.ended.Failed++
		case r.State == purge.Queued && !r.NotBefore.IsZero() && r.UpdatedAt.After(f.begun.Add(-maxSkew)):
			f.ended.Waiting++
		default:
			continue
		}
		f.open.Remove(uint64(r.ID)) //nolint:gosec // as in Add
	}
	return nil
}
