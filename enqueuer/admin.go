package main

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"github.com/certpurge/certpurge/internal/admin"
	"github.com/certpurge/certpurge/internal/admin/console"
	"github.com/certpurge/certpurge/internal/certificate"
	"github.com/certpurge/certpurge/internal/cli"
	"github.com/certpurge/certpurge/internal/config"
	"github.com/certpurge/certpurge/internal/mysql"
	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/queue/dashboard"
	"github.com/certpurge/certpurge/internal/telemetry"
)

// serveAdmin shows, beside a command that runs for long, how it is, until stop is called. failed is told why it cannot.
// The pages are usable until then.
func serveAdmin(
	ctx context.Context, process string, cfg config.Enqueuer, health *telemetry.Health, store *mysql.Store,
	rdb redis.UniversalClient,
	registry *prometheus.Registry, log *slog.Logger, failed func(error),
) (pages *console.Console, stop func(), err error) {
	base := cfg.Admin.BasePath
	sources := console.Real(store, mysql.RoleEnqueuer, rdb, health.Problems, cfg.LMS.Policy(), cfg.Tasks)
	if sources.Certificate, err = certificate.Maker(store, cfg.Evidence.SigningKeyFile, originOf(cfg)); err != nil {
		return nil, nil, &cli.Error{Code: cli.ExitConfiguration, Err: err}
	}
	about := console.About{Title: cfg.Admin.Title, Process: process, Version: cli.Version(), Base: base}
	pages = console.New(about, sources, log)
	if err := registry.Register(pages.Servers()); err != nil {
		pages.Close()
		return nil, nil, fmt.Errorf("registering metrics: %w", err)
	}
	dashboard := dashboard.New(rdb, base+admin.DashboardPath)
	listeners, err := admin.Listeners(cfg.Admin, admin.Parts{
		Probes: health.Handler(), Metrics: telemetry.MetricsHandler(registry, log), Pages: pages,
		Look: dashboard.Handler(false), Operate: dashboard.Handler(true),
		Note: func(ctx context.Context, by, what string) error {
			return store.NoteOperation(ctx, mysql.Operation{Kind: mysql.OperationDashboard, Subject: what, By: by})
		},
	}, log)
	if err != nil {
		pages.Close()
		return nil, nil, &cli.Error{Code: cli.ExitConfiguration, Err: err}
	}
	stopServing := admin.ServeBeside(ctx, listeners, log, failed)
	return pages, func() { stopServing(); pages.Close() }, nil
}

// counted counts the submissions that the ledger takes.
type counted struct {
	purge.Requests

	intake *telemetry.Intake
}

// Accept implements purge.Requests.
func (c counted) Accept(ctx context.Context, submissions []purge.Submission) ([]purge.Accepted, error) {
	accepted, err := c.Requests.Accept(ctx, submissions)
	for i, a := range accepted {
		c.intake.Accepted(submissions[i].Source, a.Found)
	}
	return accepted, err
}

// newMetrics makes the metrics of a process that accepts submissions from these sources.
func newMetrics(sources ...purge.Source) (*prometheus.Registry, *telemetry.Intake, error) {
	registry, err := telemetry.NewRegistry()
	if err != nil {
		return nil, nil, err
	}
	intake, err := telemetry.NewIntake(registry, sources...)
	return registry, intake, err
}

// newTracing follows what this process accepts.
func newTracing(ctx context.Context, cfg config.Enqueuer, log *slog.Logger) (*telemetry.Tracing, error) {
	tracing, err := telemetry.NewTracing(ctx, cfg.Tracing, "certpurge-enqueuer", log)
	if err != nil {
		return nil, &cli.Error{Code: cli.ExitConfiguration, Err: err}
	}
	return tracing, nil
}
