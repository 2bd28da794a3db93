package main

import (
	"context"
	"errors"
	"log/slog"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"github.com/certpurge/certpurge/internal/admin"
	"github.com/certpurge/certpurge/internal/cli"
	"github.com/certpurge/certpurge/internal/config"
	"github.com/certpurge/certpurge/internal/mysql"
	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/queue/inspect"
	"github.com/certpurge/certpurge/internal/telemetry"
)

// process is what the commands have that run for long.
type process struct {
	cfg      config.Enqueuer
	store    *mysql.Store
	redis    redis.UniversalClient
	log      *slog.Logger
	registry *prometheus.Registry
	accepted *telemetry.Intake
	health   *telemetry.Health // once its pages are served
}

// openProcess opens what a process needs that accepts submissions from these sources, without connecting.
func (a *app) openProcess(sources ...purge.Source) (p *process, err error) {
	p = &process{}
	if p.cfg, p.store, err = a.openStore(); err != nil {
		return nil, err
	}
	p.log = telemetry.NewLogger(a.streams.Err, p.cfg.Log)
	if p.redis, err = cli.NewRedis(p.cfg.Redis); err != nil {
		return nil, errors.Join(err, p.store.Close())
	}
	if p.registry, p.accepted, err = newMetrics(sources...); err != nil {
		return nil, errors.Join(err, p.close())
	}
	return p, nil
}

func (p *process) close() error { return errors.Join(p.redis.Close(), p.store.Close()) }

// check tests everything that accepting submissions needs.
func (p *process) check(ctx context.Context) error {
	if err := p.store.CheckIntake(ctx); err != nil {
		return err
	}
	return inspect.Check(ctx, p.redis)
}

// beside serves the admin pages and sends notifications until stop is called. It gives up if the pages cannot be
// served.
func (p *process) beside(
	ctx context.Context, name string, giveUp context.CancelCauseFunc, more ...telemetry.Check,
) (stop func(), err error) {
	p.health = telemetry.NewHealth(append([]telemetry.Check{
		{Name: "mysql", Run: p.store.CheckIntake},
		{Name: "redis", Run: func(ctx context.Context) error { return inspect.Check(ctx, p.redis) }},
	}, more...)...)
	notifier, err := newNotifier(p.cfg.Notify, p.store, p.registry, p.log)
	if err != nil {
		return nil, err
	}
	pages, stopServing, err := admin.Process{
		Name: name, Role: mysql.RoleEnqueuer, Config: p.cfg.Admin, Policy: p.cfg.LMS.Policy(), Tasks: p.cfg.Tasks,
		SigningKey: p.cfg.Evidence.SigningKeyFile, Store: p.store, Redis: p.redis, Health: p.health, Registry: p.registry,
		Log: p.log,
	}.Serve(ctx, giveUp)
	if err != nil || notifier == nil {
		return stopServing, err
	}
	ctx, cancel := context.WithCancel(ctx)
	var notifying sync.WaitGroup
	notifier.Verdict = pages.Verdict
	notifying.Go(func() { notifier.Run(ctx) })
	return func() { cancel(); notifying.Wait(); stopServing() }, nil
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
		return nil, cli.Errorf(cli.ExitConfiguration, "%w", err)
	}
	return tracing, nil
}
