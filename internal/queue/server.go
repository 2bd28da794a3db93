package queue

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"github.com/certpurge/certpurge/internal/config"
	"github.com/certpurge/certpurge/internal/purge"
)

// checkInterval is how often an idle server looks for work. asynq's default of 1 s would delay live requests.
const checkInterval = 250 * time.Millisecond

// Serve pulls tasks until ctx ends, then drains: it takes no more, lets running tasks finish, gives them the stop
// signal when three quarters of the drain time are over, and puts those that are still running at its end back into
// Redis, without counting a retry. An asynq server cannot be started twice; call Serve again for another run.
func Serve(ctx context.Context, rdb redis.UniversalClient, cfg config.Queue, handler asynq.Handler,
	log *slog.Logger,
) error {
	stop := make(chan struct{})
	server := asynq.NewServerFromRedisClient(rdb, asynq.Config{
		Concurrency: cfg.Concurrency,
		Queues:      map[string]int{Live: cfg.Weights.Purge, Backfill: cfg.Weights.Backfill},
		BaseContext: func() context.Context {
			return purge.WithStop(context.WithoutCancel(ctx), stop)
		},
		TaskCheckInterval:        checkInterval,
		DelayedTaskCheckInterval: time.Second, // how late a retry may be
		ShutdownTimeout:          cfg.DrainTimeout,
		IsFailure:                isFailure,
		RetryDelayFunc:           Backoff{Base: cfg.RetryBase, Cap: cfg.RetryCap, Now: time.Now}.Delay,
		Logger:                   logAdapter{log},
		LogLevel:                 asynq.WarnLevel,
	})
	if err := server.Start(handler); err != nil {
		return fmt.Errorf("starting to pull tasks: %w", err)
	}
	<-ctx.Done()
	timer := time.AfterFunc(cfg.DrainTimeout*3/4, func() { close(stop) })
	defer timer.Stop()
	server.Shutdown()
	return nil
}

// logAdapter passes asynq's own messages to slog. They hold task IDs, which may be forged, and Redis errors, never
// payloads.
type logAdapter struct{ log *slog.Logger }

func (a logAdapter) at(level slog.Level, args []any) {
	a.log.LogAttrs(context.Background(), level, "asynq", slog.String("message", purge.Printable(fmt.Sprint(args...))))
}

func (a logAdapter) Debug(args ...any) { a.at(slog.LevelDebug, args) }
func (a logAdapter) Info(args ...any)  { a.at(slog.LevelInfo, args) }
func (a logAdapter) Warn(args ...any)  { a.at(slog.LevelWarn, args) }
func (a logAdapter) Error(args ...any) { a.at(slog.LevelError, args) }

// Fatal does not end the process: asynq calls it only from Server.Run, which is not used.
func (a logAdapter) Fatal(args ...any) { a.at(slog.LevelError, args) }
