package inspect_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/hibiken/asynq"

	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/queue"
	"github.com/certpurge/certpurge/internal/queue/inspect"
	"github.com/certpurge/certpurge/internal/sandbox/sandboxtest"
)

func TestKeeperFindsWhatIsMissing(t *testing.T) {
	t.Parallel()
	rdb := newRedis(t)
	keeper := inspect.NewKeeper(rdb, taskSettings)
	open := []purge.OpenRequest{
		{Request: 1, User: 41, Source: purge.SourceCLI},
		{Request: 2, User: 42, Source: purge.SourceBackfill},
		{Request: 3, User: 43, Source: purge.SourceAPI},
		{Request: 4, Certificate: 7, Source: purge.SourceOrphans},
	}
	enqueue(t, rdb, purge.Task{Request: 1, User: 41})
	missing, err := keeper.Missing(t.Context(), open)
	if err != nil || len(missing) != 3 || missing[0].Request != 2 || missing[1].Request != 3 || missing[2].Request != 4 {
		t.Fatalf("got %v, %v; want requests 2, 3 and 4", missing, err)
	}
	if err := keeper.Restore(t.Context(), missing); err != nil {
		t.Fatal(err)
	}
	depths, err := inspect.Depths(t.Context(), rdb)
	if err != nil || depths[0].Pending != 2 || depths[1].Pending != 2 {
		t.Errorf("got %+v, %v; want two live tasks, one of the backfill and one of orphans beside it", depths, err)
	}
	if pending, err := keeper.Pending(t.Context()); err != nil || pending != 4 {
		t.Errorf("got %d pending, %v; want 4", pending, err)
	}
	if missing, err := keeper.Missing(t.Context(), open); err != nil || len(missing) != 0 {
		t.Errorf("got %v, %v; want nothing missing", missing, err)
	}
}

// TestALostListIsMended loses the lists and keeps the tasks' hashes, as an eviction may.
func TestALostListIsMended(t *testing.T) {
	t.Parallel()
	for _, lost := range []string{"asynq:{purge}:pending", "asynq:{purge}:retry"} {
		t.Run(lost, func(t *testing.T) {
			t.Parallel()
			rdb := newRedis(t)
			enqueue(t, rdb, task42)
			if strings.HasSuffix(lost, "retry") {
				cfg := fastServer
				cfg.RetryBase, cfg.RetryCap = time.Hour, time.Hour
				stop := serve(t, rdb, cfg, quiet, purgerFunc(func(context.Context, purge.Task) (purge.Result, error) {
					return purge.Result{}, &purge.Error{Class: purge.Throttled}
				}))
				sandboxtest.Eventually(t, "it waits for its retry", func() bool { return depth(t, rdb).Retry == 1 })
				stop()
			}
			if err := rdb.Del(t.Context(), lost).Err(); err != nil {
				t.Fatal(err)
			}
			keeper := inspect.NewKeeper(rdb, taskSettings)
			open := []purge.OpenRequest{{Request: task42.Request, User: task42.User, Source: purge.SourceCLI}}
			if cleaned, err := keeper.Clean(t.Context()); err != nil || cleaned != 1 {
				t.Errorf("got %d cleaned, %v; want 1", cleaned, err)
			}
			missing, err := keeper.Missing(t.Context(), open)
			if err != nil || len(missing) != 1 {
				t.Fatalf("got %v, %v; want the request", missing, err)
			}
			if err := keeper.Restore(t.Context(), missing); err != nil {
				t.Fatal(err)
			}
			if got := depth(t, rdb); got.Pending != 1 {
				t.Errorf("got %+v, want the task pending", got)
			}
		})
	}
}

func TestKeeperTakesNoTaskWithoutMessageForATask(t *testing.T) {
	t.Parallel()
	rdb := newRedis(t)
	keeper := inspect.NewKeeper(rdb, taskSettings)
	enqueue(t, rdb, task42)
	if err := rdb.HDel(t.Context(), "asynq:{purge}:t:purge:42", "msg").Err(); err != nil {
		t.Fatal(err)
	}
	missing, err := keeper.Missing(t.Context(), []purge.OpenRequest{{Request: task42.Request, User: task42.User}})
	if err != nil || len(missing) != 1 {
		t.Errorf("got %v, %v; want the request, whose task has no message", missing, err)
	}
	if err := rdb.Del(t.Context(), "asynq:{purge}:t:purge:42").Err(); err != nil {
		t.Fatal(err)
	}
	if pending, err := keeper.Pending(t.Context()); err != nil || pending != 1 {
		t.Errorf("got %d pending, %v; want the id that is left, and no error", pending, err)
	}
}

// TestKeeperEmptiesTheArchive also pins asynq's names of keys and states, which Missing reads.
func TestKeeperEmptiesTheArchive(t *testing.T) {
	t.Parallel()
	const tasks = 250
	rdb := newRedis(t)
	keeper := inspect.NewKeeper(rdb, taskSettings)
	stop := serve(t, rdb, fastServer, quiet, purgerFunc(func(_ context.Context, task purge.Task) (purge.Result, error) {
		if task.User == 1 {
			return purge.Result{State: purge.Queued}, &purge.Error{Class: purge.Retained, Until: time.Now().Add(time.Hour)}
		}
		return purge.Result{}, purge.ErrUnknownRequest
	}))
	var open []purge.OpenRequest
	for n := range tasks {
		open = append(open, purge.OpenRequest{
			Request: purge.RequestID(n + 1), User: purge.UserID(n + 1),
			Source: purge.SourceCLI,
		})
	}
	if err := keeper.Restore(t.Context(), open); err != nil {
		t.Fatal(err)
	}
	sandboxtest.Eventually(t, "all but one are archived",
		func() bool { d := depth(t, rdb); return d.Archived == tasks-1 && d.Retry == 1 })
	stop()
	missing, err := keeper.Missing(t.Context(), open)
	if err != nil || len(missing) != tasks-1 {
		t.Errorf("got %d missing, %v; want the archived ones and not the one that waits", len(missing), err)
	}
	if dropped, err := keeper.EmptyArchive(t.Context()); err != nil || dropped != tasks-1 {
		t.Errorf("got %d dropped, %v; want %d", dropped, err, tasks-1)
	}
	if got := depth(t, rdb); got.Archived != 0 || got.Retry != 1 {
		t.Errorf("got %+v, want an empty archive", got)
	}
}

// TestKeeperLeavesOtherApplicationsAlone has other applications keep dead letters and broken tasks in the same Redis.
func TestKeeperLeavesOtherApplicationsAlone(t *testing.T) {
	t.Parallel()
	rdb := newRedis(t)
	client, inspector := asynq.NewClientFromRedisClient(rdb), asynq.NewInspectorFromRedisClient(rdb)
	for _, name := range []string{"other", queue.Live} {
		if _, err := client.Enqueue(asynq.NewTask("t", nil), asynq.Queue(name)); err != nil {
			t.Fatal(err)
		}
		if n, err := inspector.ArchiveAllPendingTasks(name); err != nil || n != 1 {
			t.Fatalf("%s: archived %d, %v", name, n, err)
		}
	}
	broken := []string{"asynq:{other}:t:x", "asynq:{purge2}:t:purge:1", "asynq:{x}:t:asynq:{purge}:t:purge:1"}
	for _, key := range broken { // tasks in no list, of other applications
		if err := rdb.HSet(t.Context(), key, "msg", "x", "state", "pending").Err(); err != nil {
			t.Fatal(err)
		}
	}
	if dropped, err := inspect.NewKeeper(rdb, taskSettings).Clean(t.Context()); err != nil || dropped != 1 {
		t.Errorf("got %d dropped, %v; want ours", dropped, err)
	}
	if n := rdb.Exists(t.Context(), broken...).Val(); n != int64(len(broken)) {
		t.Errorf("got %d of the other applications' broken tasks, want all %d", n, len(broken))
	}
	if q, err := inspector.GetQueueInfo("other"); err != nil || q.Archived != 1 {
		t.Errorf("got %+v, %v; want the other application's task", q, err)
	}
}
