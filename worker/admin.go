package main

import (
	"context"

	"github.com/certpurge/certpurge/internal/admin"
	"github.com/certpurge/certpurge/internal/admin/overview"
	"github.com/certpurge/certpurge/internal/cli"
	"github.com/certpurge/certpurge/internal/gcs"
	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/queue"
	"github.com/certpurge/certpurge/internal/telemetry"
)

// serveAdmin shows how the worker is until stop is called. The worker gives up if it cannot be probed.
func (w *worker) serveAdmin(ctx context.Context, giveUp context.CancelCauseFunc) (stop func(), err error) {
	cfg := w.cfg.Admin
	sources := overview.Real(w.store, w.redis, w.health.Problems, purge.Policy{ExcludedStates: w.cfg.LMS.ExcludedStates}.Eligible, w.newClientConfig())
	sources.Buckets = w.buckets
	page := overview.New(overview.About{Process: "worker", Version: cli.Version(), Base: cfg.BasePath}, sources, w.log)
	dashboard := queue.NewDashboard(w.redis, cfg.BasePath+admin.DashboardPath)
	listeners, err := admin.Listeners(cfg, admin.Parts{
		Probes: w.health.Handler(), Metrics: telemetry.MetricsHandler(telemetry.NewRegistry(), w.log), Overview: page,
		Look: dashboard.Handler(false), Operate: dashboard.Handler(true),
	}, w.log)
	if err != nil {
		page.Close()
		return nil, &cli.Error{Code: cli.ExitConfiguration, Err: err}
	}
	stopServing := admin.ServeBeside(ctx, listeners, w.log, giveUp)
	return func() { stopServing(); page.Close() }, nil
}

// buckets are the settings that the latest check has read; none before the first.
func (w *worker) buckets() []overview.Bucket {
	settings, _ := w.settings.Load().([]gcs.Settings)
	all := make([]overview.Bucket, len(settings))
	for i, s := range settings {
		all[i] = overview.Bucket{Name: s.Bucket, Versioning: s.Versioning, SoftDelete: s.SoftDelete, Retention: s.Retention, RequesterPays: s.RequesterPays}
	}
	return all
}
