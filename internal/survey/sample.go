package survey

import (
	"context"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/certpurge/certpurge/internal/purge"
)

// inParallel is how many questions are sent at a time; the store's rates hold beside it.
const inParallel = 16

// lookAt looks for the samples of all groups that locations take.
func (s *Survey) lookAt(ctx context.Context, groups []*Group) error {
	tasks, ctx := errgroup.WithContext(ctx)
	tasks.SetLimit(inParallel)
	var mu sync.Mutex
	for _, g := range groups {
		if g.Taker == purge.TakenByNone {
			continue
		}
		for _, one := range g.sample {
			tasks.Go(func() error {
				downloads, verification, err := s.Look(ctx, one.user, one.target)
				mu.Lock()
				defer mu.Unlock()
				g.Downloads.Add(downloads)
				g.Verification.Add(verification)
				if err != nil && g.Failure == "" {
					g.Failure = err.Error()
				}
				return ctx.Err()
			})
		}
	}
	return tasks.Wait()
}

// Add adds another tally.
func (t *Tally) Add(more Tally) {
	t.Expected += more.Expected
	t.Found += more.Found
	t.Erased += more.Erased
	t.Unexpected += more.Unexpected
}

// Look asks the bucket for the directories of one reference. A reference that may be in several locations is found if
// it is in one of them.
func (s *Survey) Look(ctx context.Context, user purge.UserID, target purge.Target) (downloads, verification Tally,
	err error,
) {
	// tally counts one expected directory, which may be in several places.
	tally := func(t *Tally, expected bool, dirs []purge.Directory) error {
		for _, dir := range dirs {
			found, err := s.Objects.List(ctx, dir)
			if err != nil {
				return err
			}
			if len(found) == 0 {
				continue
			}
			if expected {
				t.Expected++
				t.Found++
			} else {
				t.Unexpected++
			}
			return nil
		}
		if !expected || len(dirs) == 0 {
			return nil
		}
		emptied, err := s.Database.Emptied(ctx, user, dirs)
		if err != nil {
			return err
		}
		if len(emptied) > 0 {
			t.Erased++
		} else {
			t.Expected++
		}
		return nil
	}
	var verify []purge.Directory
	signed := false
	for i := range len(downloadsOf(target)) {
		var dirs []purge.Directory
		for _, place := range target.Places {
			dirs = append(dirs, place.Downloads[i])
		}
		if err := tally(&downloads, !target.External, dirs); err != nil {
			return downloads, verification, err
		}
	}
	for _, place := range target.Places {
		if place.Verification != nil {
			verify, signed = append(verify, *place.Verification), signed || place.Location.Signed
		}
	}
	return downloads, verification, tally(&verification, signed && !target.External, verify)
}

// downloadsOf are the directories of the first place; all places have as many.
func downloadsOf(target purge.Target) []purge.Directory {
	if len(target.Places) == 0 {
		return nil
	}
	return target.Places[0].Downloads
}
