// Package queuetest holds what the tests of the queue and of the packages beside it share.
package queuetest

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"github.com/certpurge/certpurge/internal/config"
	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/queue"
	"github.com/certpurge/certpurge/internal/queue/inspect"
	"github.com/certpurge/certpurge/internal/sandbox/sandboxtest"
)

// NewRedis gives the test a database of its own on a real server.
func NewRedis(t *testing.T) redis.UniversalClient {
	t.Helper()
	url := sandboxtest.Redis(t)
	rdb, err := queue.NewRedis(config.Redis{URL: config.NewSecret(url)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := rdb.Close(); err != nil {
			t.Errorf("closing: %v", err)
		}
	})
	return rdb
}

// TaskSettings are the settings of the tasks that tests put into queues.
var TaskSettings = config.Tasks{Timeout: 2 * time.Minute, Retention: 10 * time.Minute}

// Task42 is a task of user 42.
var Task42 = purge.Task{Request: 17, User: 42}

// Enqueue puts tasks into the live queue.
func Enqueue(t *testing.T, rdb redis.UniversalClient, tasks ...purge.Task) {
	t.Helper()
	if err := queue.NewClient(rdb, queue.Live, TaskSettings).Enqueue(t.Context(), tasks); err != nil {
		t.Fatal(err)
	}
}

// Depth returns the depth of the live queue.
func Depth(t *testing.T, rdb redis.UniversalClient) inspect.Depth {
	t.Helper()
	depths, err := inspect.Depths(t.Context(), rdb)
	if err != nil {
		t.Fatal(err)
	}
	return depths[0]
}

// PurgerFunc is a queue.Purger.
type PurgerFunc func(context.Context, purge.Task) (purge.Result, error)

// Purge implements queue.Purger.
func (f PurgerFunc) Purge(ctx context.Context, task purge.Task) (purge.Result, error) {
	return f(ctx, task)
}

// Serve runs a server until the test ends, or until the returned function is called; that waits for the drain.
func Serve(t *testing.T, rdb redis.UniversalClient, cfg config.Queue, log *slog.Logger,
	purger queue.Purger,
) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- queue.Serve(ctx, rdb, cfg, &queue.Handler{Purger: purger, Log: log}, log) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("serving: %v", err)
		}
	})
	t.Cleanup(stop)
	return stop
}

// FastServer retries at once.
var FastServer = config.Queue{
	Concurrency: 4, Weights: config.Weights{Purge: 6, Backfill: 1}, DrainTimeout: 2 * time.Second,
	RetryBase: time.Millisecond, RetryCap: time.Second,
}

// Quiet is a log that keeps nothing.
var Quiet = slog.New(slog.DiscardHandler)

// Ward is a queue with a task of user 42 in the state that a test names, and healthy neighbours.
type Ward struct {
	T     *testing.T
	Redis redis.UniversalClient
}

// Key is the key of the live queue with a name.
func (w Ward) Key(name string) string { return "asynq:{purge}:" + name }

// Do sends a command that must change something.
func (w Ward) Do(args ...any) {
	w.T.Helper()
	if n, err := w.Redis.Do(w.T.Context(), args...).Int(); err != nil || n < 1 {
		w.T.Fatalf("%v: got %d, %v; the key is not where asynq keeps it", args, n, err)
	}
}

// Set puts a text where something else belongs.
func (w Ward) Set(name string) {
	w.T.Helper()
	if err := w.Redis.Set(w.T.Context(), w.Key(name), "text", 0).Err(); err != nil {
		w.T.Fatal(err)
	}
}

// Fill puts tasks into every state by asynq's own hand: user 1 completed, 2 archived, 3 waiting for a retry, 4
// scheduled as a follow-up of 42, 42 active, 5 pending.
func (w Ward) Fill() (release func()) {
	w.T.Helper()
	started, hold := make(chan struct{}, 10), make(chan struct{})
	cfg := FastServer
	cfg.RetryBase, cfg.RetryCap = time.Hour, time.Hour
	cfg.Concurrency = 1
	Serve(w.T, w.Redis, cfg, Quiet, PurgerFunc(func(_ context.Context, task purge.Task) (purge.Result, error) {
		switch task.User {
		case 1:
			return purge.Result{State: purge.Done}, nil
		case 2:
			return purge.Result{}, purge.ErrUnknownRequest
		case 3:
			return purge.Result{State: purge.Queued}, &purge.Error{Class: purge.Retained, Until: time.Now().Add(time.Hour)}
		default:
			started <- struct{}{}
			<-hold
			return purge.Result{State: purge.Done}, nil
		}
	}))
	for user := range purge.UserID(3) {
		Enqueue(w.T, w.Redis, purge.Task{Request: purge.RequestID(user + 1), User: user + 1})
	}
	sandboxtest.Eventually(w.T, "three states are reached", func() bool {
		d := Depth(w.T, w.Redis)
		return d.Completed == 1 && d.Archived == 1 && d.Retry == 1
	})
	Enqueue(w.T, w.Redis, Task42)
	sandboxtest.Receive(w.T, "the task runs", started)
	Enqueue(w.T, w.Redis, purge.Task{Request: 18, User: 42}, purge.Task{Request: 5, User: 5})
	return func() { close(hold) }
}

// Open connects to a URL until the test ends.
func Open(t *testing.T, url string) redis.UniversalClient {
	t.Helper()
	return OpenWith(t, config.Redis{URL: config.NewSecret(url)})
}

// OpenWith connects as a configuration says until the test ends.
func OpenWith(t *testing.T, cfg config.Redis) redis.UniversalClient {
	t.Helper()
	rdb, err := queue.NewRedis(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = rdb.Close() })
	return rdb
}

// AsynqServer runs a server of asynq itself until the test ends.
func AsynqServer(t *testing.T, rdb redis.UniversalClient, cfg asynq.Config, handler asynq.HandlerFunc) {
	t.Helper()
	cfg.LogLevel, cfg.TaskCheckInterval, cfg.DelayedTaskCheckInterval = asynq.FatalLevel, 10*time.Millisecond,
		100*time.Millisecond
	server := asynq.NewServerFromRedisClient(rdb, cfg)
	if err := server.Start(handler); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Shutdown)
}
