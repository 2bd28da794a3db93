package purge_test

import (
	"errors"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/purge/purgetest"
)

// onlooker is an observer that keeps what it is told.
type onlooker struct {
	mu      sync.Mutex
	steps   []purge.Step
	saw     map[purge.Outcome]int
	cleared int
}

func (o *onlooker) Took(step purge.Step, d time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if d < 0 {
		step = "backwards"
	}
	o.steps = append(o.steps, step)
}

func (o *onlooker) Saw(outcome purge.Outcome, n int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.saw[outcome] += n
}

func (o *onlooker) Cleared(references int) { o.cleared += references }

func TestObserverIsNotified(t *testing.T) {
	t.Parallel()
	const held = "downloads/00000000000000000000000000000001/Certificate.pdf"
	for name, tc := range map[string]struct {
		prepare func(*stage)
		steps   []purge.Step
		saw     map[purge.Outcome]int
		cleared int
	}{
		"all is erased": {func(*stage) {}, purge.Steps(), map[purge.Outcome]int{purge.Erased: 12}, 3},
		"one is held": {
			func(s *stage) { s.cloud.Hold(held, true, false) }, purge.Steps(),
			map[purge.Outcome]int{purge.Erased: 11, purge.HeldBack: 1},
			2,
		},
		"restorable": {
			func(s *stage) {
				s.cloud.SoftDelete(time.Hour)
				s.cloud.AcceptSoftDelete, s.purger.Policy.AcceptSoftDelete = true, true
			},
			purge.Steps(),
			map[purge.Outcome]int{purge.SoftDeleted: 12},
			3,
		},
		"one directory is empty": {
			func(s *stage) { s.cloud.Remove(held) }, purge.Steps(), map[purge.Outcome]int{purge.Erased: 11, purge.Missing: 1}, 2,
		},
		"nothing can be listed": {
			func(s *stage) { s.cloud.Trouble(purgetest.OpList, purgetest.ServerError503, -1) }, purge.Steps(), nil, 0,
		},
		"not retiring": {
			func(s *stage) { s.store.SetUser(userA, purge.Retirement{UserExists: true}) },
			[]purge.Step{purge.StepClaim, purge.StepEligibility, purge.StepCommit},
			nil, 0,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, o := newStage(t), &onlooker{saw: map[purge.Outcome]int{}}
			s.purger.Observer = o
			tc.prepare(s)
			if _, err := s.purge(t.Context()); err != nil && name != "nothing can be listed" {
				t.Fatal(err)
			}
			if !slices.Equal(o.steps, tc.steps) {
				t.Errorf("got steps %v, want %v", o.steps, tc.steps)
			}
			if !maps.Equal(o.saw, tc.saw) || o.cleared != tc.cleared {
				t.Errorf("got %v and %d references cleared, want %v and %d", o.saw, o.cleared, tc.saw, tc.cleared)
			}
		})
	}
}

// TestObserverHearsOnlyOfWhatIsRecorded loses the recording; the next attempt tells.
func TestObserverHearsOnlyOfWhatIsRecorded(t *testing.T) {
	t.Parallel()
	s, o := newStage(t), &onlooker{saw: map[purge.Outcome]int{}}
	s.purger.Observer = o
	s.store.Fail = func(step string) error {
		if step == "record" {
			return errors.New("MySQL is away")
		}
		return nil
	}
	if _, err := s.purge(t.Context()); err == nil {
		t.Fatal("the recording was not lost")
	}
	if len(o.saw) > 0 || o.cleared > 0 {
		t.Errorf("got %v and %d references, although nothing was recorded", o.saw, o.cleared)
	}
	s.store.Fail = nil
	if _, err := s.purge(t.Context()); err != nil {
		t.Fatal(err)
	}
	if o.cleared != 3 {
		t.Errorf("got %d references cleared, want 3", o.cleared)
	}
}
