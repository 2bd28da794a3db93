package admin

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"github.com/certpurge/certpurge/internal/admin/console"
	"github.com/certpurge/certpurge/internal/certificate"
	"github.com/certpurge/certpurge/internal/cli"
	"github.com/certpurge/certpurge/internal/config"
	"github.com/certpurge/certpurge/internal/mysql"
	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/queue/dashboard"
	"github.com/certpurge/certpurge/internal/telemetry"
)

// Process is a process that runs for long, with what its pages show.
type Process struct {
	Name       string // worker, watch, serve
	Role       mysql.Role
	Config     config.Admin
	Policy     purge.Policy
	Tasks      config.Tasks
	SigningKey string // file of the key that signs certificates; empty for none
	Store      *mysql.Store
	Redis      redis.UniversalClient
	Health     *telemetry.Health
	Registry   *prometheus.Registry
	Log        *slog.Logger
	// Buckets are the settings of a worker's buckets, and Paces how fast it works on them; nil for other processes.
	Buckets func() []purge.BucketSettings
	Paces   func() []telemetry.BucketFigures
}

// Serve serves the pages until stop is called. It calls failed with the reason if it cannot.
func (p Process) Serve(ctx context.Context, failed func(error)) (pages *console.Console, stop func(), err error) {
	sources := console.Real(p.Store, p.Role, p.Redis, p.Health.Problems, p.Policy, p.Tasks)
	from := certificate.Origin{Installation: p.Config.Title, Software: cli.Version()}
	if sources.Certificate, err = certificate.Maker(p.Store, p.SigningKey, from); err != nil {
		return nil, nil, cli.Errorf(cli.ExitConfiguration, "%w", err)
	}
	sources.Buckets, sources.Paces = p.Buckets, p.Paces
	about := console.About{Title: p.Config.Title, Process: p.Name, Version: cli.Version(), Base: p.Config.BasePath}
	pages = console.New(about, sources, p.Log)
	servers := pages.Servers()
	servers.Buckets, servers.Settings = p.Paces, p.Buckets
	if err := p.Registry.Register(servers); err != nil {
		pages.Close()
		return nil, nil, fmt.Errorf("registering metrics: %w", err)
	}
	queues := dashboard.New(p.Redis, p.Config.BasePath+dashboardPath)
	parts := Parts{
		Probes: p.Health.Handler(), Metrics: telemetry.MetricsHandler(p.Registry, p.Log), Pages: pages,
		Look: queues.Handler(false), Operate: queues.Handler(true),
	}
	if p.Role == mysql.RoleEnqueuer { // the worker's account may not
		parts.Note = func(ctx context.Context, by, what string) error {
			return p.Store.NoteOperation(ctx, mysql.Operation{Kind: mysql.OperationDashboard, Subject: what, By: by})
		}
	}
	listeners, err := listenersOf(p.Config, parts, p.Log)
	if err != nil {
		pages.Close()
		return nil, nil, cli.Errorf(cli.ExitConfiguration, "%w", err)
	}
	stopServing := serveBeside(ctx, listeners, p.Log, failed)
	return pages, func() { stopServing(); pages.Close() }, nil
}
