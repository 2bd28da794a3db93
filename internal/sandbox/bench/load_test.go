package bench_test

import (
	"cmp"
	"context"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/certpurge/certpurge/internal/config"
	"github.com/certpurge/certpurge/internal/gcs"
	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/queue"
)

// load is what is purged, and how.
type load struct {
	users        int // that are measured; some more go before and after them, so that start and end are not
	certificates int // of each; 0 is 1
	latency      time.Duration
	concurrency  int
	inFlight     int         // 0 is as many as the users can need
	deletes      config.Rate // the zero Rate is no limit
	reads        config.Rate
	textbook     bool // by the textbook's purger, without a ledger
}

// figures are what was measured.
type figures struct {
	users, objects    int
	took, cpu         time.Duration
	packets, commands int64
}

func (f *figures) add(more figures) {
	f.users += more.users
	f.objects += more.objects
	f.took += more.took
	f.cpu += more.cpu
	f.packets += more.packets
	f.commands += more.commands
}

// report shows the figures, and how near they come to what the latency allows: three waves of calls for each user.
func (f *figures) report(b *testing.B, l load) {
	b.Helper()
	perSecond := float64(f.users) / f.took.Seconds()
	b.ReportMetric(0, "ns/op") // it would count the making of the users, too
	b.ReportMetric(perSecond, "users/s")
	b.ReportMetric(float64(f.objects)/f.took.Seconds(), "objects/s")
	if l.latency > 0 {
		b.ReportMetric(perSecond/(float64(l.concurrency)/(3*l.latency.Seconds())), "of-ideal")
	}
	b.ReportMetric(float64(f.cpu.Microseconds())/float64(f.objects), "cpu-µs/object")
	b.ReportMetric(float64(f.packets)/float64(f.users), "sql/user")
	b.ReportMetric(float64(f.commands)/float64(f.users), "redis/user")
}

// ours makes what the worker works on tasks with.
func ours(b *testing.B, s *site, l load) queue.Purger {
	b.Helper()
	store, err := gcs.Open(b.Context(), gcs.Config{
		GCS: config.GCS{
			CallTimeout: 30 * time.Second, MaxTries: 4, AttributesMaxAge: time.Minute, Endpoint: s.storage.base, Anonymous: true,
			MaxInFlight: cmp.Or(l.inFlight, l.concurrency*filesEach*max(1, l.certificates)),
			DeleteRate:  l.deletes, ReadRate: l.reads,
		},
		Locations: s.locations,
	})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = store.Close() }) // nothing to lose
	return &purge.Purger{
		Users: s.store, Ledger: s.store, Objects: store, Locations: s.locations, Now: time.Now,
		Policy: purge.Policy{
			ExcludedStates: []string{"PENDING", "ABORTED"}, ClearHistory: true, MaxAttempts: 25,
			MaxAge: 168 * time.Hour,
		},
	}
}

// window notes the state of things when the measured users begin and when they have ended.
type window struct {
	queue.Purger
	site        *site
	begin, end  int64
	all         int64
	done        atomic.Int64
	failed      atomic.Pointer[error]
	first, last mark
	over        chan struct{}
}

type mark struct {
	at                time.Time
	cpu               time.Duration
	packets, commands int64
}

func (w *window) Purge(ctx context.Context, task purge.Task) (purge.Result, error) {
	result, err := w.Purger.Purge(ctx, task)
	if err != nil || result.State != purge.Done {
		w.failed.CompareAndSwap(nil, &err)
	}
	switch w.done.Add(1) {
	case w.begin:
		w.first = w.mark()
	case w.end:
		w.last = w.mark()
	case w.all:
		close(w.over)
	}
	return result, err
}

func (w *window) mark() mark {
	return mark{time.Now(), processorTime(), w.site.packets.Load(), w.site.commands.Load()}
}

// run adds users and has them purged by the queue's own server. It fails if anything of them is left.
func (s *site) run(b *testing.B, l load) figures {
	b.Helper()
	certificates, before := max(1, l.certificates), max(20, l.concurrency)
	total := before + l.users + l.concurrency
	s.storage.order(b, "latency", nil)
	users := s.add(b, total, certificates)
	newPurger := ours
	if l.textbook {
		newPurger = textbook
		s.enqueue(b, users)
	} else {
		s.accept(b, users)
	}
	s.storage.order(b, "latency", map[string]int{"ms": int(l.latency.Milliseconds())})
	w := &window{
		Purger: newPurger(b, s, l), site: s, begin: int64(before), end: int64(before + l.users), all: int64(total),
		over: make(chan struct{}),
	}
	stop := s.serve(b, l.concurrency, w)
	select {
	case <-w.over:
	case <-b.Context().Done():
	case <-time.After(10 * time.Minute):
		b.Errorf("%d of %d users were purged in 10 minutes", w.done.Load(), total)
	}
	stop()
	if err := w.failed.Load(); err != nil {
		b.Fatalf("a purge did not end as done: %v", *err)
	}
	if left := s.left(b, !l.textbook); left > 0 {
		b.Fatalf("%d references and objects are left", left)
	}
	return figures{
		users: l.users, objects: l.users * certificates * filesEach, took: w.last.at.Sub(w.first.at),
		cpu:     w.last.cpu - w.first.cpu,
		packets: w.last.packets - w.first.packets, commands: w.last.commands - w.first.commands,
	}
}

// serve pulls tasks with the queue's own server until stop, which waits for those at work.
func (s *site) serve(b *testing.B, concurrency int, purger queue.Purger) (stop func()) {
	b.Helper()
	log := slog.New(slog.NewJSONHandler(io.Discard, nil)) //nolint:sloglint // writing lines is part of the measured work
	ctx, cancel := context.WithCancel(b.Context())
	var serving sync.WaitGroup
	serving.Go(func() {
		cfg := config.Queue{
			Concurrency: concurrency, Weights: config.Weights{Purge: 6, Backfill: 1}, DrainTimeout: 20 * time.Second,
			RetryBase: 5 * time.Second, RetryCap: time.Hour,
		}
		if err := queue.Serve(ctx, s.redis, cfg, &queue.Handler{Purger: purger, Log: log}, log); err != nil {
			b.Error(err)
		}
	})
	return func() { cancel(); serving.Wait() }
}

// processorTime is what this process has used so far.
func processorTime() time.Duration {
	var usage syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &usage) // it cannot fail with these arguments
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
