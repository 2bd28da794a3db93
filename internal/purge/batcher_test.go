package purge_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/certpurge/certpurge/internal/purge"
)

// doubling is what the tests run: it notes its batches, takes a second, and doubles numbers.
type doubling struct {
	mu      sync.Mutex
	batches []string
	fails   func(items []int, alone bool) error // of a batch; may be nil
	odd     func(item int) error                // of an item in a batch; may be nil
}

func (d *doubling) run(ctx context.Context, items []int, alone bool) ([]purge.Answer[int], error) {
	purge.Sleep(ctx, time.Second)
	d.mu.Lock()
	d.batches = append(d.batches, fmt.Sprint(len(items), alone))
	d.mu.Unlock()
	if d.fails != nil {
		if err := d.fails(items, alone); err != nil {
			return nil, err
		}
	}
	answers := make([]purge.Answer[int], len(items))
	for i, item := range items {
		answers[i].Value = 2 * item
		if d.odd != nil && !alone {
			answers[i].Err = d.odd(item)
		}
	}
	return answers, nil
}

// many calls Do for 1 to n at the same time and returns the answers that are no errors.
func many(t *testing.T, b *purge.Batcher[int, int], n int) (answers []int, errs []error) {
	t.Helper()
	var mu sync.Mutex
	var calls sync.WaitGroup
	for i := range n {
		calls.Go(func() {
			answer, err := b.Do(t.Context(), i+1)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				errs = append(errs, err)
			} else {
				answers = append(answers, answer)
			}
		})
	}
	calls.Wait()
	slices.Sort(answers)
	return answers, errs
}

func TestBatchesGrowWithTheLoad(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var d doubling
		b := purge.NewBatcher(purge.BatchOptions[int]{Max: 8, Workers: 1, Limit: time.Minute}, d.run)
		first := make(chan int, 1)
		go func() {
			answer, err := b.Do(t.Context(), 100)
			if err != nil {
				t.Error(err)
			}
			first <- answer
		}()
		synctest.Wait() // the first is under way, by itself
		answers, errs := many(t, b, 20)
		if len(errs) > 0 || len(answers) != 20 || answers[19] != 40 || <-first != 200 {
			t.Errorf("got %v, %v", answers, errs)
		}
		if got := fmt.Sprint(d.batches); got != "[1 false 8 false 8 false 4 false]" {
			t.Errorf("got batches %s", got)
		}
	})
}

func TestAFailedBatchIsRunOneByOne(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		poisoned := errors.New("poisoned")
		d := doubling{fails: func(items []int, _ bool) error {
			if slices.Contains(items, 3) {
				return poisoned
			}
			return nil
		}}
		semaphore := make(chan struct{}, 1)
		semaphore <- struct{}{} // so that all come together
		b := purge.NewBatcher(purge.BatchOptions[int]{Max: 8, Workers: 1, Semaphore: semaphore, Limit: time.Minute}, d.run)
		go func() { synctest.Wait(); <-semaphore }()
		answers, errs := many(t, b, 5)
		if fmt.Sprint(answers) != "[2 4 8 10]" || len(errs) != 1 || !errors.Is(errs[0], poisoned) {
			t.Errorf("got %v, %v", answers, errs)
		}
		slices.Sort(d.batches)
		if got := fmt.Sprint(d.batches); got != "[1 true 1 true 1 true 1 true 1 true 5 false]" {
			t.Errorf("got batches %s", got)
		}
	})
}

func TestAnItemThatIsRunAloneHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := doubling{odd: func(item int) error {
			if item == 1 {
				return purge.ErrAlone
			}
			return nil
		}}
		slow := func(ctx context.Context, items []int, alone bool) ([]purge.Answer[int], error) {
			if alone {
				purge.Sleep(ctx, time.Hour)
			}
			return d.run(ctx, items, alone)
		}
		b := purge.NewBatcher(purge.BatchOptions[int]{
			Max: 8, Workers: 1, Semaphore: make(chan struct{}, 1),
			Limit: time.Minute,
		}, slow)
		begun := time.Now()
		locked := make(chan time.Duration, 1)
		go func() {
			if answer, err := b.Do(t.Context(), 1); err != nil || answer != 2 {
				t.Errorf("got %d, %v", answer, err)
			}
			locked <- time.Since(begun)
		}()
		synctest.Wait()
		if answer, err := b.Do(t.Context(), 2); err != nil || answer != 4 || time.Since(begun) != 2*time.Second {
			t.Errorf("got %d, %v after %v", answer, err, time.Since(begun))
		}
		if took := <-locked; took < time.Hour {
			t.Errorf("the other took %v", took)
		}
	})
}

func TestBatchersWithOneSemaphoreTakeTurns(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		semaphore := make(chan struct{}, 1)
		var d doubling
		options := purge.BatchOptions[int]{Max: 8, Workers: 1, Semaphore: semaphore, Limit: time.Minute}
		a, b := purge.NewBatcher(options, d.run), purge.NewBatcher(options, d.run)
		begun := time.Now()
		go func() {
			if _, err := a.Do(t.Context(), 1); err != nil {
				t.Error(err)
			}
		}()
		synctest.Wait()
		answers, errs := many(t, b, 5)
		if len(errs) > 0 || len(answers) != 5 || time.Since(begun) != 2*time.Second {
			t.Errorf("got %v, %v after %v", answers, errs, time.Since(begun))
		}
		if got := fmt.Sprint(d.batches); got != "[1 false 5 false]" {
			t.Errorf("got batches %s; want that the five gathered while the other batcher ran", got)
		}
	})
}

func TestACallerWhoLeavesHoldsUpNoBatch(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var d doubling
		semaphore := make(chan struct{}, 1)
		semaphore <- struct{}{}
		b := purge.NewBatcher(purge.BatchOptions[int]{Max: 8, Workers: 1, Semaphore: semaphore, Limit: time.Minute}, d.run)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := b.Do(ctx, 1); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		<-semaphore
		if answer, err := b.Do(t.Context(), 2); err != nil || answer != 4 {
			t.Errorf("got %d, %v", answer, err)
		}
		if got := fmt.Sprint(d.batches); got != "[1 false]" {
			t.Errorf("got batches %s; want that the one who left is not in them", got)
		}
	})
}
