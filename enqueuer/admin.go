package main

import (
	"context"
	"log/slog"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"github.com/certpurge/certpurge/internal/admin"
	"github.com/certpurge/certpurge/internal/cli"
	"github.com/certpurge/certpurge/internal/config"
	"github.com/certpurge/certpurge/internal/mysql"
	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/telemetry"
)

// beside shows how a command that runs for long is, and tells others, until stop is called. The command gives up if it
// cannot be probed.
func beside(
	ctx context.Context, process string, cfg config.Enqueuer, health *telemetry.Health, store *mysql.Store,
	rdb redis.UniversalClient, registry *prometheus.Registry, log *slog.Logger, giveUp context.CancelCauseFunc,
) (stop func(), err error) {
	notifier, err := newNotifier(cfg.Notify, store, registry, log)
	if err != nil {
		return nil, err
	}
	pages, stopServing, err := admin.Process{
		Name: process, Role: mysql.RoleEnqueuer, Config: cfg.Admin, Policy: cfg.LMS.Policy(), Tasks: cfg.Tasks,
		SigningKey: cfg.Evidence.SigningKeyFile, Store: store, Redis: rdb, Health: health, Registry: registry, Log: log,
	}.Serve(ctx, giveUp)
	if err != nil || notifier == nil {
		return stopServing, err
	}
	ctx, cancel := context.WithCancel(ctx)
	var telling sync.WaitGroup
	notifier.Verdict = pages.Verdict
	telling.Go(func() { notifier.Run(ctx) })
	return func() { cancel(); telling.Wait(); stopServing() }, nil
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
