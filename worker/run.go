package main

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/certpurge/certpurge/internal/admin"
	"github.com/certpurge/certpurge/internal/cli"
	"github.com/certpurge/certpurge/internal/config"
	"github.com/certpurge/certpurge/internal/doctor"
	"github.com/certpurge/certpurge/internal/gcs"
	"github.com/certpurge/certpurge/internal/mysql"
	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/queue"
	"github.com/certpurge/certpurge/internal/queue/inspect"
	"github.com/certpurge/certpurge/internal/queue/presence"
	"github.com/certpurge/certpurge/internal/telemetry"
)

// worker holds everything that a purge needs, opened.
type worker struct {
	checker

	log     *slog.Logger
	health  *telemetry.Health
	recheck chan struct{} // holds one: a check was requested by checkSoon
	misses  purge.Misses
	present *presence.Announcer

	logged struct { // by the checks, so that each line is written once
		warnings map[string]bool
		settings []purge.BucketSettings
		walked   int64 // rows, of the first walk
	}

	registry *prometheus.Registry
	metrics  *telemetry.Worker
	tracing  *telemetry.Tracing
}

// run opens everything, serves until ctx ends, and closes everything.
func run(ctx context.Context, cfg config.Worker, locations purge.Locations, environ []string,
	log *slog.Logger,
) (err error) {
	w := &worker{checker: checker{cfg: cfg, locations: locations}, log: log, recheck: make(chan struct{}, 1)}
	w.misses.OnDoubt = w.checkSoon
	if w.registry, err = telemetry.NewRegistry(); err != nil {
		return err
	}
	if w.metrics, err = telemetry.NewWorker(w.registry); err != nil {
		return err
	}
	w.tracing, err = telemetry.NewTracing(ctx, cfg.Tracing, "certpurge-worker", log)
	if err != nil {
		return cli.Errorf(cli.ExitConfiguration, "%w", err)
	}
	defer w.tracing.Close() //nolint:contextcheck // ctx has ended by then
	if w.store, err = cli.OpenStore(cfg.MySQL, cfg.LMS); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.store.Close()) }()
	w.store.Writer = cli.EvidenceWriter()
	if w.redis, err = cli.NewRedis(cfg.Redis); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.redis.Close()) }()
	w.present = presence.NewAnnouncer(w.redis, cli.Version(), w.checkSoon)
	defer w.present.Start(ctx)()
	w.objects, err = gcs.Open(ctx, gcs.Config{
		GCS: cfg.GCS, Locations: locations, Environ: environ, Log: log, Trace: w.tracing.StorageRequest,
		Observe: func(kind string, status int, took time.Duration) {
			w.metrics.StorageRequest(kind, status, took)
			if status == 0 { // no answer: this one request, or the whole service
				w.checkSoon()
			}
		},
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.objects.Close()) }()

	w.health = telemetry.NewHealth(
		telemetry.Check{Name: "mysql", Run: w.recheckAfter(w.store.Check)},
		telemetry.Check{Name: "redis", Run: w.recheckAfter(func(ctx context.Context) error {
			return inspect.CheckPull(ctx, w.redis)
		})},
	)
	serving, giveUp := context.WithCancelCause(ctx)
	defer giveUp(nil)
	_, stop, err := admin.Process{
		Name: "worker", Role: mysql.RoleWorker, Config: cfg.Admin, Policy: cfg.LMS.Policy(), Tasks: cfg.Tasks,
		SigningKey: cfg.Evidence.SigningKeyFile, Store: w.store, Redis: w.redis, Health: w.health, Registry: w.registry,
		Log: log, Buckets: w.objects.Settings, Paces: w.rates,
	}.Serve(ctx, giveUp)
	if err != nil {
		return err
	}
	defer stop()
	if err := w.work(serving); err != nil {
		return err
	}
	w.anchorAll(ctx)
	log.InfoContext(ctx, "worker stopped")
	if cause := context.Cause(serving); !errors.Is(cause, context.Canceled) {
		return cause
	}
	return nil // a stop that was requested is no error
}

func newLocations(all []config.Location) []purge.Location {
	locations := make([]purge.Location, len(all))
	for i, l := range all {
		accepts := func(setting string) bool { return setting == "accept" }
		empty := func(kind purge.Kind) bool { return l.AllowEmpty == "true" || l.AllowEmpty == string(kind) }
		locations[i] = purge.Location{
			Name: l.Name, Bucket: l.Bucket, ObjectPrefix: l.ObjectPrefix, DownloadsDir: l.DownloadsDir, VerifyDir: l.VerifyDir,
			URLPrefixes: l.URLPrefixes, Signed: l.Signed,
			AllowEmpty: map[purge.Kind]bool{
				purge.Downloads:    empty(purge.Downloads),
				purge.Verification: empty(purge.Verification),
			},
			AcceptMissing: map[purge.Kind]bool{
				purge.Downloads: accepts(l.MissingFiles.Downloads), purge.Verification: accepts(l.MissingFiles.Verification),
			},
		}
	}
	return locations
}

// newHandler builds the handler of all tasks.
func (w *worker) newHandler() *queue.Handler {
	return &queue.Handler{
		Log: w.log,
		Purger: &purge.Purger{
			Users: w.tracing.Users(w.store), Ledger: w.tracing.Ledger(w.store), Objects: w.tracing.Objects(w.objects),
			Orphans: w.store, Locations: w.locations,
			Policy: w.cfg.Policy(), Misses: &w.misses, Now: time.Now, Observer: w.metrics,
			Settings: w.objects.Settings,
		},
		Metrics:   w.metrics,
		Tracer:    w.tracing,
		CheckSoon: w.checkSoon,
	}
}

// recheckAfter wraps the check of a readiness probe: if it fails, all checks are repeated, which may pause the worker.
func (w *worker) recheckAfter(check func(context.Context) error) func(context.Context) error {
	return func(ctx context.Context) error {
		err := check(ctx)
		if err != nil {
			w.checkSoon()
		}
		return err
	}
}

// checkSoon triggers a check of all that a purge needs.
func (w *worker) checkSoon() {
	select {
	case w.recheck <- struct{}{}:
	default: // one was requested already
	}
}

// newReconciler builds the reconciler, which makes Redis agree with the ledger.
func (w *worker) newReconciler() *doctor.Reconciler {
	return &doctor.Reconciler{
		Reconciler: w.cfg.Reconciler, Ledger: w.store, Queue: inspect.NewKeeper(w.redis, w.cfg.Tasks),
		Now: time.Now, Log: w.log,
		Observe: func(sum doctor.Summary, err error) {
			w.metrics.Reconciled(sum.Led, sum.Restored, sum.Dropped, err)
			if err != nil {
				w.checkSoon()
			}
		},
	}
}

// rates returns the figures of the rates of all buckets.
func (w *worker) rates() []telemetry.BucketFigures {
	var all []telemetry.BucketFigures
	for _, b := range w.objects.Stats() {
		for kind, p := range map[string]gcs.PaceStats{"delete": b.Deletes, "read": b.Reads} {
			all = append(all, telemetry.BucketFigures{
				Bucket: b.Bucket, Kind: kind, Rate: p.Rate, Ceiling: p.Ceiling, Waiting: p.Waiting, Throttled: p.Throttled,
				Halved: p.Halved, Waited: p.Waited,
				InFlight: b.InFlight, MaxInFlight: b.MaxInFlight,
			})
		}
	}
	return all
}
