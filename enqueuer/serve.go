package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/certpurge/certpurge/internal/cli"
	"github.com/certpurge/certpurge/internal/httpapi"
	"github.com/certpurge/certpurge/internal/httpapi/auth"
	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/queue"
	"github.com/certpurge/certpurge/internal/queue/inspect"
	"github.com/certpurge/certpurge/internal/telemetry"
)

func newServeCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "serve",
		Short: "Accept requests over HTTP, from the retirement driver and programs",
		Long: `serve answers two kinds of callers on serve.listen:

  the stock Open edX retirement driver, unmodified, as its LICENSE_MANAGER,
  ECOMMERCE or CREDENTIALS service: the answer is 204 once the purge has ended,
  and 503 while it is running, which makes the driver call again;

  programs, under /v1: /v1/docs is the page, /v1/openapi.yaml the document.

Callers present a JSON Web Token of the LMS (section jwt of the configuration)
or a token of certpurge (section tokens; make one with "enqueuer token").
docs/integrations.md explains how to set up each, and what each answer does to
a learner.

While MySQL is down it answers 503, and is unready on /readyz of admin.listen.
It runs until SIGTERM or SIGINT; calls in progress then get serve.drain_timeout
to end.

` + cli.Exits{cli.ExitOK: "stopped by a signal, and drained", cli.ExitConfiguration: ""}.String(),
		Example: "  enqueuer -c configs/enqueuer.yaml serve",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			p, err := a.openProcess(purge.SourceAPI, purge.SourceDriver, purge.SourceBackfill)
			if err != nil {
				return err
			}
			s := &service{process: p}
			return errors.Join(s.run(cmd.Context()), p.close())
		},
	}
}

// service is the composition of the server.
type service struct {
	*process

	tracing *telemetry.Tracing
}

// run serves until ctx ends.
func (s *service) run(ctx context.Context) error {
	letIn := auth.Config{JWT: s.cfg.JWT, Tokens: s.cfg.Tokens, Log: s.log}
	authenticator, err := auth.New(letIn) //nolint:contextcheck // what it begins is ended by Run
	if err != nil {
		return cli.Errorf(cli.ExitConfiguration, "%w", err)
	}
	if s.tracing, err = newTracing(ctx, s.cfg, s.log); err != nil {
		return err
	}
	defer s.tracing.Close() //nolint:contextcheck // ctx has ended by then
	ctx, giveUp := context.WithCancelCause(ctx)
	defer giveUp(nil)
	keys := telemetry.Check{Name: "jwt", Run: func(context.Context) error { return authenticator.Ready() }}
	stop, err := s.beside(ctx, "serve", giveUp, keys)
	if err != nil {
		return err
	}
	defer stop()
	var running sync.WaitGroup
	running.Go(func() { authenticator.Run(ctx) })
	running.Go(func() { s.await(ctx, giveUp) })
	running.Go(func() { s.forgetKeys(ctx) })
	defer running.Wait()
	defer giveUp(nil)
	api := s.newAPI(authenticator, auth.NewLimiter(letIn))
	started := func(address net.Addr) {
		s.log.InfoContext(ctx, "serving", slog.String("address", address.String()),
			slog.Bool("tls", s.cfg.Serve.TLSCertificateFile != ""),
			slog.String("path_prefix", s.cfg.Serve.PathPrefix))
	}
	stopping := func() {
		s.health.NotReady("draining")
		api.Stop()
	}
	if err := httpapi.Serve(ctx, s.cfg.Serve, s.log, s.tracing.Handler(api.Handler()), started, stopping); err != nil {
		return err
	}
	s.log.InfoContext(ctx, "server stopped")
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
		return cause
	}
	return nil // stopped on request
}

// await turns the service ready once the databases are as they must be, and gives up if they never can be.
func (s *service) await(ctx context.Context, giveUp context.CancelCauseFunc) {
	err := s.health.Await(ctx, s.check,
		func(err error) bool { return purge.ClassOf(err) == purge.Misconfigured },
		func(err error) { s.log.ErrorContext(ctx, "not ready", slog.Any("error", err)) })
	if err != nil {
		giveUp(err)
	}
}

// forgetEvery is how often old idempotency keys are forgotten.
const forgetEvery = time.Hour

// forgetKeys forgets old idempotency keys until ctx ends.
func (s *service) forgetKeys(ctx context.Context) {
	for purge.Sleep(ctx, forgetEvery) {
		removed, err := s.store.PruneKeys(ctx, time.Now().Add(-s.cfg.Serve.KeepKeys))
		switch {
		case ctx.Err() != nil:
		case err != nil:
			s.log.WarnContext(ctx, "forgetting old idempotency keys failed, and is tried again", slog.Any("error", err))
		case removed > 0:
			s.log.InfoContext(ctx, "old idempotency keys forgotten", slog.Int64("rows", removed))
		}
	}
}

func (s *service) newAPI(authenticator httpapi.Authenticator, limiter httpapi.Limiter) *httpapi.Server {
	intake := func(name string) httpapi.Intake {
		return s.tracing.Follow(purge.NewGather(purge.Intake{
			Requests: s.tracing.Requests(counted{s.store, s.accepted}),
			Tasks:    s.tracing.Tasks(queue.NewClient(s.redis, name, s.cfg.Tasks)),
		}))
	}
	return &httpapi.Server{
		Serve: s.cfg.Serve, Intake: intake(queue.Live), Backfill: intake(queue.Backfill), Ledger: s.store, Users: s.store,
		Queue: inspect.NewKeeper(s.redis, s.cfg.Tasks), Auth: authenticator, Limiter: limiter, Log: s.log,
	}
}
