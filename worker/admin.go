package main

import (
	"context"

	"github.com/certpurge/certpurge/internal/admin"
	"github.com/certpurge/certpurge/internal/cli"
	"github.com/certpurge/certpurge/internal/queue"
	"github.com/certpurge/certpurge/internal/telemetry"
)

// serveAdmin shows how the worker is until stop is called. The worker gives up if it cannot be probed.
func (w *worker) serveAdmin(ctx context.Context, giveUp context.CancelCauseFunc) (stop func(), err error) {
	cfg := w.cfg.Admin
	dashboard := queue.NewDashboard(w.redis, cfg.BasePath+admin.DashboardPath)
	listeners, err := admin.Listeners(cfg, admin.Parts{
		Probes: w.health.Handler(), Metrics: telemetry.MetricsHandler(telemetry.NewRegistry(), w.log),
		Look: dashboard.Handler(false), Operate: dashboard.Handler(true),
	}, w.log)
	if err != nil {
		return nil, &cli.Error{Code: cli.ExitConfiguration, Err: err}
	}
	return admin.ServeBeside(ctx, listeners, w.log, giveUp), nil
}
