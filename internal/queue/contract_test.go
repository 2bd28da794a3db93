package queue_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"github.com/certpurge/certpurge/internal/sandbox/sandboxtest"
)

// The tests in this file pin what asynq v0.26.0 does, because our code stands on it. When one fails after an upgrade,
// read what hangs on it before changing the test.

func info(t *testing.T, rdb redis.UniversalClient, queue, id string) *asynq.TaskInfo {
	t.Helper()
	i, err := asynq.NewInspectorFromRedisClient(rdb).GetTaskInfo(queue, id)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

// Hangs on it: config refuses fractions of a second for tasks.timeout and tasks.retention.
func TestContractFractionsOfASecondAreCutOff(t *testing.T) {
	t.Parallel()
	rdb := newRedis(t)
	client := asynq.NewClientFromRedisClient(rdb)
	for timeout, want := range map[time.Duration]time.Duration{
		500 * time.Millisecond:  0,
		1999 * time.Millisecond: time.Second, 3 * time.Minute: 3 * time.Minute,
	} {
		id := fmt.Sprint(timeout)
		if _, err := client.Enqueue(asynq.NewTask("t", nil), asynq.TaskID(id), asynq.Timeout(timeout)); err != nil {
			t.Fatal(err)
		}
		if got := info(t, rdb, "default", id).Timeout; got != want {
			t.Errorf("timeout %v is stored as %v, want %v", timeout, got, want)
		}
	}
}

// Hangs on it: the client removes ended tasks; one user has at most one task in a queue, but may have one in each.
func TestContractTaskIDConflictsPerQueueUntilTheTaskIsGone(t *testing.T) {
	t.Parallel()
	rdb := newRedis(t)
	client := asynq.NewClientFromRedisClient(rdb)
	put := func(queue string) error {
		_, err := client.Enqueue(asynq.NewTask("t", nil), asynq.TaskID("x"), asynq.Queue(queue), asynq.Retention(time.Hour))
		return err
	}
	if err := errors.Join(put("a"), put("b")); err != nil {
		t.Errorf("the same id in two queues: %v", err)
	}
	if err := put("a"); !errors.Is(err, asynq.ErrTaskIDConflict) {
		t.Errorf("pending: got %v, want a conflict", err)
	}
	asynqServer(t, rdb, asynq.Config{Queues: map[string]int{"a": 1}},
		func(context.Context, *asynq.Task) error { return nil })
	sandboxtest.Eventually(t, "it is completed", func() bool {
		return info(t, rdb, "a",
			"x").State == asynq.TaskStateCompleted
	})
	if err := put("a"); !errors.Is(err, asynq.ErrTaskIDConflict) {
		t.Errorf("completed: got %v, want a conflict", err)
	}
}

// Hangs on it: maxRetry is far above the ledger's budget, because the last attempt is archived even if it is no
// failure.
func TestContractLastAttemptIsArchivedEvenIfNotAFailure(t *testing.T) {
	t.Parallel()
	rdb := newRedis(t)
	client := asynq.NewClientFromRedisClient(rdb)
	for id, retries := range map[string]int{"last": 0, "more": 1} {
		if _, err := client.Enqueue(asynq.NewTask("t", nil), asynq.TaskID(id), asynq.MaxRetry(retries)); err != nil {
			t.Fatal(err)
		}
	}
	asynqServer(t, rdb, asynq.Config{
		IsFailure:      func(error) bool { return false },
		RetryDelayFunc: func(int, error, *asynq.Task) time.Duration { return time.Hour },
	}, func(context.Context, *asynq.Task) error { return errors.New("not a failure") })
	sandboxtest.Eventually(t, "both were tried", func() bool {
		return info(t, rdb, "default", "last").State == asynq.TaskStateArchived &&
			info(t, rdb, "default", "more").State == asynq.TaskStateRetry
	})
	if got := info(t, rdb, "default", "more").Retried; got != 0 {
		t.Errorf("got %d retries counted, want 0", got)
	}
}

// Hangs on it: failed requests end in the ledger, and a handler returns nil for them; the archive would lose them. All
// but the newest tasks of the archive are put there by a script: how long it takes to fail ten thousand depends on the
// machine.
func TestContractTheArchiveKeeps9999AndDropsTheRest(t *testing.T) {
	t.Parallel()
	const tasks, kept = 60, 9_999
	rdb := newRedis(t)
	err := rdb.Eval(t.Context(), `for i = 1, tonumber(ARGV[1]) do
			redis.call("ZADD", KEYS[1], ARGV[2], "old" .. i)
			redis.call("HSET", "asynq:{default}:t:old" .. i, "msg", "x", "state", "archived")
		end return 1`, []string{"asynq:{default}:archived"}, kept, time.Now().Unix()-60).Err()
	if err != nil {
		t.Fatal(err)
	}
	client := asynq.NewClientFromRedisClient(rdb)
	for range tasks {
		if _, err := client.Enqueue(asynq.NewTask("t", nil)); err != nil {
			t.Fatal(err)
		}
	}
	failed := make(chan struct{}, tasks)
	asynqServer(t, rdb, asynq.Config{Concurrency: 4}, func(context.Context, *asynq.Task) error {
		failed <- struct{}{}
		return asynq.SkipRetry
	})
	for range tasks {
		sandboxtest.Receive(t, "every task has been tried", failed)
	}
	inspector := asynq.NewInspectorFromRedisClient(rdb)
	var q *asynq.QueueInfo
	sandboxtest.Eventually(t, "the last ones have been counted", func() bool {
		q, err = inspector.GetQueueInfo("default")
		return err == nil && q.Failed == tasks
	})
	if q.Archived != kept || q.Size != kept {
		t.Errorf("got %+v; want %d archived and nothing else", q, kept)
	}
	halfway := strconv.FormatInt(time.Now().Unix()-30, 10)
	if left := rdb.ZCount(t.Context(), "asynq:{default}:archived", "-inf", halfway).Val(); left != kept-tasks {
		t.Errorf("got %d of the old ones left, want %d: the oldest go", left, kept-tasks)
	}
}

// Hangs on it: every call below the handler takes the context, so that a deaf copy cannot go on deleting.
func TestContractATimedOutHandlerIsAbandonedNotStopped(t *testing.T) {
	t.Parallel()
	rdb := newRedis(t)
	release := make(chan struct{})
	runs := make(chan struct{}, 10)
	if _, err := asynq.NewClientFromRedisClient(rdb).Enqueue(asynq.NewTask("t", nil), asynq.TaskID("x"),
		asynq.Timeout(time.Second)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { close(release) })
	asynqServer(t, rdb, asynq.Config{
		Concurrency: 1, RetryDelayFunc: func(int, error, *asynq.Task) time.Duration { return 0 },
	}, func(context.Context, *asynq.Task) error {
		runs <- struct{}{}
		<-release // deaf to its context
		return nil
	})
	sandboxtest.Receive(t, "it runs", runs)
	sandboxtest.Receive(t, "a second copy runs, while the first still does", runs)
}

// Hangs on it: lockstep. With any other command all would still be right, but each task would take a round trip.
func TestContractATaskIsAskedForWithTheseCommands(t *testing.T) {
	t.Parallel()
	rdb, w := watch(t, newRedis(t))
	enqueue(t, rdb, tasksOf(1, 500, 0)...)
	w.expect(t, 1, 2) // EVALSHA; EVAL where Redis does not know the script
	enqueue(t, rdb, tasksOf(1, 500, 0)...)
	w.expect(t, 1, 5) // the same, SISMEMBER, and EVALSHA or EVAL of the state
}
