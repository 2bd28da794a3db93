package bench

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/certpurge/certpurge/internal/config"
	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/queue"
	"github.com/certpurge/certpurge/internal/queue/inspect"
)

// BenchmarkLive is how long a request takes for which a caller waits, from the call until the user is purged: on a
// worker with nothing else to do, and on one that is busy with a backfill, while the backfill is still being asked for.
func BenchmarkLive(b *testing.B) {
	users, asked := 2_000, 30
	if full() {
		users, asked = 100_000, 200
	}
	for b.Loop() {
		s := NewSite(b)
		backfill, quiet, busy := s.add(b, users, 1), s.add(b, asked, 1), s.add(b, asked, 1)
		l := Load{Latency: 40 * time.Millisecond, Concurrency: 50}
		s.storage.order(b, "latency", map[string]int{"ms": int(l.Latency.Milliseconds())})
		w := &waiting{Purger: ours(b, s, l), ends: map[purge.UserID]chan error{}}
		stop := s.serve(b, l.Concurrency, w)
		idle := w.askAll(b, s, quiet)
		var asking sync.WaitGroup
		asking.Go(func() { s.accept(b, backfill) })
		loaded := w.askAll(b, s, busy)
		asking.Wait()
		waits, err := inspect.Waiting(b.Context(), s.redis, queue.Backfill, time.Now())
		stop()
		if err != nil || waits == 0 {
			b.Fatalf("%d tasks of the backfill were left, %v: the worker was not busy all the time", waits, err)
		}
		b.ReportMetric(0, "ns/op") // it would count the making of the users, too
		for name, times := range map[string][]time.Duration{"idle": idle, "busy": loaded} {
			b.ReportMetric(milliseconds(times, 50), name+"-p50-ms")
			b.ReportMetric(milliseconds(times, 99), name+"-p99-ms")
		}
		b.ReportMetric(milliseconds(loaded, 99)/milliseconds(idle, 99), "p99-of-idle")
	}
}

func milliseconds(sorted []time.Duration, percent int) float64 {
	return float64(sorted[len(sorted)*percent/100].Microseconds()) / 1000
}

// waiting signals that a user is purged.
type waiting struct {
	queue.Purger
	mu   sync.Mutex
	ends map[purge.UserID]chan error
}

func (w *waiting) Purge(ctx context.Context, task purge.Task) (purge.Result, error) {
	result, err := w.Purger.Purge(ctx, task)
	w.mu.Lock()
	end := w.ends[task.User]
	w.mu.Unlock()
	if end != nil {
		end <- err
	}
	return result, err
}

// askAll asks for one user after the other and returns how long each took, sorted.
func (w *waiting) askAll(b *testing.B, s *Site, users []purge.UserID) []time.Duration {
	b.Helper()
	intake := purge.Intake{Requests: s.store, Tasks: queue.NewClient(s.redis, queue.Live,
		config.Tasks{Timeout: 3 * time.Minute})}
	var times []time.Duration
	for _, user := range users {
		end := make(chan error, 10)
		w.mu.Lock()
		w.ends[user] = end
		w.mu.Unlock()
		begun := time.Now()
		if _, err := intake.Accept(b.Context(), []purge.Submission{{
			User: user, Key: purge.DefaultKey(user),
			Source: purge.SourceAPI,
		}}); err != nil {
			b.Fatal(err)
		}
		select {
		case err := <-end:
			if err != nil {
				b.Fatalf("user %d: %v", user, err)
			}
		case <-time.After(time.Minute):
			b.Fatalf("user %d is not purged after a minute", user)
		}
		times = append(times, time.Since(begun))
	}
	slices.Sort(times)
	return times
}
