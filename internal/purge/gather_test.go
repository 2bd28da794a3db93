package purge_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/certpurge/certpurge/internal/purge"
)

// held makes the ledger wait at each call until released.
func (d *desk) held() (release func()) {
	gate := make(chan struct{})
	d.ledger = func(ctx context.Context, _ int, _ []purge.Submission) error {
		select {
		case <-gate:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return sync.OnceFunc(func() { close(gate) })
}

func TestWhoComesAloneDoesNotWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t)
		g := purge.NewGather(d.intake())
		start := time.Now()
		for user := range purge.UserID(10) {
			accepted, err := g.Accept(t.Context(), submissionsOf(user+1, user+1))
			if err != nil || len(accepted) != 1 || accepted[0].Found != purge.FoundNew {
				t.Errorf("got %v, %v", accepted, err)
			}
		}
		if len(d.batches) != 10 || len(d.tasks) != 10 || time.Since(start) != 0 {
			t.Errorf("got %d batches and %d tasks after %v, want ten of each at once", len(d.batches), len(d.tasks),
				time.Since(start))
		}
	})
}

func TestManyCallersShareFewBatches(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const callers = 2000
		d := newDesk(t)
		release := d.held()
		g := purge.NewGather(d.intake())
		var fresh atomic.Int64
		for n := range purge.UserID(callers) {
			go func() {
				submissions := submissionsOf(n+1, n+1)
				if n%2 == 1 {
					submissions = append(submissionsOf(5000, 5000), submissions...) // half of them request the same user too
				}
				accepted, err := g.Accept(t.Context(), submissions)
				if err != nil {
					t.Errorf("accepting: %v", err)
					return
				}
				expectOwn(t, submissions, accepted)
				if accepted[0].User == 5000 && accepted[0].Found == purge.FoundNew {
					fresh.Add(1)
				}
			}()
		}
		synctest.Wait()
		release()
		synctest.Wait()
		// 3,000 submissions fill six; two more began with few, and one may lack the place for a caller with two.
		if got := len(d.batches); got < 6 || got > 9 {
			t.Errorf("got %d batches, want 6 to 9", got)
		}
		for _, batch := range d.batches {
			if len(batch) > purge.MaxBatch {
				t.Errorf("got a batch of %d submissions", len(batch))
			}
		}
		if fresh.Load() != 1 {
			t.Errorf("the user whom many submitted was new to %d callers, want 1", fresh.Load())
		}
	})
}

func TestWhoAsksForMuchIsABatchAlone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t)
		g := purge.NewGather(d.intake())
		submissions := submissionsOf(1, 1203)
		accepted, err := g.Accept(t.Context(), submissions)
		if err != nil || len(d.batches) != 3 {
			t.Errorf("got %d batches, %v; want 3", len(d.batches), err)
		}
		expectOwn(t, submissions, accepted)
	})
}

// TestATakenKeyIsItsCallersAlone has three callers with other people's keys among 400.
func TestATakenKeyIsItsCallersAlone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t)
		if _, err := d.store.Accept(t.Context(), []purge.Submission{{User: 9001, Key: "ticket"}}); err != nil {
			t.Fatal(err)
		}
		release := d.held()
		g := purge.NewGather(d.intake())
		for n := range purge.UserID(400) {
			go func() {
				submissions, guilty := submissionsOf(n+1, n+1), n == 17 || n == 200 || n == 399
				if guilty {
					submissions[0].Key = "ticket"
				}
				accepted, err := g.Accept(t.Context(), submissions)
				if guilty != errors.Is(err, purge.ErrKeyTaken) || (!guilty && err != nil) {
					t.Errorf("user %d, with a taken key: %v: got %v", n+1, guilty, err)
				}
				if err == nil {
					expectOwn(t, submissions, accepted)
				}
			}()
		}
		synctest.Wait()
		release()
		synctest.Wait()
		if len(d.tasks) != 397 {
			t.Errorf("got %d tasks, want 397", len(d.tasks))
		}
		if most := 3 + 3*2*9; len(d.batches) > most { // a way down the halves for each
			t.Errorf("got %d batches, want at most %d", len(d.batches), most)
		}
	})
}

// TestATooManyKeyIsItsCallersAlone has one caller use up the keys of a user's open request, and then others call.
func TestATooManyKeyIsItsCallersAlone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t)
		const user = 9001
		for n := range purge.MaxKeys + 1 {
			if _, err := d.store.Accept(t.Context(), []purge.Submission{{User: user, Key: fmt.Sprint("k", n)}}); err != nil {
				t.Fatal(err)
			}
		}
		release := d.held()
		g := purge.NewGather(d.intake())
		for n := range purge.UserID(40) {
			go func() {
				submissions, guilty := submissionsOf(n+1, n+1), n == 17
				switch n {
				case 17:
					submissions[0].User, submissions[0].Key = user, "one more"
				case 18: // another caller, such as the driver, without a key of its own
					submissions[0].User, submissions[0].Key = user, purge.DefaultKey(user)
				}
				_, err := g.Accept(t.Context(), submissions)
				if guilty != errors.Is(err, purge.ErrTooManyKeys) || (!guilty && err != nil) {
					t.Errorf("user %d, with a key too many: %v: got %v", n+1, guilty, err)
				}
			}()
		}
		synctest.Wait()
		release()
		synctest.Wait()
	})
}

func TestWhoLeavesTakesNobodyAlong(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t)
		release := d.held()
		g := purge.NewGather(d.intake())
		why := errors.New("the client has closed the connection")
		leaving, leave := context.WithCancelCause(t.Context())
		// The first two are at work, the others wait.
		for user := purge.UserID(1); user <= 10; user++ {
			ctx, goes := t.Context(), user%2 == 1
			if goes {
				ctx = leaving
			}
			go func() {
				_, err := g.Accept(ctx, submissionsOf(user, user))
				if goes != errors.Is(err, why) || (!goes && err != nil) {
					t.Errorf("user %d, who leaves: %v: got %v", user, goes, err)
				}
			}()
			synctest.Wait()
		}
		leave(why)
		synctest.Wait()
		release()
		synctest.Wait()
		var users []purge.UserID
		for _, task := range d.tasks {
			users = append(users, task.User)
		}
		slices.Sort(users)
		if want := []purge.UserID{1, 2, 4, 6, 8, 10}; !slices.Equal(users, want) { // 1 was being accepted when it left
			t.Errorf("got tasks of users %v, want %v", users, want)
		}
		if _, err := g.Accept(leaving, submissionsOf(99, 99)); !errors.Is(err, context.Canceled) || len(d.tasks) != 6 {
			t.Errorf("who comes without time: got %v and %d tasks", err, len(d.tasks))
		}
	})
}

// TestOnlyTheirOwnTasksMatter: the queue takes all tasks of a batch but two.
func TestOnlyTheirOwnTasksMatter(t *testing.T) {
	t.Parallel()
	for name, named := range map[string]bool{"the queue names them": true, "the queue names none": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				d := newDesk(t)
				release := d.held()
				broken := errors.New("OOM command not allowed")
				d.queue = func(_ context.Context, _ int, tasks []purge.Task) error {
					if len(tasks) == 1 {
						return nil // of the first two
					}
					if !named {
						return broken
					}
					return &purge.NotQueuedError{Requests: []purge.RequestID{tasks[3].Request, tasks[4].Request}, Cause: broken}
				}
				g := purge.NewGather(d.intake())
				var mu sync.Mutex
				failed := map[purge.UserID]error{}
				for user := purge.UserID(1); user <= 12; user++ {
					go func() {
						accepted, err := g.Accept(t.Context(), submissionsOf(user, user))
						expectOwn(t, submissionsOf(user, user), accepted)
						mu.Lock()
						defer mu.Unlock()
						if err != nil {
							failed[user] = err
						}
					}()
					synctest.Wait() // the third and all after wait, in this order
				}
				release()
				synctest.Wait()
				want := []purge.UserID{6, 7}
				if !named {
					want = []purge.UserID{3, 4, 5, 6, 7, 8, 9, 10, 11, 12}
				}
				for user := purge.UserID(1); user <= 12; user++ {
					err := failed[user]
					if !slices.Contains(want, user) {
						if err != nil {
							t.Errorf("user %d: got %v", user, err)
						}
						continue
					}
					e, ok := errors.AsType[*purge.NotQueuedError](err)
					if !ok || !errors.Is(err, purge.ErrNotQueued) || !errors.Is(err, broken) || len(e.Requests) != 1 ||
						strings.Contains(err.Error(), "more") {
						t.Errorf("user %d: got %v, want its own request not queued", user, err)
					}
				}
			})
		})
	}
}

func TestAReplayNeedsNoTask(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.queue = func(_ context.Context, _ int, tasks []purge.Task) error {
		if len(tasks) > 0 {
			return errInjected
		}
		return nil
	}
	g := purge.NewGather(d.intake())
	submissions := submissionsOf(1, 1)
	if _, err := g.Accept(t.Context(), submissions); !errors.Is(err, purge.ErrNotQueued) {
		t.Fatalf("got %v, want ErrNotQueued", err)
	}
	attempt, err := d.store.Begin(t.Context(), purge.Task{Request: 1, User: 1})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.store.Record(t.Context(), attempt,
		purge.Report{State: purge.Failed, Reason: purge.ReasonHeld}); err != nil {
		t.Fatal(err)
	}
	submissions[0].Replay = true
	if accepted, err := g.Accept(t.Context(), submissions); err != nil || accepted[0].Open ||
		accepted[0].Found != "failed" {
		t.Errorf("while the queue is away: got %+v, %v; want the request as it stands", accepted, err)
	}
	d.queue = nil
	if _, err := g.Accept(t.Context(), submissions); err != nil || len(d.tasks) != 0 {
		t.Errorf("got tasks %v, %v; want none", d.tasks, err)
	}
}

func TestALedgerThatFailsFailsItsBatchOnly(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	g := purge.NewGather(d.intake())
	d.ledger = func(_ context.Context, n int, _ []purge.Submission) error { return onlyAt(n, 1) }
	if _, err := g.Accept(t.Context(), submissionsOf(1, 1)); !errors.Is(err, errInjected) {
		t.Errorf("got %v, want %v", err, errInjected)
	}
	if _, err := g.Accept(t.Context(), submissionsOf(1, 1)); err != nil {
		t.Errorf("the next: got %v", err)
	}
}

// TestAWishThatNobodyCouldAcceptIsItsCallersAlone: in the ledger it would fail the INSERT of all.
func TestAWishThatNobodyCouldAcceptIsItsCallersAlone(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	g := purge.NewGather(d.intake())
	for _, w := range []purge.Submission{
		{User: 0, Key: "k"},
		{User: 1 << 31, Key: "k"},
		{User: 1},
		{User: 1, Key: strings.Repeat("k", 129)},
	} {
		if _, err := g.Accept(t.Context(), []purge.Submission{w}); err == nil {
			t.Errorf("user %d with a key of %d bytes: got no error", w.User, len(w.Key))
		}
	}
	if len(d.batches) != 0 {
		t.Errorf("got %d batches, want none", len(d.batches))
	}
}

// TestALedgerThatHangsIsGivenUp: those who wait may have no limit of their own.
func TestALedgerThatHangsIsGivenUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t)
		d.held()
		g := purge.NewGather(d.intake())
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := g.Accept(ctx, submissionsOf(1, 1)); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want the caller's deadline", err)
		}
		start := time.Now()
		if _, err := g.Accept(t.Context(), submissionsOf(2, 2)); !errors.Is(err, context.DeadlineExceeded) ||
			time.Since(start) > 2*time.Minute {
			t.Errorf("got %v after %v, want the ledger given up", err, time.Since(start))
		}
	})
}
