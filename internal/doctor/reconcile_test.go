package doctor_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/certpurge/certpurge/internal/config"
	"github.com/certpurge/certpurge/internal/doctor"
	"github.com/certpurge/certpurge/internal/purge"
)

// fake is a ledger of open requests and a queue.
type fake struct {
	open     []purge.OpenRequest
	tasks    map[purge.RequestID]bool
	archived int
	pending  int
	leader   bool
	led      int
	since    time.Time
	failTill time.Time
}

func (f *fake) Lead(context.Context) (func(), bool, error) {
	if !f.leader || f.led > 0 {
		return nil, false, nil
	}
	f.led++
	return func() { f.led-- }, true, nil
}

func (f *fake) OpenRequests(_ context.Context, after purge.OpenRequest, since time.Time, limit int) ([]purge.OpenRequest,
	error,
) {
	f.since = since
	var page []purge.OpenRequest
	for _, r := range f.open {
		if r.Request > after.Request && len(page) < limit {
			page = append(page, r)
		}
	}
	if time.Now().Before(f.failTill) {
		return nil, errors.New("MySQL is away")
	}
	return page, nil
}

func (f *fake) Missing(_ context.Context, open []purge.OpenRequest) ([]purge.OpenRequest, error) {
	return slices.DeleteFunc(slices.Clone(open), func(r purge.OpenRequest) bool { return f.tasks[r.Request] }), nil
}

func (f *fake) Restore(_ context.Context, requests []purge.OpenRequest) error {
	for _, r := range requests {
		f.tasks[r.Request] = true
		f.pending++
	}
	return nil
}

func (f *fake) Pending(context.Context) (int, error) { return f.pending, nil }

func (f *fake) Clean(context.Context) (int, error) {
	swept := f.archived
	f.archived = 0
	return swept, nil
}

func newFake(n int) (*fake, *doctor.Reconciler) {
	f := &fake{leader: true, tasks: map[purge.RequestID]bool{}}
	for id := range n {
		f.open = append(f.open, purge.OpenRequest{Request: purge.RequestID(id + 1), User: purge.UserID(id + 1)})
	}
	return f, &doctor.Reconciler{
		Reconciler: config.Reconciler{Interval: time.Minute, Grace: 2 * time.Minute, Rate: 500, HighWater: 5000},
		Ledger:     f, Queue: f, Now: time.Now, Log: slog.New(slog.DiscardHandler),
	}
}

func TestOnceRestoresWhatIsMissing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f, r := newFake(1200)
		f.tasks[7], f.archived = true, 3
		begun := time.Now()
		sum, err := r.Once(t.Context())
		if want := (doctor.Summary{Led: true, Checked: 1200, Restored: 1199, Dropped: 3}); err != nil || sum != want {
			t.Errorf("got %+v, %v; want %+v", sum, err, want)
		}
		if took := time.Since(begun); took < 2*time.Second || took > 3*time.Second {
			t.Errorf("1,199 tasks at 500 a second took %v", took)
		}
		if got := begun.Sub(f.since); got != r.Grace {
			t.Errorf("checked requests untouched for %v, want %v", got, r.Grace)
		}
		if sum, err := r.Once(t.Context()); err != nil || sum.Restored != 0 || f.led != 0 {
			t.Errorf("again: got %+v, %v", sum, err)
		}
	})
}

func TestOnceStopsAtTheHighWaterMark(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f, r := newFake(1200)
		r.HighWater, f.pending = 700, 100
		sum, err := r.Once(t.Context())
		if err != nil || sum.Restored != 600 || !sum.Full || f.pending != 700 {
			t.Errorf("got %+v, %v, %d pending; want 600 restored and 700 pending", sum, err, f.pending)
		}
	})
}

func TestOnlyTheLeaderWorks(t *testing.T) {
	t.Parallel()
	f, r := newFake(5)
	f.leader = false
	if sum, err := r.Once(t.Context()); err != nil || sum.Led || len(f.tasks) != 0 {
		t.Errorf("got %+v, %v; want nothing done", sum, err)
	}
}

func TestRunGoesOnAfterAnErrorAndEndsWithItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f, r := newFake(1)
		f.failTill = time.Now().Add(90 * time.Second)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); r.Run(ctx) }()
		timer := time.NewTimer(3 * time.Minute)
		<-timer.C
		synctest.Wait()
		if !f.tasks[1] {
			t.Error("the request was not restored after the error had passed")
		}
		cancel()
		<-done
	})
}

func TestRunTellsOfEachRound(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := &fake{
			open: []purge.OpenRequest{{Request: 1, User: 1}}, tasks: map[purge.RequestID]bool{}, leader: true,
			archived: 2,
		}
		var told []string
		r := doctor.Reconciler{
			Reconciler: config.Reconciler{Interval: time.Second, Grace: time.Minute, Rate: 100, HighWater: 100},
			Ledger:     f, Queue: f, Now: time.Now, Log: slog.New(slog.DiscardHandler),
			Observe: func(sum doctor.Summary, err error) {
				told = append(told, fmt.Sprint(sum.Led, sum.Restored, sum.Dropped, err != nil))
				f.failTill = time.Now().Add(time.Minute)
			},
		}
		ctx, cancel := context.WithTimeout(t.Context(), 2500*time.Millisecond)
		defer cancel()
		r.Run(ctx)
		if len(told) != 2 || told[0] != "true 1 2 false" || told[1] != "true 0 0 true" {
			t.Errorf("got %q", told)
		}
	})
}
