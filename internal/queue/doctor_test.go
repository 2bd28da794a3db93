package queue_test

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"github.com/certpurge/certpurge/internal/config"
	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/queue"
	"github.com/certpurge/certpurge/internal/sandbox/sandboxtest"
)

// atOnce looks a second time without a pause.
func atOnce(ctx context.Context) error { return ctx.Err() }

func examine(t *testing.T, d *queue.Doctor) []queue.Broken {
	t.Helper()
	found, err := d.Examine(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return found
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
	cfg.RetryBase, cfg.RetryCap = time.Hour, time.Hour
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

func TestDoctorFindsAndMendsEachAilment(t *testing.T) {
	t.Parallel()
	const id = "purge:42"
	for name, tc := range map[string]struct {
		user  purge.UserID
		spoil func(w ward)
		want  queue.Ailment
	}{
		"nothing is wrong":                  {spoil: func(ward) {}},
		"a pending task falls off its list": {5, func(w ward) { w.do("LREM", w.key("pending"), 0, "purge:5") }, queue.Orphan},
		"an archived one falls off":         {2, func(w ward) { w.do("ZREM", w.key("archived"), "purge:2") }, queue.Orphan},
		"a completed one falls off":         {1, func(w ward) { w.do("ZREM", w.key("completed"), "purge:1") }, queue.Orphan},
		"one that retries falls off":        {3, func(w ward) { w.do("ZREM", w.key("retry"), "purge:3") }, queue.Orphan},
		"a follow-up falls off": {
			42, func(w ward) { w.do("ZREM", w.key("scheduled"), "purge:42:18") },
			queue.Orphan,
		},
		"an active one falls off": {42, func(w ward) {
			w.do("LREM", w.key("active"), 0, id)
			w.do("ZREM", w.key("lease"), id)
		}, queue.Orphan},
		"the lease is evicted":           {42, func(w ward) { w.do("DEL", w.key("lease")) }, queue.Leaseless},
		"a pending hash is evicted":      {5, func(w ward) { w.do("DEL", w.key("t:purge:5")) }, queue.Dangling},
		"a hash that retries is evicted": {3, func(w ward) { w.do("DEL", w.key("t:purge:3")) }, queue.Dangling},
		"a scheduled hash is evicted":    {42, func(w ward) { w.do("DEL", w.key("t:purge:42:18")) }, queue.Dangling},
		"an archived hash is evicted":    {2, func(w ward) { w.do("DEL", w.key("t:purge:2")) }, queue.Dangling},
		"a completed hash is evicted":    {1, func(w ward) { w.do("DEL", w.key("t:purge:1")) }, queue.Dangling},
		"an active hash is evicted":      {42, func(w ward) { w.do("DEL", w.key("t:"+id)) }, queue.Dangling},
		"a lease is left of an active one": {42, func(w ward) {
			w.do("LREM", w.key("active"), 0, id)
			w.do("DEL",
				w.key("t:"+id))
		}, queue.Dangling},
		"a hash loses its message":   {42, func(w ward) { w.do("HDEL", w.key("t:"+id), "msg") }, queue.Stump},
		"a task is a text":           {76, func(w ward) { w.set("t:purge:76") }, queue.Stump},
		"a listed task is a text":    {5, func(w ward) { w.do("DEL", w.key("t:purge:5")); w.set("t:purge:5") }, queue.Stump},
		"a stump of one certificate": {78, func(w ward) { w.do("HSET", w.key("t:purge:78:c9"), "result", "x") }, queue.Stump},
		"a stump of its follow-up": {
			79, func(w ward) { w.do("HSET", w.key("t:purge:79:c9:5"), "result", "x") },
			queue.Stump,
		},
		"a stump is in no list": {77, func(w ward) { w.do("HSET", w.key("t:purge:77"), "result", "x") }, queue.Stump},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := ward{t, newRedis(t)}
			defer w.fill()()
			tc.spoil(w)
			d := &queue.Doctor{Redis: w.rdb, Wait: atOnce}
			found := examine(t, d)
			if tc.want == "" {
				if len(found) != 0 {
					t.Errorf("got %+v, want nothing", found)
				}
				return
			}
			if len(found) != 1 || found[0].Ailment != tc.want || found[0].Queue != queue.Live || found[0].Count() != 1 ||
				found[0].More {
				t.Fatalf("got %+v, want one %s", found, tc.want)
			}
			if users, foreign := found[0].Users(); !slices.Equal(users, []purge.UserID{tc.user}) || foreign != 0 {
				t.Errorf("got users %v and %d foreign ids, want %d", users, foreign, tc.user)
			}
			if mended, err := d.Mend(t.Context(), found[0]); err != nil || mended != 1 {
				t.Errorf("got %d mended, %v; want 1", mended, err)
			}
			if found := examine(t, d); len(found) != 0 {
				t.Errorf("after mending: got %+v, want nothing", found)
			}
			if _, err := queue.Depths(w.rdb); err != nil {
				t.Errorf("the dashboard's question fails: %v", err)
			}
			if mended, err := d.Mend(t.Context(), found[0]); err != nil || mended != 0 {
				t.Errorf("again: got %d mended, %v; want 0", mended, err)
			}
		})
	}
}

// TestDoctorLetsHealedTasksAlone heals one task between the two looks, and another between finding and mending.
func TestDoctorLetsHealedTasksAlone(t *testing.T) {
	t.Parallel()
	rdb := newRedis(t)
	enqueue(t, rdb, task42, purge.Task{Request: 5, User: 5}, purge.Task{Request: 6, User: 6})
	w := ward{t, rdb}
	w.do("LREM", w.key("pending"), 0, "purge:42")
	w.do("LREM", w.key("pending"), 0, "purge:6")
	w.do("LREM", w.key("pending"), 0, "purge:5")
	d := &queue.Doctor{Redis: rdb, Wait: func(ctx context.Context) error {
		w.do("HDEL", w.key("t:purge:6"), "msg") //nolint:contextcheck // by somebody else: not healed, but on the move
		return rdb.LPush(ctx, w.key("pending"), "purge:42").Err()
	}}
	found := examine(t, d)
	if len(found) != 1 || found[0].Count() != 1 {
		t.Fatalf("got %+v, want user 5 only", found)
	}
	w.do("LPUSH", w.key("pending"), "purge:5")
	if mended, err := d.Mend(t.Context(), found[0]); err != nil || mended != 0 {
		t.Errorf("got %d mended, %v; want 0", mended, err)
	}
	if got := depth(t, rdb); got.Pending != 2 {
		t.Errorf("got %+v, want both tasks", got)
	}
}

// TestDoctorMendsNothingThatHasChanged lets one fault become another between finding and mending: a task that has
// fallen off its list loses its message as well. What is forgotten must be what was explained.
func TestDoctorMendsNothingThatHasChanged(t *testing.T) {
	t.Parallel()
	rdb := newRedis(t)
	enqueue(t, rdb, task42)
	w := ward{t, rdb}
	w.do("LREM", w.key("pending"), 0, "purge:42")
	d := &queue.Doctor{Redis: rdb, Wait: atOnce}
	found := examine(t, d)
	if len(found) != 1 || found[0].Ailment != queue.Orphan {
		t.Fatalf("got %+v, want a task in no list", found)
	}
	w.do("HDEL", w.key("t:purge:42"), "msg")
	if mended, err := d.Mend(t.Context(), found[0]); err != nil || mended != 0 {
		t.Errorf("got %d mended, %v; want 0", mended, err)
	}
	if again := examine(t, d); len(again) != 1 || again[0].Ailment != queue.Stump {
		t.Errorf("got %+v, want the new fault, to be explained", again)
	}
}

// TestDoctorPagesThroughManyTasks has more tasks and orphans than any page holds, and a stranger's id among them.
func TestDoctorPagesThroughManyTasks(t *testing.T) {
	t.Parallel()
	const tasks, orphans = 2500, 300
	rdb := newRedis(t)
	for n := range tasks {
		enqueue(t, rdb, purge.Task{Request: purge.RequestID(n + 1), User: purge.UserID(n + 1)})
	}
	w := ward{t, rdb}
	w.do("RPUSH", w.key("pending"), "purge:1000000") // dangling, on the last page
	for range orphans {
		if err := rdb.LPop(t.Context(), w.key("pending")).Err(); err != nil {
			t.Fatal(err)
		}
	}
	w.do("HSET", w.key("t:purge:alice@example.org"), "msg", "x", "state", "pending")
	d := &queue.Doctor{Redis: rdb, Wait: atOnce}
	found := examine(t, d)
	if len(found) != 2 || found[0].Count() != orphans+1 || found[1].Ailment != queue.Dangling || found[1].Count() != 1 {
		t.Fatalf("got %d kinds, want %d orphans and a dangling id", len(found), orphans+1)
	}
	if mended, err := d.Mend(t.Context(), found[1]); err != nil || mended != 1 {
		t.Errorf("got %d mended, %v", mended, err)
	}
	if users, foreign := found[0].Users(); len(users) != orphans || foreign != 1 || users[0] != tasks-orphans+1 {
		t.Errorf("got %d users, %d foreign ids", len(users), foreign)
	}
	if mended, err := d.Mend(t.Context(), found[0]); err != nil || mended != orphans+1 {
		t.Errorf("got %d mended, %v", mended, err)
	}
	if got := depth(t, rdb); got.Pending != tasks-orphans || len(examine(t, d)) != 0 {
		t.Errorf("got %+v, want the others untouched", got)
	}
}

// Hangs on it: Stump. An id whose hash was evicted is dequeued: asynq makes a hash of one field, and no handler runs.
func TestContractDequeuingAnEvictedTaskLeavesAStump(t *testing.T) {
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
	d := &queue.Doctor{Redis: rdb, Wait: atOnce}
	if found := examine(t, d); len(found) != 1 || found[0].Ailment != queue.Stump {
		t.Errorf("got %+v, want a stump", found)
	}
}

// Hangs on it: Orphan. asynq's inspector leaves the hashes of archived tasks that it trims.
func TestContractTheInspectorLeavesOrphans(t *testing.T) {
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
	d := &queue.Doctor{Redis: rdb, Wait: atOnce}
	found := examine(t, d)
	if len(found) != 1 || found[0].Ailment != queue.Orphan || found[0].Count() != tasks-kept {
		t.Fatalf("got %+v, want %d orphans", found, tasks-kept)
	}
	users, _ := found[0].Users()
	if err := queue.NewClient(rdb, queue.Live, taskSettings).Enqueue(t.Context(),
		[]purge.Task{{Request: 1, User: users[0]}}); err == nil {
		t.Error("an orphan's user could be enqueued before mending")
	}
	if _, err := d.Mend(t.Context(), found[0]); err != nil {
		t.Fatal(err)
	}
	enqueue(t, rdb, purge.Task{Request: 1, User: users[0]})
}

func TestDoctorReadsConditions(t *testing.T) {
	t.Parallel()
	w := ward{t, newRedis(t)}
	d := &queue.Doctor{Redis: w.rdb, Wait: atOnce}
	check := func(what string, want queue.Condition) {
		t.Helper()
		got, err := d.Conditions(t.Context())
		if err != nil || len(got) != 2 || got[0] != want ||
			got[1] != (queue.Condition{Queue: queue.Backfill, Registered: got[1].Registered}) {
			t.Errorf("%s: got %+v, %v; want %+v", what, got, err, want)
		}
	}
	check("never used", queue.Condition{Queue: queue.Live})
	defer w.fill()()
	if err := asynq.NewInspectorFromRedisClient(w.rdb).PauseQueue(queue.Live); err != nil {
		t.Fatal(err)
	}
	want := queue.Condition{Queue: queue.Live, Used: true, Registered: true, Paused: true, Archived: 1, Completed: 1}
	check("in use", want)
	w.do("SREM", "asynq:queues", queue.Live)
	want.Registered = false
	check("unregistered", want)
	if err := errors.Join(d.Register(t.Context(), queue.Live), d.Register(t.Context(), queue.Live)); err != nil {
		t.Fatal(err)
	}
	want.Registered = true
	check("registered", want)
	if known, err := asynq.NewInspectorFromRedisClient(w.rdb).Queues(); err != nil || !slices.Contains(known, queue.Live) {
		t.Errorf("asynq knows %v, %v", known, err)
	}
}

func TestDoctorYieldsWhoWaits(t *testing.T) {
	t.Parallel()
	w := ward{t, newRedis(t)}
	defer w.fill()()
	var users []purge.UserID
	for page, err := range (&queue.Doctor{Redis: w.rdb}).Waiting(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		users = append(users, page...)
	}
	slices.Sort(users)
	if want := []purge.UserID{3, 5, 42}; !reflect.DeepEqual(users, want) {
		t.Errorf("got %v, want %v: retry, pending, follow-up", users, want)
	}
}

func TestDoctorReadsTheServer(t *testing.T) {
	t.Parallel()
	rdb := newRedis(t)
	d := &queue.Doctor{Redis: rdb}
	if version := d.Version(t.Context()); version == "" || queue.OldVersion(version) {
		t.Errorf("got version %q, want one that is new enough", version)
	}
	if now, err := d.Clock(t.Context()); err != nil || time.Until(now).Abs() > time.Minute {
		t.Errorf("got %v, %v; want about now", now, err)
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

func TestDoctorEndsWithItsContextAndItsServer(t *testing.T) {
	t.Parallel()
	servers := sandboxtest.OwnServers(t)
	rdb, err := queue.NewRedis(config.Redis{URL: config.NewSecret(servers.Redis.URL(1))})
	if err != nil {
		t.Fatal(err)
	}
	defer rdb.Close()
	enqueue(t, rdb, task42)
	w := ward{t, rdb}
	w.do("DEL", w.key("t:purge:42"))
	ctx, cancel := context.WithCancel(t.Context())
	d := &queue.Doctor{Redis: rdb, Wait: func(ctx context.Context) error { cancel(); return ctx.Err() }}
	if found, err := d.Examine(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, %v; want the context's end", found, err)
	}
	servers.Stop()
	if found, err := d.Examine(t.Context()); err == nil {
		t.Errorf("got %v from a server that is away", found)
	}
	if version := d.Version(t.Context()); version != "" {
		t.Errorf("got version %q", version)
	}
	if _, err := d.Conditions(t.Context()); err == nil {
		t.Error("read conditions of a server that is away")
	}
}

// TestMissingTakesNoTextForATask: one such key must not stop the reconciler.
func TestMissingTakesNoTextForATask(t *testing.T) {
	t.Parallel()
	w := ward{t, newRedis(t)}
	w.set("t:purge:42")
	missing, err := queue.NewKeeper(w.rdb, taskSettings).Missing(t.Context(),
		[]purge.OpenRequest{{Request: 17, User: 42}, {Request: 18, User: 43}})
	if err != nil || len(missing) != 2 {
		t.Errorf("got %+v, %v", missing, err)
	}
}
