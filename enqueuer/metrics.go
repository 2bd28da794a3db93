package main

import (
	"context"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/certpurge/certpurge/internal/cli"
	"github.com/certpurge/certpurge/internal/config"
	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/telemetry"
)

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
