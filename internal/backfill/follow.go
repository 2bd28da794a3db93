package backfill

import (
	"context"
	"sync"
	"time"

	"github.com/RoaringBitmap/roaring/v2/roaring64"

	"github.com/certpurge/certpurge/internal/purge"
)

// Fate is what the ledger says of a request.
type Fate struct {
	Request   purge.RequestID
	State     purge.State
	Reason    purge.Reason
	WaitsTill time.Time // zero unless it waits for a date
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

// Follower follows requests to their ends. However many there are, it holds their ids in a compressed set and requests
// a page of them at a time.
type Follower struct {
	Fates  func(ctx context.Context, ids []purge.RequestID) ([]Fate, error)
	Status *Status
	Now    func() time.Time

	mu    sync.Mutex
	open  *roaring64.Bitmap
	ended Ended
	begun time.Time
	sure  bool // that no more will come
}

// skew is how far the clocks of workers may be apart.
const skew = 5 * time.Minute

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
	f.sure = true
}

// between is the time between two checks of all requests.
const between = time.Second

// Follow checks the requests again and again, until all have ended or ctx has. An outage of the ledger is waited out.
func (f *Follower) Follow(ctx context.Context) (Ended, error) {
	for {
		f.mu.Lock()
		ids, sure := f.open.Clone(), f.sure
		f.mu.Unlock()
		for page := ids.ManyIterator(); ; {
			var raw [purge.MaxBatch]uint64
			n := page.NextMany(raw[:])
			if n == 0 {
				break
			}
			if err := f.look(ctx, raw[:n]); err != nil && ctx.Err() != nil {
				break
			}
		}
		f.mu.Lock()
		ended, left := f.ended, f.open.GetCardinality()
		f.mu.Unlock()
		f.Status.follow(ended)
		if sure && left == 0 {
			return ended, nil
		}
		if !purge.Sleep(ctx, between) {
			return ended, ctx.Err()
		}
	}
}

// look requests one page and lets go of those that have ended, or wait for a date that was found out during this run.
func (f *Follower) look(ctx context.Context, raw []uint64) error {
	ids := make([]purge.RequestID, len(raw))
	for i, id := range raw {
		ids[i] = purge.RequestID(id) //nolint:gosec // as in Add
	}
	fates, err := f.Fates(ctx, ids)
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, fate := range fates {
		switch {
		case fate.State == purge.Done && fate.Reason == purge.ReasonFilesMissing:
			f.ended.Missing++
		case fate.State == purge.Done:
			f.ended.Done++
		case fate.State == purge.Refused:
			f.ended.Refused++
		case fate.State == purge.Failed:
			f.ended.Failed++
		case fate.State == purge.Queued && !fate.WaitsTill.IsZero() && fate.UpdatedAt.After(f.begun.Add(-skew)):
			f.ended.Waiting++
		default:
			continue
		}
		f.open.Remove(uint64(fate.Request)) //nolint:gosec // as in Add
	}
	return nil
}
