package inspect_test

import (
	"testing"
	"time"

	"github.com/hibiken/asynq"

	"github.com/certpurge/certpurge/internal/queue"
	"github.com/certpurge/certpurge/internal/queue/inspect"
	"github.com/certpurge/certpurge/internal/sandbox/sandboxtest"
)

func TestWaitingCountsWhatRunsWithinTheHour(t *testing.T) {
	t.Parallel()
	rdb := newRedis(t)
	now := time.Now()
	waiting := func() int {
		t.Helper()
		n, err := inspect.Waiting(t.Context(), rdb, queue.Live, now)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	if got := waiting(); got != 0 {
		t.Errorf("a queue that was never used: got %d", got)
	}
	client := asynq.NewClientFromRedisClient(rdb)
	for _, options := range [][]asynq.Option{
		{asynq.Queue(queue.Live)},
		{asynq.Queue(queue.Live), asynq.ProcessIn(50 * time.Minute)},
		{asynq.Queue(queue.Live), asynq.ProcessIn(70 * time.Minute)}, // waits for a date
		{asynq.Queue(queue.Backfill)},
	} {
		if _, err := client.Enqueue(asynq.NewTask("test", nil), options...); err != nil {
			t.Fatal(err)
		}
	}
	if got := waiting(); got != 2 {
		t.Errorf("pending and soon: got %d, want 2", got)
	}
	stop := make(chan struct{})
	server := asynq.NewServerFromRedisClient(rdb, asynq.Config{
		Queues: map[string]int{queue.Live: 1}, LogLevel: asynq.FatalLevel,
		RetryDelayFunc: func(int, error, *asynq.Task) time.Duration { close(stop); return 10 * time.Minute },
	})
	if err := server.Start(asynq.NotFoundHandler()); err != nil { // every task fails
		t.Fatal(err)
	}
	sandboxtest.Receive(t, "the task has failed", stop)
	server.Shutdown()
	if got := waiting(); got != 2 {
		t.Errorf("one waits for its next attempt now: got %d, want 2", got)
	}
}

func TestEvictionPolicy(t *testing.T) {
	t.Parallel()
	if got := inspect.EvictionPolicy(t.Context(), newRedis(t)); got != "noeviction" {
		t.Errorf("got %q, want noeviction", got)
	}
}
