package bench

import (
	"cmp"
	"context"
	"io"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/certpurge/certpurge/internal/config"
	"github.com/certpurge/certpurge/internal/gcs"
	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/queue"
)

// Load is what is purged, and how.
type Load struct {
	Users        int // that are measured; some more go before and after them, so that start and end are not
	Certificates int // of each; 0 is 1
	Latency      time.Duration
	Concurrency  int
	InFlight     int         // 0 is as many as the users can need
	Deletes      config.Rate // the zero Rate is no limit
	Reads        config.Rate
	Way          *Way // nil is Ours
}

// ForAbout chooses so many users that purging them takes about d, if nothing but the latency limits.
func (l Load) ForAbout(d time.Duration) Load {
	l.Users = 1000
	if l.Latency > 0 {
		l.Users = min(1000, max(2*l.Concurrency, int(d.Seconds()*float64(l.Concurrency)/(3*l.Latency.Seconds()))))
	}
	return l
}

// Figures are what was measured.
type Figures struct {
	Users, Objects    int
	Took              time.Duration
	Used              Used
	Machine           time.Duration // what the whole machine has used
	Packets, Commands int64
	Allocs, Bytes     uint64 // that this process has allocated
}

func (f *Figures) add(more Figures) {
	f.Users += more.Users
	f.Objects += more.Objects
	f.Took += more.Took
	f.Used = f.Used.plus(more.Used)
	f.Machine += more.Machine
	f.Packets += more.Packets
	f.Commands += more.Commands
	f.Allocs += more.Allocs
	f.Bytes += more.Bytes
}

// UsersPerSecond is the rate of purged users.
func (f *Figures) UsersPerSecond() float64 { return float64(f.Users) / f.Took.Seconds() }

// report shows the figures, and how near they come to what the latency allows: three waves of calls for each user.
func (f *Figures) report(b *testing.B, l Load) {
	b.Helper()
	perSecond := f.UsersPerSecond()
	b.ReportMetric(0, "ns/op") // it would count the making of the users, too
	b.ReportMetric(perSecond, "users/s")
	b.ReportMetric(float64(f.Objects)/f.Took.Seconds(), "objects/s")
	if l.Latency > 0 {
		b.ReportMetric(perSecond/(float64(l.Concurrency)/(3*l.Latency.Seconds())), "of-ideal")
	}
	b.ReportMetric(float64(f.Used[Worker].Microseconds())/float64(f.Objects), "cpu-µs/object")
	b.ReportMetric(float64(f.Packets)/float64(f.Users), "sql/user")
	b.ReportMetric(float64(f.Commands)/float64(f.Users), "redis/user")
	b.ReportMetric(float64(f.Allocs)/float64(f.Users), "allocs/user")
	b.ReportMetric(float64(f.Bytes)/1000/float64(f.Users), "kB/user")
	for name, ms := range f.Used.Each(f.Users) {
		b.ReportMetric(ms, "ms-"+name+"/user")
	}
}

// ours makes what the worker works on tasks with.
func ours(b *testing.B, s *Site, l Load) queue.Purger {
	b.Helper()
	store, err := gcs.Open(b.Context(), gcs.Config{
		GCS: config.GCS{
			CallTimeout: 30 * time.Second, MaxTries: 4, AttributesMaxAge: time.Minute, Endpoint: s.storage.base, Anonymous: true,
			MaxInFlight: cmp.Or(l.InFlight, l.Concurrency*filesEach*max(1, l.Certificates)),
			DeleteRate:  l.Deletes, ReadRate: l.Reads,
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
	b           *testing.B
	site        *Site
	more        []Process
	begin, end  int64
	all         int64
	done        atomic.Int64
	failed      atomic.Pointer[error]
	first, last mark
	over        chan struct{}
}

type mark struct {
	at                time.Time
	used              Used
	machine           time.Duration
	packets, commands int64
	allocs, bytes     uint64
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
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	return mark{
		time.Now(), w.site.Used(w.b, w.more...), MachineTime(), w.site.packets.Load(), w.site.commands.Load(), memory.Mallocs,
		memory.TotalAlloc,
	}
}

// Run adds users and purges them. It fails if anything of them is left.
func (s *Site) Run(b *testing.B, l Load) Figures {
	b.Helper()
	way := cmp.Or(l.Way, Ours)
	certificates, before := max(1, l.Certificates), max(20, l.Concurrency)
	total := before + l.Users + l.Concurrency
	s.storage.order(b, "latency", nil)
	users := s.add(b, total, certificates)
	way.Enqueue(b, s, users)
	s.storage.order(b, "latency", map[string]int{"ms": int(l.Latency.Milliseconds())})
	w := &window{
		Purger: way.Purger(b, s, l), b: b, site: s, more: way.Processes, begin: int64(before), end: int64(before + l.Users),
		all: int64(total), over: make(chan struct{}),
	}
	stop := way.Serve(b, s, l.Concurrency, w)
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
	if left := s.left(b, way.ClearsHistory); left > 0 {
		b.Fatalf("%d references and objects are left", left)
	}
	return Figures{
		Users: l.Users, Objects: l.Users * certificates * filesEach, Took: w.last.at.Sub(w.first.at),
		Used: w.last.used.Minus(w.first.used), Machine: w.last.machine - w.first.machine,
		Packets: w.last.packets - w.first.packets, Commands: w.last.commands - w.first.commands,
		Allocs: w.last.allocs - w.first.allocs, Bytes: w.last.bytes - w.first.bytes,
	}
}

// serve pulls tasks with the queue's own server until stop, which waits for those at work.
func (s *Site) serve(b *testing.B, concurrency int, purger queue.Purger) (stop func()) {
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
