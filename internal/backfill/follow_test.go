package backfill_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/certpurge/certpurge/internal/backfill"
	"github.com/certpurge/certpurge/internal/purge"
)

// fates is a ledger in which requests end one second after the other.
type fates struct {
	begun time.Time
	mu    sync.Mutex
	asked int
	most  int
}

func (f *fates) look(_ context.Context, ids []purge.RequestID) ([]backfill.Request, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked++
	f.most = max(f.most, len(ids))
	if f.asked%5 == 4 {
		return nil, errors.New("MySQL is away")
	}
	var all []backfill.Request
	for _, id := range ids {
		fate := backfill.Request{ID: id, State: purge.Running, UpdatedAt: f.begun}
		if passed := time.Since(f.begun); passed > time.Duration(id)*time.Second/10 {
			fate.UpdatedAt = time.Now()
			switch id % 10 {
			case 0:
				fate.State = purge.Refused
			case 1:
				fate.State = purge.Failed
			case 3:
				fate.State, fate.Reason = purge.Done, purge.ReasonFilesMissing
			case 2:
				if fate.State = purge.Done; id%20 == 2 {
					fate.State, fate.NotBefore = purge.Queued, time.Now().Add(24*time.Hour)
				}
			default:
				fate.State = purge.Done
			}
		} else if id%10 == 2 { // a date from an earlier run; the submission has woken it
			fate.State, fate.NotBefore, fate.UpdatedAt = purge.Queued, f.begun.Add(time.Hour), f.begun.Add(-time.Hour)
		}
		all = append(all, fate)
	}
	return all, nil
}

func TestFollowGoesOnUntilAllHaveEnded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ledger := &fates{begun: time.Now()}
		f := &backfill.Follower{Requests: ledger.look, Status: backfill.NewStatus(time.Now), Now: time.Now}
		f.Begin()
		done := make(chan backfill.Ended, 1)
		go func() {
			ended, err := f.Follow(t.Context())
			if err != nil {
				t.Errorf("got %v", err)
			}
			done <- ended
		}()
		for from := 1; from <= 1200; from += 300 {
			var accepted []purge.Accepted
			for id := from; id < from+300; id++ {
				accepted = append(accepted, purge.Accepted{Request: purge.RequestID(id), Open: true})
			}
			f.Add(append(accepted, purge.Accepted{Request: 99_999},
				purge.Accepted{Request: 99_998, Reason: purge.ReasonFilesMissing}))
			synctest.Wait()
		}
		f.NoMore()
		want := backfill.Ended{Done: 720 + 60 + 4, Missing: 120 + 4, Refused: 120, Failed: 120, Waiting: 60}
		if got := <-done; got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
		if took := time.Since(ledger.begun); took < 120*time.Second || took > 130*time.Second || ledger.most > 500 {
			t.Errorf("took %v, requested %d at once", took, ledger.most)
		}
	})
}

func TestFollowEndsWithItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := &backfill.Follower{Requests: (&fates{begun: time.Now()}).look, Status: backfill.NewStatus(time.Now), Now: time.Now}
		f.Begin()
		f.Add([]purge.Accepted{{Request: 1_000_000, Open: true}})
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err := f.Follow(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
	})
}
