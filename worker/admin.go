package main

import (
	"context"
	"fmt"

	"github.com/certpurge/certpurge/internal/admin"
	"github.com/certpurge/certpurge/internal/admin/console"
	"github.com/certpurge/certpurge/internal/certificate"
	"github.com/certpurge/certpurge/internal/cli"
	"github.com/certpurge/certpurge/internal/gcs"
	"github.com/certpurge/certpurge/internal/mysql"
	"github.com/certpurge/certpurge/internal/queue/dashboard"
	"github.com/certpurge/certpurge/internal/telemetry"
)

// serveAdmin shows how the worker is until stop is called. The worker gives up if it cannot be probed.
func (w *worker) serveAdmin(ctx context.Context, giveUp context.CancelCauseFunc) (stop func(), err error) {
	cfg := w.cfg.Admin
	sources := console.Real(w.store, mysql.RoleWorker, w.redis, w.health.Problems, w.cfg.LMS.Policy(), w.cfg.Tasks)
	from := certificate.Origin{Installation: cfg.Title, Software: cli.Version()}
	if sources.Certificate, err = certificate.Maker(w.store, w.cfg.Evidence.SigningKeyFile, from); err != nil {
		return nil, &cli.Error{Code: cli.ExitConfiguration, Err: err}
	}
	sources.Buckets, sources.Paces = w.objects.Settings, w.rates
	about := console.About{Title: cfg.Title, Process: "worker", Version: cli.Version(), Base: cfg.BasePath}
	pages := console.New(about, sources, w.log)
	servers := pages.Servers()
	servers.Buckets, servers.Settings = w.rates, w.objects.Settings
	if err := w.registry.Register(servers); err != nil {
		pages.Close()
		return nil, fmt.Errorf("registering metrics: %w", err)
	}
	dashboard := dashboard.New(w.redis, cfg.BasePath+admin.DashboardPath)
	listeners, err := admin.Listeners(cfg, admin.Parts{
		Probes: w.health.Handler(), Metrics: telemetry.MetricsHandler(w.registry, w.log), Pages: pages,
		Look: dashboard.Handler(false), Operate: dashboard.Handler(true),
	}, w.log)
	if err != nil {
		pages.Close()
		return nil, &cli.Error{Code: cli.ExitConfiguration, Err: err}
	}
	stopServing := admin.ServeBeside(ctx, listeners, w.log, giveUp)
	return func() { stopServing(); pages.Close() }, nil
}

// rates are how fast the buckets are worked on.
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
