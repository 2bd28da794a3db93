package inspect_test

import (
	"context"
	"errors"
	"os"
	"slices"
	"testing"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"github.com/certpurge/certpurge/internal/config"
	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/queue"
	"github.com/certpurge/certpurge/internal/queue/inspect"
	"github.com/certpurge/certpurge/internal/queue/queuetest"
	"github.com/certpurge/certpurge/internal/sandbox/sandboxtest"
)

func TestMain(m *testing.M) { os.Exit(sandboxtest.Main(m)) }

var (
	open         = queuetest.Open
	asynqServer  = queuetest.AsynqServer
	newRedis     = queuetest.NewRedis
	taskSettings = queuetest.TaskSettings
	task42       = queuetest.Task42
	enqueue      = queuetest.Enqueue
	depth        = queuetest.Depth
	serve        = queuetest.Serve
	fastServer   = queuetest.FastServer
	quiet        = queuetest.Quiet
)

type purgerFunc = queuetest.PurgerFunc

type ward = queuetest.Ward

func faults(t *testing.T, rdb redis.UniversalClient) []inspect.Fault {
	t.Helper()
	found, err := inspect.Faults(t.Context(), rdb)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func drop(t *testing.T, rdb redis.UniversalClient, f inspect.Fault) {
	t.Helper()
	if err := f.Drop(t.Context(), rdb); err != nil {
		t.Fatal(err)
	}
}

func TestEachFaultIsFoundAndDropped(t *testing.T) {
	t.Parallel()
	const id = "purge:42"
	for name, tc := range map[string]struct {
		user  purge.UserID
		spoil func(w ward)
		want  inspect.Kind
	}{
		"nothing is wrong": {spoil: func(ward) {}},
		"a pending task falls off its list": {
			5, func(w ward) { w.Do("LREM", w.Key("pending"), 0, "purge:5") },
			inspect.Unlisted,
		},
		"an archived one falls off":  {2, func(w ward) { w.Do("ZREM", w.Key("archived"), "purge:2") }, inspect.Unlisted},
		"a completed one falls off":  {1, func(w ward) { w.Do("ZREM", w.Key("completed"), "purge:1") }, inspect.Unlisted},
		"one that retries falls off": {3, func(w ward) { w.Do("ZREM", w.Key("retry"), "purge:3") }, inspect.Unlisted},
		"a follow-up falls off": {
			42, func(w ward) { w.Do("ZREM", w.Key("scheduled"), "purge:42:18") },
			inspect.Unlisted,
		},
		"an active one falls off": {42, func(w ward) {
			w.Do("LREM", w.Key("active"), 0, id)
			w.Do("ZREM", w.Key("lease"), id)
		}, inspect.Unlisted},
		"the lease is evicted":           {42, func(w ward) { w.Do("DEL", w.Key("lease")) }, inspect.NoLease},
		"a pending hash is evicted":      {5, func(w ward) { w.Do("DEL", w.Key("t:purge:5")) }, inspect.NoTask},
		"a hash that retries is evicted": {3, func(w ward) { w.Do("DEL", w.Key("t:purge:3")) }, inspect.NoTask},
		"a scheduled hash is evicted":    {42, func(w ward) { w.Do("DEL", w.Key("t:purge:42:18")) }, inspect.NoTask},
		"an archived hash is evicted":    {2, func(w ward) { w.Do("DEL", w.Key("t:purge:2")) }, inspect.NoTask},
		"a completed hash is evicted":    {1, func(w ward) { w.Do("DEL", w.Key("t:purge:1")) }, inspect.NoTask},
		"an active hash is evicted":      {42, func(w ward) { w.Do("DEL", w.Key("t:"+id)) }, inspect.NoTask},
		"a lease is left of an active one": {42, func(w ward) {
			w.Do("LREM", w.Key("active"), 0, id)
			w.Do("DEL",
				w.Key("t:"+id))
		}, inspect.NoTask},
		"a hash loses its message": {42, func(w ward) { w.Do("HDEL", w.Key("t:"+id), "msg") }, inspect.NoMessage},
		"a task is a text":         {76, func(w ward) { w.Set("t:purge:76") }, inspect.NoMessage},
		"a listed task is a text": {
			5, func(w ward) { w.Do("DEL", w.Key("t:purge:5")); w.Set("t:purge:5") },
			inspect.NoMessage,
		},
		"a rest of one certificate": {
			78, func(w ward) { w.Do("HSET", w.Key("t:purge:78:c9"), "result", "x") },
			inspect.NoMessage,
		},
		"a rest of its follow-up": {
			79, func(w ward) { w.Do("HSET", w.Key("t:purge:79:c9:5"), "result", "x") },
			inspect.NoMessage,
		},
		"a rest in no list": {77, func(w ward) { w.Do("HSET", w.Key("t:purge:77"), "result", "x") }, inspect.NoMessage},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := ward{T: t, Redis: newRedis(t)}
			defer w.Fill()()
			tc.spoil(w)
			found := faults(t, w.Redis)
			if tc.want == "" {
				if len(found) != 0 {
					t.Errorf("got %+v, want nothing", found)
				}
				return
			}
			if len(found) != 1 || found[0].Kind != tc.want || found[0].Queue != queue.Live || len(found[0].IDs) != 1 ||
				found[0].More {
				t.Fatalf("got %+v, want one %s", found, tc.want)
			}
			if users, foreign := found[0].Users(); !slices.Equal(users, []purge.UserID{tc.user}) || foreign != 0 {
				t.Errorf("got users %v and %d foreign ids, want %d", users, foreign, tc.user)
			}
			for range 2 { // it may be repeated
				drop(t, w.Redis, found[0])
				if found := faults(t, w.Redis); len(found) != 0 {
					t.Errorf("afterwards: got %+v, want nothing", found)
				}
			}
			if err := inspect.Statistics(w.Redis); err != nil {
				t.Errorf("asynq's statistics fail: %v", err)
			}
		})
	}
}

// TestATaskAtWorkMayBeDropped drops a task that a worker has taken since it was found. The worker goes on, and the
// reconciler makes a new task: it may happen twice, but not never.
func TestATaskAtWorkMayBeDropped(t *testing.T) {
	t.Parallel()
	w := ward{T: t, Redis: newRedis(t)}
	release := w.Fill()
	drop(t, w.Redis, inspect.Fault{Kind: inspect.NoLease, Queue: queue.Live, IDs: []string{"purge:42"}})
	keeper := inspect.NewKeeper(w.Redis, taskSettings)
	open := []purge.OpenRequest{{Request: task42.Request, User: 42}, {Request: 5, User: 5}}
	missing, err := keeper.Missing(t.Context(), open)
	if err != nil || !slices.Equal(missing, open[:1]) {
		t.Fatalf("got %+v, %v; want the request of the dropped task", missing, err)
	}
	if err := keeper.Restore(t.Context(), missing); err != nil {
		t.Fatal(err)
	}
	if got := depth(t, w.Redis); got.Pending != 2 {
		t.Errorf("got %+v, want the new task beside the other one", got)
	}
	release()
	sandboxtest.Eventually(t, "all have run", func() bool { return depth(t, w.Redis).Completed == 4 })
	if found := faults(t, w.Redis); len(found) != 0 {
		t.Errorf("got %+v", found)
	}
}

// TestFaultsAreFoundAmongManyTasks has more tasks and faults than any page holds, and a stranger's id among them.
func TestFaultsAreFoundAmongManyTasks(t *testing.T) {
	t.Parallel()
	const tasks, unlisted = 2500, 300
	rdb := newRedis(t)
	for n := range tasks {
		enqueue(t, rdb, purge.Task{Request: purge.RequestID(n + 1), User: purge.UserID(n + 1)})
	}
	w := ward{T: t, Redis: rdb}
	w.Do("RPUSH", w.Key("pending"), "purge:1000000") // without a task, on the last page
	for range unlisted {
		if err := rdb.LPop(t.Context(), w.Key("pending")).Err(); err != nil {
			t.Fatal(err)
		}
	}
	w.Do("HSET", w.Key("t:purge:alice@example.org"), "msg", "x", "state", "pending")
	found := faults(t, rdb)
	if len(found) != 2 || len(found[0].IDs) != unlisted+1 || found[1].Kind != inspect.NoTask || len(found[1].IDs) != 1 {
		t.Fatalf("got %d kinds, want %d unlisted tasks and an ID without a task", len(found), unlisted+1)
	}
	if users, foreign := found[0].Users(); len(users) != unlisted || foreign != 1 || users[0] != tasks-unlisted+1 {
		t.Errorf("got %d users, %d foreign ids", len(users), foreign)
	}
	drop(t, rdb, found[1])
	drop(t, rdb, found[0])
	if got := depth(t, rdb); got.Pending != tasks-unlisted || len(faults(t, rdb)) != 0 {
		t.Errorf("got %+v, want the others untouched", got)
	}
}

// Hangs on it: NoMessage. An id whose hash was evicted is dequeued: asynq makes a hash of one field, and no handler
// runs.
func TestContractDequeuingAnEvictedTaskLeavesNoMessage(t *testing.T) {
	t.Parallel()
	rdb := newRedis(t)
	enqueue(t, rdb, task42)
	w := ward{T: t, Redis: rdb}
	w.Do("DEL", w.Key("t:purge:42"))
	stop := serve(t, rdb, fastServer, quiet, purgerFunc(func(context.Context, purge.Task) (purge.Result, error) {
		t.Error("reached the purge")
		return purge.Result{}, nil
	}))
	sandboxtest.Eventually(t, "it is dequeued", func() bool { return rdb.LLen(t.Context(), w.Key("active")).Val() == 1 })
	stop()
	if found := faults(t, rdb); len(found) != 1 || found[0].Kind != inspect.NoMessage {
		t.Errorf("got %+v, want a task without a message", found)
	}
}

// Hangs on it: Unlisted. asynq's inspector leaves the hashes of archived tasks that it trims.
func TestContractTheInspectorLeavesUnlistedTasks(t *testing.T) {
	t.Parallel()
	const tasks, kept = 10_050, 9_999
	rdb := newRedis(t)
	client := asynq.NewClientFromRedisClient(rdb)
	for n := range tasks {
		if _, err := client.Enqueue(asynq.NewTask("t", nil), asynq.Queue(queue.Live),
			asynq.TaskID(queue.TaskID(purge.Task{User: purge.UserID(n + 1)}))); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := asynq.NewInspectorFromRedisClient(rdb).ArchiveAllPendingTasks(queue.Live); err != nil {
		t.Fatal(err)
	}
	found := faults(t, rdb)
	if len(found) != 1 || found[0].Kind != inspect.Unlisted || len(found[0].IDs) != tasks-kept {
		t.Fatalf("got %+v, want %d unlisted tasks", found, tasks-kept)
	}
	users, _ := found[0].Users()
	if err := queue.NewClient(rdb, queue.Live, taskSettings).Enqueue(t.Context(),
		[]purge.Task{{Request: 1, User: users[0]}}); err == nil {
		t.Error("the user of an unlisted task could be enqueued before it was dropped")
	}
	drop(t, rdb, found[0])
	enqueue(t, rdb, purge.Task{Request: 1, User: users[0]})
}

func TestAQueueThatAsynqDoesNotListIsRegistered(t *testing.T) {
	t.Parallel()
	w := ward{T: t, Redis: newRedis(t)}
	check := func(what string, want ...string) {
		t.Helper()
		if got, err := inspect.Unregistered(t.Context(), w.Redis); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: got %q, %v; want %q", what, got, err, want)
		}
	}
	check("never used")
	defer w.Fill()()
	if err := asynq.NewInspectorFromRedisClient(w.Redis).PauseQueue(queue.Live); err != nil {
		t.Fatal(err)
	}
	want := inspect.Depth{
		Queue: queue.Live, Pending: 1, Active: 1, Retry: 1, Scheduled: 1, Completed: 1, Archived: 1, Paused: true,
	}
	if got := depth(t, w.Redis); got != want || got.Size() != 6 {
		t.Errorf("got %+v, want %+v", got, want)
	}
	check("in use")
	w.Do("SREM", "asynq:queues", queue.Live)
	check("unregistered", queue.Live)
	if err := errors.Join(inspect.Register(t.Context(), w.Redis, queue.Live),
		inspect.Register(t.Context(), w.Redis, queue.Live)); err != nil {
		t.Fatal(err)
	}
	check("registered")
	if known, err := asynq.NewInspectorFromRedisClient(w.Redis).Queues(); err != nil ||
		!slices.Contains(known, queue.Live) {
		t.Errorf("asynq knows %v, %v", known, err)
	}
}

func TestUsersWhoseTasksWait(t *testing.T) {
	t.Parallel()
	w := ward{T: t, Redis: newRedis(t)}
	defer w.Fill()()
	var users []purge.UserID
	for page, err := range inspect.WaitingUsers(t.Context(), w.Redis) {
		if err != nil {
			t.Fatal(err)
		}
		users = append(users, page...)
	}
	slices.Sort(users)
	if want := []purge.UserID{3, 5, 42}; !slices.Equal(users, want) {
		t.Errorf("got %v, want %v: retry, pending, follow-up", users, want)
	}
}

func TestVersionsOfRedis(t *testing.T) {
	t.Parallel()
	if version := inspect.Version(t.Context(), newRedis(t)); version == "" || inspect.OldVersion(version) {
		t.Errorf("got version %q, want one that is new enough", version)
	}
	for version, want := range map[string]bool{
		"": false, "odd": false, "5.0.7": true, "6.0.16": true, "6.2.0": false,
		"6.10": false, "7.0.15": false, "10.1": false,
	} {
		if got := inspect.OldVersion(version); got != want {
			t.Errorf("%q: got %v, want %v", version, got, want)
		}
	}
}

func TestTheSearchForFaultsEndsWithItsContextAndItsServer(t *testing.T) {
	t.Parallel()
	servers := sandboxtest.OwnServers(t)
	rdb, err := queue.NewRedis(config.Redis{URL: config.NewSecret(servers.Redis.URL(1))})
	if err != nil {
		t.Fatal(err)
	}
	defer rdb.Close()
	enqueue(t, rdb, task42)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if found, err := inspect.Faults(ctx, rdb); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, %v; want the context's end", found, err)
	}
	servers.Stop()
	if found, err := inspect.Faults(t.Context(), rdb); err == nil {
		t.Errorf("got %v from a server that is away", found)
	}
	if version := inspect.Version(t.Context(), rdb); version != "" {
		t.Errorf("got version %q", version)
	}
	if _, err := inspect.Depths(t.Context(), rdb); err == nil {
		t.Error("read the depths of a server that is away")
	}
}

// TestMissingTakesNoTextForATask: one such key must not stop the reconciler.
func TestMissingTakesNoTextForATask(t *testing.T) {
	t.Parallel()
	w := ward{T: t, Redis: newRedis(t)}
	w.Set("t:purge:42")
	missing, err := inspect.NewKeeper(w.Redis, taskSettings).Missing(t.Context(),
		[]purge.OpenRequest{{Request: 17, User: 42}, {Request: 18, User: 43}})
	if err != nil || len(missing) != 2 {
		t.Errorf("got %+v, %v", missing, err)
	}
}
