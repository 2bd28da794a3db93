package main

import (
	"context"
	"log/slog"

	"github.com/redis/go-redis/v9"

	"github.com/certpurge/certpurge/internal/admin"
	"github.com/certpurge/certpurge/internal/cli"
	"github.com/certpurge/certpurge/internal/config"
	"github.com/certpurge/certpurge/internal/queue"
	"github.com/certpurge/certpurge/internal/telemetry"
)

// serveAdmin shows, beside a command that runs for long, how it is, until stop is called. failed is told why it cannot.
func serveAdmin(
	ctx context.Context, cfg config.Admin, health *telemetry.Health, rdb redis.UniversalClient, log *slog.Logger, failed func(error),
) (stop func(), err error) {
	dashboard := queue.NewDashboard(rdb, cfg.BasePath+admin.DashboardPath)
	listeners, err := admin.Listeners(cfg, admin.Parts{
		Probes: health.Handler(), Metrics: telemetry.MetricsHandler(telemetry.NewRegistry(), log),
		Look: dashboard.Handler(false), Operate: dashboard.Handler(true),
	}, log)
	if err != nil {
		return nil, &cli.Error{Code: cli.ExitConfiguration, Err: err}
	}
	return admin.ServeBeside(ctx, listeners, log, failed), nil
}
