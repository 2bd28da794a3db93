package queue_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/queue"
	"github.com/certpurge/certpurge/internal/sandbox/sandboxtest"
)

func faults(t *testing.T, rdb redis.UniversalClient) []queue.Fault {
	t.Helper()
	found, err := queue.Faults(t.Context(), rdb)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func drop(t *testing.T, rdb redis.UniversalClient, f queue.Fault) {
	t.Helper()
	if err := f.Drop(t.Context(), rdb); err != nil {
		t.Fatal(err)
	}
}

// ward is a queue with a task of user 42 in the state that a test names, and healthy neighbours.
type ward struct {
	t   *testing.T
	rdb redis.UniversalClient
}

func (w ward) key(name string) string { return "asynq:{purge}:" + name }

func (w ward) do(args ...any) {
	w.t.Helper()
	if n, err := w.rdb.Do(w.t.Context(), args...).Int(); err != nil || n < 1 {
		w.t.Fatalf("%v: got %d, %v; the key is not where asynq keeps it", args, n, err)
	}
}

// set puts a text where something else belongs.
func (w ward) set(name string) {
	w.t.Helper()
	if err := w.rdb.Set(w.t.Context(), w.key(name), "text", 0).Err(); err != nil {
		w.t.Fatal(err)
	}
}

// fill puts tasks into every state by asynq's own hand: user 1 completed, 2 archived, 3 waiting for a retry, 4
// scheduled as a follow-up of 42, 42 active, 5 pending.
func (w ward) fill() (release func()) {
	w.t.Helper()
	started, hold := make(chan struct{}, 10), make(chan struct{})
	cfg := fastServer
	cfg.Backoff = queue.Backoff{Base: time.Hour, Cap: time.Hour, Now: time.Now}
	cfg.Concurrency = 1
	serve(w.t, w.rdb, cfg, quiet, purgerFunc(func(_ context.Context, task purge.Task) (purge.Result, error) {
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
		enqueue(w.t, w.rdb, purge.Task{Request: purge.RequestID(user + 1), User: user + 1})
	}
	sandboxtest.Eventually(w.t, "three states are reached", func() bool {
		d := depth(w.t, w.rdb)
		return d.Completed == 1 && d.Archived == 1 && d.Retry == 1
	})
	enqueue(w.t, w.rdb, task42)
	sandboxtest.Receive(w.t, "the task runs", started)
	enqueue(w.t, w.rdb, purge.Task{Request: 18, User: 42}, purge.Task{Request: 5, User: 5})
	return func() { close(hold) }
}

func TestEachFaultIsFoundAndDropped(t *testing.T) {
	t.Parallel()
	const id = "purge:42"
	for name, tc := range map[string]struct {
		user  purge.UserID
		spoil func(w ward)
		want  queue.Kind
	}{
		"nothing is wrong": {spoil: func(ward) {}},
		"a pending task falls off its list": {5, func(w ward) { w.do("LREM", w.key("pending"), 0, "purge:5") },
			queue.Unlisted},
		"an archived one falls off":  {2, func(w ward) { w.do("ZREM", w.key("archived"), "purge:2") }, queue.Unlisted},
		"a completed one falls off":  {1, func(w ward) { w.do("ZREM", w.key("completed"), "purge:1") }, queue.Unlisted},
		"one that retries falls off": {3, func(w ward) { w.do("ZREM", w.key("retry"), "purge:3") }, queue.Unlisted},
		"a follow-up falls off": {
			42, func(w ward) { w.do("ZREM", w.key("scheduled"), "purge:42:18") },
			queue.Unlisted,
		},
		"an active one falls off": {42, func(w ward) {
			w.do("LREM", w.key("active"), 0, id)
			w.do("ZREM", w.key("lease"), id)
		}, queue.Unlisted},
		"the lease is evicted":           {42, func(w ward) { w.do("DEL", w.key("lease")) }, queue.NoLease},
		"a pending hash is evicted":      {5, func(w ward) { w.do("DEL", w.key("t:purge:5")) }, queue.NoTask},
		"a hash that retries is evicted": {3, func(w ward) { w.do("DEL", w.key("t:purge:3")) }, queue.NoTask},
		"a scheduled hash is evicted":    {42, func(w ward) { w.do("DEL", w.key("t:purge:42:18")) }, queue.NoTask},
		"an archived hash is evicted":    {2, func(w ward) { w.do("DEL", w.key("t:purge:2")) }, queue.NoTask},
		"a completed hash is evicted":    {1, func(w ward) { w.do("DEL", w.key("t:purge:1")) }, queue.NoTask},
		"an active hash is evicted":      {42, func(w ward) { w.do("DEL", w.key("t:"+id)) }, queue.NoTask},
		"a lease is left of an active one": {42, func(w ward) {
			w.do("LREM", w.key("active"), 0, id)
			w.do("DEL",
				w.key("t:"+id))
		}, queue.NoTask},
		"a hash loses its message": {42, func(w ward) { w.do("HDEL", w.key("t:"+id), "msg") }, queue.NoMessage},
		"a task is a text":         {76, func(w ward) { w.set("t:purge:76") }, queue.NoMessage},
		"a listed task is a text": {5, func(w ward) { w.do("DEL", w.key("t:purge:5")); w.set("t:purge:5") },
			queue.NoMessage},
		"a rest of one certificate": {78, func(w ward) { w.do("HSET", w.key("t:purge:78:c9"), "result", "x") },
			queue.NoMessage},
		"a rest of its follow-up": {
			79, func(w ward) { w.do("HSET", w.key("t:purge:79:c9:5"), "result", "x") },
			queue.NoMessage,
		},
		"a rest in no list": {77, func(w ward) { w.do("HSET", w.key("t:purge:77"), "result", "x") }, queue.NoMessage},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := ward{t, newRedis(t)}
			defer w.fill()()
			tc.spoil(w)
			found := faults(t, w.rdb)
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
				drop(t, w.rdb, found[0])
				if found := faults(t, w.rdb); len(found) != 0 {
					t.Errorf("afterwards: got %+v, want nothing", found)
				}
			}
			if err := queue.Statistics(w.rdb); err != nil {
				t.Errorf("asynq's statistics fail: %v", err)
			}
		})
	}
}

// TestATaskAtWorkMayBeDropped drops a task that a worker has taken since it was found. The worker goes on, and the
// reconciler makes a new task: it may happen twice, but not never.
func TestATaskAtWorkMayBeDropped(t *testing.T) {
	t.Parallel()
	w := ward{t, newRedis(t)}
	release := w.fill()
	drop(t, w.rdb, queue.Fault{Kind: queue.NoLease, Queue: queue.Live, IDs: []string{"purge:42"}})
	keeper := queue.NewKeeper(w.rdb, clientConfig)
	open := []purge.OpenRequest{{Request: task42.Request, User: 42}, {Request: 5, User: 5}}
	missing, err := keeper.Missing(t.Context(), open)
	if err != nil || !slices.Equal(missing, open[:1]) {
		t.Fatalf("got %+v, %v; want the request of the dropped task", missing, err)
	}
	if err := keeper.Restore(t.Context(), missing); err != nil {
		t.Fatal(err)
	}
	if got := depth(t, w.rdb); got.Pending != 2 {
		t.Errorf("got %+v, want the new task beside the other one", got)
	}
	release()
	sandboxtest.Eventually(t, "all have run", func() bool { return depth(t, w.rdb).Completed == 4 })
	if found := faults(t, w.rdb); len(found) != 0 {
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
	w := ward{t, rdb}
	w.do("RPUSH", w.key("pending"), "purge:1000000") // without a task, on the last page
	for range unlisted {
		if err := rdb.LPop(t.Context(), w.key("pending")).Err(); err != nil {
			t.Fatal(err)
		}
	}
	w.do("HSET", w.key("t:purge:alice@example.org"), "msg", "x", "state", "pending")
	found := faults(t, rdb)
	if len(found) != 2 || len(found[0].IDs) != unlisted+1 || found[1].Kind != queue.NoTask || len(found[1].IDs) != 1 {
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
	w := ward{t, rdb}
	w.do("DEL", w.key("t:purge:42"))
	stop := serve(t, rdb, fastServer, quiet, purgerFunc(func(context.Context, purge.Task) (purge.Result, error) {
		t.Error("reached the purge")
		return purge.Result{}, nil
	}))
	sandboxtest.Eventually(t, "it is dequeued", func() bool { return rdb.LLen(t.Context(), w.key("active")).Val() == 1 })
	stop()
	if found := faults(t, rdb); len(found) != 1 || found[0].Kind != queue.NoMessage {
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
	if len(found) != 1 || found[0].Kind != queue.Unlisted || len(found[0].IDs) != tasks-kept {
		t.Fatalf("got %+v, want %d unlisted tasks", found, tasks-kept)
	}
	users, _ := found[0].Users()
	if err := queue.NewClient(rdb, clientConfig).Enqueue(t.Context(),
		[]purge.Task{{Request: 1, User: users[0]}}); err == nil {
		t.Error("the user of an unlisted task could be enqueued before it was dropped")
	}
	drop(t, rdb, found[0])
	enqueue(t, rdb, purge.Task{Request: 1, User: users[0]})
}

func TestAQueueThatAsynqDoesNotListIsRegistered(t *testing.T) {
	t.Parallel()
	w := ward{t, newRedis(t)}
	check := func(what string, want ...string) {
		t.Helper()
		if got, err := queue.Unregistered(t.Context(), w.rdb); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: got %q, %v; want %q", what, got, err, want)
		}
	}
	check("never used")
	defer w.fill()()
	if err := asynq.NewInspectorFromRedisClient(w.rdb).PauseQueue(queue.Live); err != nil {
		t.Fatal(err)
	}
	want := queue.Depth{
		Queue: queue.Live, Pending: 1, Active: 1, Retry: 1, Scheduled: 1, Completed: 1, Archived: 1, Paused: true,
	}
	if got := depth(t, w.rdb); got != want || got.Size() != 6 {
		t.Errorf("got %+v, want %+v", got, want)
	}
	check("in use")
	w.do("SREM", "asynq:queues", queue.Live)
	check("unregistered", queue.Live)
	if err := errors.Join(queue.Register(t.Context(), w.rdb, queue.Live),
		queue.Register(t.Context(), w.rdb, queue.Live)); err != nil {
		t.Fatal(err)
	}
	check("registered")
	if known, err := asynq.NewInspectorFromRedisClient(w.rdb).Queues(); err != nil || !slices.Contains(known, queue.Live) {
		t.Errorf("asynq knows %v, %v", known, err)
	}
}

func TestUsersWhoseTasksWait(t *testing.T) {
	t.Parallel()
	w := ward{t, newRedis(t)}
	defer w.fill()()
	var users []purge.UserID
	for page, err := range queue.WaitingUsers(t.Context(), w.rdb) {
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
	if version := queue.Version(t.Context(), newRedis(t)); version == "" || queue.OldVersion(version) {
		t.Errorf("got version %q, want one that is new enough", version)
	}
	for version, want := range map[string]bool{
		"": false, "odd": false, "5.0.7": true, "6.0.16": true, "6.2.0": false,
		"6.10": false, "7.0.15": false, "10.1": false,
	} {
		if got := queue.OldVersion(version); got != want {
			t.Errorf("%q: got %v, want %v", version, got, want)
		}
	}
}

func TestTheSearchForFaultsEndsWithItsContextAndItsServer(t *testing.T) {
	t.Parallel()
	servers := sandboxtest.OwnServers(t)
	rdb, err := queue.NewRedis(servers.Redis.URL(1))
	if err != nil {
		t.Fatal(err)
	}
	defer rdb.Close()
	enqueue(t, rdb, task42)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if found, err := queue.Faults(ctx, rdb); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, %v; want the context's end", found, err)
	}
	servers.Stop()
	if found, err := queue.Faults(t.Context(), rdb); err == nil {
		t.Errorf("got %v from a server that is away", found)
	}
	if version := queue.Version(t.Context(), rdb); version != "" {
		t.Errorf("got version %q", version)
	}
	if _, err := queue.Depths(t.Context(), rdb); err == nil {
		t.Error("read the depths of a server that is away")
	}
}

// TestMissingTakesNoTextForATask: one such key must not stop the reconciler.
func TestMissingTakesNoTextForATask(t *testing.T) {
	t.Parallel()
	w := ward{t, newRedis(t)}
	w.set("t:purge:42")
	missing, err := queue.NewKeeper(w.rdb, clientConfig).Missing(t.Context(),
		[]purge.OpenRequest{{Request: 17, User: 42}, {Request: 18, User: 43}})
	if err != nil || len(missing) != 2 {
		t.Errorf("got %+v, %v", missing, err)
	}
}
