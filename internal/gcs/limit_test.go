package gcs_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/certpurge/certpurge/internal/config"
	"github.com/certpurge/certpurge/internal/gcs"
	"github.com/certpurge/certpurge/internal/gcs/gcstest"
	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/purge/purgetest"
)

// TestThrottlingFailsNobody is the whole: a bucket that bears a third of what it should, workers that purge as fast as
// they may, and every request ends as done without a counted failure.
func TestThrottlingFailsNobody(t *testing.T) {
	t.Parallel()
	const users, concurrency = 100, 50
	inBubble(t, func(t *testing.T, b *bubble) {
		t.Helper()
		b.server.SetFaults(1, gcstest.Fault{Latency: 40 * time.Millisecond},
			gcstest.Fault{Op: gcstest.OpDelete, Rate: 75, Burst: 10})
		purger := purge.Purger{
			Users: b.store, Ledger: b.store, Objects: b.Store, Locations: b.cfg.Locations,
			Policy: purge.Policy{ClearHistory: true, MaxAttempts: 1},
		}
		tasks := make(chan purge.Task, users)
		for n := range users {
			user := b.store.NewUser(purgetest.Retiring)
			for i := range 2 {
				download, verify := id(2*n+i), id(1_000_000+2*n+i)
				b.store.NewReference(user, purge.Live, download, verify, "")
				for _, name := range []string{
					"downloads/" + download + "/Certificate.pdf", "cert/" + verify + "/Certificate.pdf.sig",
					"cert/" + verify + "/valid.html",
				} {
					if _, err := b.server.Put(purgetest.Bucket, name, []byte("personal"), gcstest.ObjectOptions{}); err != nil {
						t.Fatal(err)
					}
				}
			}
			accepted, err := b.store.Accept(t.Context(), []purge.Submission{{User: user, Key: purge.DefaultKey(user)}})
			if err != nil {
				t.Fatal(err)
			}
			tasks <- purge.Task{Request: accepted[0].Request, User: user}
		}
		begun, again := time.Now(), 0
		var mu sync.Mutex
		var working, open sync.WaitGroup
		open.Add(users)
		for range concurrency {
			working.Go(func() {
				for task := range tasks {
					ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
					result, err := purger.Purge(ctx, task)
					cancel()
					switch {
					case purge.ClassOf(err) == purge.Throttled && err != nil:
						mu.Lock()
						again++
						mu.Unlock()
						tasks <- task
					case err != nil || result.State != purge.Done || result.Counts.ObjectsErased != 6:
						t.Errorf("got %+v, %v", result, err)
						fallthrough
					default:
						open.Done()
					}
				}
			})
		}
		open.Wait()
		close(tasks)
		working.Wait()

		took, stats := time.Since(begun), b.deletes()
		t.Logf("%d users in %v, %d attempts made again, %d of %d deletes refused, %+v", users, took, again, stats.Throttled,
			b.server.Stats().Deletes, stats)
		if got := len(b.server.Objects(purgetest.Bucket, "")); got != 0 {
			t.Errorf("%d objects left", got)
		}
		if stats.Halved < 2 || stats.Rate > 125 || b.Stats()[0].Reads.Halved > 0 {
			t.Errorf("got %+v, want the rate of the deletes below half, and that of the reads left alone", stats)
		}
		if refused, sent := float64(stats.Throttled), float64(b.server.Stats().Deletes); refused > sent/3 {
			t.Errorf("%v of %v deletes were refused, want few: the rate follows the service", refused, sent)
		}
		if ideal := users * 6 * time.Second / 75; took > 2*ideal {
			t.Errorf("took %v, want not more than twice the %v that the service needs", took, ideal)
		}
		b.server.SetFaults(0)
		pause(3 * time.Minute)
		if got := b.deletes().Rate; got != 250 {
			t.Errorf("three minutes later: got %v, want 250 again", got)
		}
		if halved, recovered := b.lines("rate halved"), b.lines("recovered"); halved != int(stats.Halved) || recovered != 1 {
			t.Errorf("got %d lines about %d halvings and %d about the recovery", halved, stats.Halved, recovered)
		}
	}, func(c *gcs.Config) { c.DeleteRate = config.Rate{Start: 250, Ceiling: 1000} })
}

func TestWaitingForATurnIsNoFailure(t *testing.T) {
	t.Parallel()
	slow := func(c *gcs.Config) { c.DeleteRate = config.Rate{Start: 1, Ceiling: 1} }
	inBubble(t, func(t *testing.T, b *bubble) {
		t.Helper()
		all := b.put(4)
		if err := b.Delete(t.Context(), all[0]); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancel()
		if err := b.Delete(ctx, all[1]); purge.ClassOf(err) != purge.Throttled || ctx.Err() != nil {
			t.Errorf("with too little time: got %v, want it throttled, and time left to say so (%v)", err, ctx.Err())
		}
		cancelled, stop := context.WithCancel(t.Context())
		time.AfterFunc(100*time.Millisecond, stop)
		if err := b.Delete(cancelled, all[1]); !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled: got %v", err)
		}
		if stats := b.deletes(); stats.Waiting != 0 || stats.Waited < 500*time.Millisecond || stats.Waited > time.Second ||
			b.Stats()[0].InFlight != 0 {
			t.Errorf("got %+v, want no waiting call left and the waits counted", b.Stats()[0])
		}
		if got := b.server.Stats().Deletes; got != 1 {
			t.Errorf("%d deletes were sent", got)
		}
		for _, err := range b.deleteAll(all) {
			if err != nil {
				t.Errorf("with time enough: %v", err)
			}
		}
	}, slow)
}

func TestNothingIsDeletedAfterTheStopSignal(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		t.Helper()
		all := b.put(2)
		if err := b.Delete(t.Context(), all[0]); err != nil {
			t.Fatal(err)
		}
		stop, begun := make(chan struct{}), time.Now()
		time.AfterFunc(200*time.Millisecond, func() { close(stop) })
		if err := b.Delete(purge.WithStop(t.Context(), stop), all[1]); purge.ClassOf(err) != purge.Stopped ||
			time.Since(begun) > 300*time.Millisecond {
			t.Errorf("got %v after %v, want it stopped at once", err, time.Since(begun))
		}
		if _, err := b.List(purge.WithStop(t.Context(), stop), all[1].Directory); err != nil {
			t.Errorf("listing, to prove what was done: %v", err)
		}
	}, func(c *gcs.Config) {
		c.DeleteRate, c.ReadRate = config.Rate{Start: 1, Ceiling: 1}, config.Rate{Start: 1, Ceiling: 1}
	})
}

func TestRetryAfterIsHonoured(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]gcstest.Fault{
		"429":                  {Status: http.StatusTooManyRequests},
		"503 with Retry-After": {Status: http.StatusServiceUnavailable},
		"403 for the rate":     {Status: http.StatusForbidden, Reason: "userRateLimitExceeded"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inBubble(t, func(t *testing.T, b *bubble) {
				t.Helper()
				all := b.put(20)
				fault.Op, fault.Count, fault.RetryAfter = gcstest.OpDelete, 1, 7*time.Second
				b.server.SetFaults(1, fault)
				var mu sync.Mutex
				begun, sent := time.Now(), []time.Duration(nil)
				b.server.SetHook(func(op, _, _ string) {
					mu.Lock()
					defer mu.Unlock()
					if op == gcstest.OpDelete {
						sent = append(sent, time.Since(begun))
					}
				})
				err := b.Delete(t.Context(), all[0])
				if name == "403 for the rate" { // which the library does not try again
					if purge.ClassOf(err) != purge.Throttled {
						t.Errorf("got %v, want it throttled", err)
					}
					err = nil
				}
				for _, err := range append(b.deleteAll(all[1:]), err) {
					if err != nil {
						t.Errorf("got %v", err)
					}
				}
				if len(sent) < 20 || sent[0] > 0 || sent[1] < 7*time.Second {
					t.Errorf("deletes were sent after %v, want one, and the others after 7 s", sent)
				}
				if stats := b.deletes(); stats.Rate > 580 || stats.Halved != 1 {
					t.Errorf("got %+v, want half of the rate", stats)
				}
			})
		})
	}
}

func TestATaskWhoseTimeIsShorterThanTheWaitIsThrottled(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		t.Helper()
		all := b.put(1)
		b.server.SetFaults(1, gcstest.Fault{Op: gcstest.OpDelete, Status: http.StatusTooManyRequests, RetryAfter: time.Hour})
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
		defer cancel()
		for range 2 {
			if err := b.Delete(ctx, all[0]); purge.ClassOf(err) != purge.Throttled ||
				strings.Contains(err.Error(), "Certificate.pdf") {
				t.Errorf("got %v, want it throttled, without the object's name", err)
			}
		}
		if ctx.Err() != nil || b.server.Stats().Deletes != 1 {
			t.Errorf("got %v and %d deletes, want time left, and one delete", ctx.Err(), b.server.Stats().Deletes)
		}
	})
}

func TestReadsGoOnWhileDeletesAreHeldUp(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		t.Helper()
		all := b.put(20)
		b.server.SetFaults(1, gcstest.Fault{
			Op: gcstest.OpDelete, Status: http.StatusTooManyRequests,
			RetryAfter: 20 * time.Second, Count: 4, Latency: time.Second,
		})
		var deleting sync.WaitGroup
		deleting.Go(func() { b.deleteAll(all) })
		pause(5 * time.Second)
		begun := time.Now()
		if _, err := b.List(t.Context(), all[0].Directory); err != nil || time.Since(begun) > 0 {
			t.Errorf("got %v after %v, want an answer at once although every delete waits", err, time.Since(begun))
		}
		if got := b.deletes().Waiting; got != 20 {
			t.Errorf("%d deletes wait, want 20", got)
		}
		deleting.Wait()
		if left := len(b.server.Objects(purgetest.Bucket, "")); left > 0 {
			t.Errorf("%d objects left", left)
		}
	}, func(c *gcs.Config) { c.MaxInFlight = 4 })
}

func TestBucketsDoNotSlowEachOtherDown(t *testing.T) {
	t.Parallel()
	locations, err := purge.NewLocations([]purge.Location{
		{Name: "a", Bucket: purgetest.Bucket, DownloadsDir: "downloads", VerifyDir: "cert"},
		{Name: "b", Bucket: "other", DownloadsDir: "downloads", VerifyDir: "cert"},
	})
	if err != nil {
		t.Fatal(err)
	}
	inBubble(t, func(t *testing.T, b *bubble) {
		t.Helper()
		b.server.CreateBucket("other", gcstest.BucketConfig{})
		all := b.put(8)
		b.server.SetFaults(1, gcstest.Fault{
			Bucket: purgetest.Bucket, Op: gcstest.OpDelete,
			Status: http.StatusTooManyRequests, RetryAfter: 20 * time.Second, Count: 2, Latency: time.Second,
		})
		var deleting sync.WaitGroup
		deleting.Go(func() { b.deleteAll(all) })
		for _, what := range []string{"has no slot left", "was asked to pause"} {
			pause(600 * time.Millisecond)
			begun := time.Now()
			for _, g := range all {
				g.Directory.Bucket = "other"
				if err := b.Delete(t.Context(), g); err != nil {
					t.Error(err)
				}
			}
			if took := time.Since(begun); took > 0 {
				t.Errorf("while one bucket %s, the other took %v", what, took)
			}
		}
		deleting.Wait()
		if stats := b.Stats(); len(stats) != 2 || stats[0].Deletes.Halved != 1 || stats[1].Bucket != "other" ||
			stats[1].Deletes.Halved != 0 || stats[1].Deletes.Rate != 1000 {
			t.Errorf("got %+v", stats)
		}
	}, func(c *gcs.Config) { c.Locations, c.MaxInFlight = locations, 2 })
}

func TestEveryPageAndEveryTryWaitsForItsTurn(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		t.Helper()
		b.generations(1001) // which takes the tokens at hand
		begun := time.Now()
		if got, err := b.List(t.Context(), dirD); err != nil || len(got) != 1001 {
			t.Errorf("got %d generations, %v", len(got), err)
		}
		if took := time.Since(begun); took != 2*time.Second {
			t.Errorf("two pages took %v, want 2 s at one a second", took)
		}
		b.server.SetFaults(1, gcstest.Fault{Op: gcstest.OpList, Status: http.StatusBadGateway, Count: 3})
		begun = time.Now()
		if _, err := b.List(t.Context(), purge.Directory{Bucket: dirD.Bucket, Prefix: "cert/" + id(1) + "/"}); err != nil {
			t.Error(err)
		}
		if took := time.Since(begun); took < 4*time.Second-10*time.Microsecond {
			t.Errorf("four tries took %v, want 4 s at one a second", took)
		}
	}, func(c *gcs.Config) {
		c.ReadRate, c.CallTimeout, c.AttributesMaxAge = config.Rate{Start: 1, Ceiling: 1}, time.Minute, time.Hour
	})
}

func TestAnOrdinary503IsNoThrottling(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		t.Helper()
		all := b.put(1)
		b.server.SetFaults(1, gcstest.Fault{Op: gcstest.OpDelete, Status: http.StatusServiceUnavailable})
		if err := b.Delete(t.Context(), all[0]); purge.ClassOf(err) != purge.Transient {
			t.Errorf("got %v, want it transient", err)
		}
		if stats := b.deletes(); stats.Rate != 1000 || stats.Throttled != 0 {
			t.Errorf("got %+v, want nothing slowed down", stats)
		}
	})
}
