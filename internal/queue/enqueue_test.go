package queue_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
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

// tasksOf makes a task for each of the users first to last; their requests have the users' numbers and an offset.
func tasksOf(first, last int, offset purge.RequestID) []purge.Task {
	var tasks []purge.Task
	for n := first; n <= last; n++ {
		tasks = append(tasks, purge.Task{Request: purge.RequestID(n) + offset, User: purge.UserID(n)})
	}
	return tasks
}

// wire is a hook that watches what is sent, and may meddle with it.
type wire struct {
	mu        sync.Mutex
	alone     []string // the names of commands that were not in a pipeline
	pipelines int
	meddle    func(ctx context.Context, cmds []redis.Cmder, next redis.ProcessPipelineHook) error
}

func (*wire) DialHook(next redis.DialHook) redis.DialHook { return next }

func (w *wire) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if cmd.Name() != "hello" && cmd.Name() != "client" { // what a new connection begins with
			w.mu.Lock()
			w.alone = append(w.alone, cmd.Name())
			w.mu.Unlock()
		}
		return next(ctx, cmd)
	}
}

func (w *wire) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		if !strings.HasPrefix(cmds[0].Name(), "eval") && cmds[0].Name() != "sismember" {
			return next(ctx, cmds) // of a new connection
		}
		w.mu.Lock()
		w.pipelines++
		w.mu.Unlock()
		if w.meddle == nil {
			return next(ctx, cmds)
		}
		return w.meddle(ctx, cmds, next)
	}
}

// watch opens the same database a second time, with a wire.
func watch(t *testing.T, rdb redis.UniversalClient) (redis.UniversalClient, *wire) {
	t.Helper()
	first, ok := rdb.(*redis.Client)
	if !ok {
		t.Fatalf("got a %T", rdb)
	}
	options, w := *first.Options(), &wire{}
	second := redis.NewClient(&options)
	second.AddHook(w)
	t.Cleanup(func() { _ = second.Close() })
	return second, w
}

// expect asserts that nothing was sent alone but one command a batch, which lists the queue.
func (w *wire) expect(t *testing.T, batches, maxPipelines int) {
	t.Helper()
	if want := slices.Repeat([]string{"sadd"}, batches); !slices.Equal(w.alone, want) || w.pipelines > maxPipelines {
		t.Errorf("got %d pipelines and these alone: %v; want at most %d, and %v", w.pipelines, w.alone, maxPipelines, want)
	}
	w.alone, w.pipelines = nil, 0
}

// fail sets an error on commands whose keys name one of the users, or on all.
func fail(cmds []redis.Cmder, err error, users ...purge.UserID) {
	for _, cmd := range cmds {
		hit := len(users) == 0
		for _, user := range users {
			hit = hit || slices.Contains(cmd.Args(), any("asynq:{purge}:t:"+queue.TaskID(purge.Task{User: user})))
		}
		if hit {
			cmd.SetErr(err)
		}
	}
}

// notQueued asserts that the error names exactly these requests.
func notQueued(t *testing.T, err error, want []purge.Task) {
	t.Helper()
	e, ok := errors.AsType[*purge.NotQueuedError](err)
	if !ok {
		t.Fatalf("got %v, want a *purge.NotQueuedError", err)
	}
	var ids []purge.RequestID
	for _, task := range want {
		ids = append(ids, task.Request)
	}
	if !slices.Equal(e.Requests, ids) {
		t.Errorf("got requests %v, want %v", e.Requests, ids)
	}
}

func TestManyTasksAreEnqueuedInOrder(t *testing.T) {
	t.Parallel()
	rdb := newRedis(t)
	tasks := tasksOf(1, 1203, 0) // more than two batches
	first := tasks[:500]
	enqueue(t, rdb, first...)
	ids, err := rdb.LRange(t.Context(), "asynq:{purge}:pending", 0, -1).Result()
	if err != nil {
		t.Fatal(err)
	}
	slices.Reverse(ids) // workers pull from the tail
	for i, task := range first {
		if want := queue.TaskID(task); ids[i] != want {
			t.Fatalf("task %d is %s, want %s", i, ids[i], want)
		}
	}
	enqueue(t, rdb, tasks...)
	if got := depth(t, rdb); got.Pending != len(tasks) {
		t.Errorf("got %+v, want %d pending", got, len(tasks))
	}
	info := info(t, rdb, queue.Live, "purge:1203")
	if info.Type != "certificates:purge" || string(info.Payload) != `{"v":1,"request_id":1203,"user_id":1203}` ||
		info.Timeout != taskSettings.Timeout || info.Retention != taskSettings.Retention || info.MaxRetry < 100 {
		t.Errorf("got %+v with payload %s", info, info.Payload)
	}
}

// TestManyTasksMeetEveryState enqueues new tasks together with some that are there in each state.
func TestManyTasksMeetEveryState(t *testing.T) {
	t.Parallel()
	const each, all = 10, 1203
	rdb := newRedis(t)
	release := make(chan struct{})
	var released sync.Once
	cfg := fastServer
	cfg.Concurrency, cfg.RetryBase, cfg.RetryCap = each, time.Hour, time.Hour
	stop := serve(t, rdb, cfg, quiet, purgerFunc(func(_ context.Context, task purge.Task) (purge.Result, error) {
		switch (task.User - 1) / each {
		case 0:
			return purge.Result{State: purge.Done}, nil // completed
		case 1:
			// retry
			return purge.Result{State: purge.Queued}, &purge.Error{Class: purge.Retained, Until: time.Now().Add(time.Hour)}
		case 2:
			return purge.Result{}, purge.ErrUnknownRequest // archived
		default:
			<-release // active
			return purge.Result{State: purge.Done}, nil
		}
	}))
	t.Cleanup(func() { released.Do(func() { close(release) }); stop() })
	enqueue(t, rdb, tasksOf(1, 3*each, 0)...)
	sandboxtest.Eventually(t, "all have had their turn", func() bool {
		d := depth(t, rdb)
		return d.Completed == each && d.Retry == each && d.Archived == each
	})
	enqueue(t, rdb, tasksOf(3*each+1, 5*each, 0)...)
	sandboxtest.Eventually(t, "the workers are busy",
		func() bool { d := depth(t, rdb); return d.Active == each && d.Pending == each })
	watched, w := watch(t, rdb)
	enqueue(t, watched, tasksOf(1, all, 100_000)...)
	w.expect(t, 3, 3*12) // conflict, queue?, state, way made, put: each perhaps twice, for Redis may not know the script
	want := inspect.Depth{Queue: queue.Live, Active: each, Scheduled: each, Pending: all - each}
	if got := depth(t, rdb); got != want {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	for id, request := range map[string]int{
		"purge:1":         100_001, // had completed, and made room
		"purge:11":        11,      // waited for its retry, and was woken
		"purge:21":        100_021, // was archived, and made room
		"purge:31":        31,      // is active
		"purge:31:100031": 100_031, // follows it
		"purge:41":        41,      // was pending
		"purge:1203":      101_203,
	} {
		if got, want := string(info(t, rdb, queue.Live, id).Payload),
			fmt.Sprintf(`"request_id":%d,`, request); !strings.Contains(got, want) {
			t.Errorf("%s: got the payload %s, want %s in it", id, got, want)
		}
	}
}

func TestManyTasksFromManyAtOnce(t *testing.T) {
	t.Parallel()
	rdb := newRedis(t)
	tasks := tasksOf(1, 1203, 0)
	client := queue.NewClient(rdb, queue.Live, taskSettings)
	var wg sync.WaitGroup
	for n := range 8 {
		mine := slices.Concat(tasks[n*100:], tasks[:n*100], tasks[:5]) // some are there twice
		wg.Go(func() {
			if err := client.Enqueue(t.Context(), mine); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if got := depth(t, rdb); got.Pending != len(tasks) {
		t.Errorf("got %+v, want %d pending", got, len(tasks))
	}
}

// TestScriptsThatRedisForgets has Redis forget asynq's scripts before the first command and in the middle of a batch.
func TestScriptsThatRedisForgets(t *testing.T) {
	t.Parallel()
	rdb := newRedis(t)
	w := &wire{}
	var flushes atomic.Int64
	w.meddle = func(ctx context.Context, cmds []redis.Cmder, next redis.ProcessPipelineHook) error {
		if len(cmds) < 2 || cmds[0].Name() != "evalsha" {
			return next(ctx, cmds)
		}
		flushes.Add(1)
		half := len(cmds) / 2
		return errors.Join(next(ctx, cmds[:half]), rdb.ScriptFlush(ctx).Err(), next(ctx, cmds[half:]))
	}
	rdb.AddHook(w)
	if err := rdb.ScriptFlush(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	for range 2 { // new tasks, then conflicts
		enqueue(t, rdb, tasksOf(1, 1203, 0)...)
		if got := depth(t, rdb); got.Pending != 1203 {
			t.Errorf("got %+v, want 1203 pending", got)
		}
	}
	if flushes.Load() < 6 {
		t.Errorf("got %d flushes: the test has missed the batches", flushes.Load())
	}
}

// TestRedisRestartsWithinABatch loses what was in Redis; what comes after is there.
func TestRedisRestartsWithinABatch(t *testing.T) {
	t.Parallel()
	server := sandboxtest.OwnServers(t).Redis
	rdb, err := queue.NewRedis(config.Redis{URL: config.NewSecret("unix://" + server.Socket)})
	if err != nil {
		t.Fatal(err)
	}
	defer rdb.Close()
	enqueue(t, rdb, tasksOf(2001, 2010, 0)...) // loads the script
	w := &wire{}
	var restarted atomic.Bool
	w.meddle = func(ctx context.Context, cmds []redis.Cmder, next redis.ProcessPipelineHook) error {
		if !restarted.CompareAndSwap(false, true) {
			return next(ctx, cmds)
		}
		half := len(cmds) / 2
		return errors.Join(next(ctx, cmds[:half]), server.Restart(ctx), next(ctx, cmds[half:]))
	}
	rdb.AddHook(w)
	tasks := tasksOf(1, 100, 0)
	enqueue(t, rdb, tasks...)
	if pending, err := rdb.LLen(t.Context(), "asynq:{purge}:pending").Result(); err != nil || pending != 50 {
		t.Errorf("got %d pending, %v; want the 50 after the restart", pending, err)
	}
	enqueue(t, rdb, tasks...) // as the reconciler does
	if got := depth(t, rdb); got.Pending != 100 {
		t.Errorf("got %+v, want 100 pending in a queue that is listed", got)
	}
}

// deafConn loses the first answer to a pipeline: the connection breaks when Redis has done the work.
type deafConn struct {
	net.Conn

	lost *atomic.Int64
	big  atomic.Bool
}

func (c *deafConn) Write(b []byte) (int, error) {
	if len(b) > 4000 {
		c.big.Store(true)
	}
	return c.Conn.Write(b)
}

func (c *deafConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if err == nil && c.big.Load() && c.lost.CompareAndSwap(0, 1) {
		_ = c.Close()
		return 0, io.ErrUnexpectedEOF
	}
	return n, err
}

// TestALostAnswerIsNoConflict: go-redis sends the batch again and hears that everything is there.
func TestALostAnswerIsNoConflict(t *testing.T) {
	t.Parallel()
	options, err := redis.ParseURL(sandboxtest.Redis(t))
	if err != nil {
		t.Fatal(err)
	}
	var lost atomic.Int64
	options.Dialer = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, addr)
		return &deafConn{Conn: conn, lost: &lost}, err
	}
	rdb := redis.NewClient(options)
	defer rdb.Close()
	enqueue(t, rdb, tasksOf(1, 500, 0)...)
	if got := depth(t, rdb); got.Pending != 500 || lost.Load() != 1 {
		t.Errorf("got %+v and %d lost answers; want 500 pending, one lost", got, lost.Load())
	}
}

// TestAnAnswerThatNeverCame leaves open whether the tasks are there: asking again makes it right.
func TestAnAnswerThatNeverCame(t *testing.T) {
	t.Parallel()
	rdb := newRedis(t)
	w := &wire{}
	broken := errors.New("connection broken")
	w.meddle = func(ctx context.Context, cmds []redis.Cmder, next redis.ProcessPipelineHook) error {
		_ = next(ctx, cmds)
		fail(cmds, broken)
		return broken
	}
	rdb.AddHook(w)
	tasks := tasksOf(1, 100, 0)
	err := queue.NewClient(rdb, queue.Live, taskSettings).Enqueue(t.Context(), tasks)
	notQueued(t, err, tasks)
	if !strings.Contains(err.Error(), "request 1:") || !strings.Contains(err.Error(), "99 more") ||
		!strings.Contains(err.Error(), broken.Error()) {
		t.Errorf("got %q, want the first request, its cause and how many more", err)
	}
	w.meddle = nil
	enqueue(t, rdb, tasks...)
	if got := depth(t, rdb); got.Pending != 100 {
		t.Errorf("got %+v, want 100 pending", got)
	}
}

func TestOneTaskThatFailsIsNamedAlone(t *testing.T) {
	t.Parallel()
	rdb := newRedis(t)
	w := &wire{}
	w.meddle = func(ctx context.Context, cmds []redis.Cmder, next redis.ProcessPipelineHook) error {
		err := next(ctx, cmds)
		fail(cmds, errors.New("OOM command not allowed"), 7)
		return err
	}
	rdb.AddHook(w)
	tasks := tasksOf(1, 100, 1000)
	notQueued(t, queue.NewClient(rdb, queue.Live, taskSettings).Enqueue(t.Context(), tasks), tasks[6:7])
}

func TestNoBatchFollowsAFailure(t *testing.T) {
	t.Parallel()
	rdb := newRedis(t)
	w := &wire{}
	w.meddle = func(_ context.Context, cmds []redis.Cmder, _ redis.ProcessPipelineHook) error {
		err := errors.New("connection refused")
		fail(cmds, err)
		return err
	}
	rdb.AddHook(w)
	tasks := tasksOf(1, 10_000, 0)
	notQueued(t, queue.NewClient(rdb, queue.Live, taskSettings).Enqueue(t.Context(), tasks), tasks)
	if w.pipelines > 3 { // two are on their way at a time, and the third waits for its turn already
		t.Errorf("got %d pipelines, want none after the first failure but those on their way", w.pipelines)
	}
}

func TestEnqueueEndsWithItsContext(t *testing.T) {
	t.Parallel()
	rdb := newRedis(t)
	ctx, cancel := context.WithCancel(t.Context())
	w := &wire{}
	w.meddle = func(ctx context.Context, cmds []redis.Cmder, next redis.ProcessPipelineHook) error {
		cancel()
		return next(ctx, cmds)
	}
	rdb.AddHook(w)
	tasks := tasksOf(1, 100, 0)
	notQueued(t, queue.NewClient(rdb, queue.Live, taskSettings).Enqueue(ctx, tasks), tasks)
}

// TestARemovedQueueIsListedAgain: asynq remembers that it has registered a queue, and would not do it twice.
func TestARemovedQueueIsListedAgain(t *testing.T) {
	t.Parallel()
	rdb := newRedis(t)
	client := queue.NewClient(rdb, queue.Live, taskSettings)
	for first := 1; first < 30; first += 10 {
		if err := client.Enqueue(t.Context(), tasksOf(first, first+9, 0)); err != nil {
			t.Fatal(err)
		}
		if known, err := asynq.NewInspectorFromRedisClient(rdb).Queues(); err != nil ||
			!slices.Equal(known, []string{queue.Live}) {
			t.Errorf("got queues %v, %v; want %s", known, err, queue.Live)
		}
		if err := rdb.Del(t.Context(), "asynq:queues").Err(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestManyTasksOnARedisCluster(t *testing.T) {
	t.Parallel()
	rdb, err := queue.NewRedis(config.Redis{URL: config.NewSecret("redis+cluster://" + sandboxtest.RedisCluster(t))})
	if err != nil {
		t.Fatal(err)
	}
	defer rdb.Close()
	for range 2 {
		enqueue(t, rdb, tasksOf(1, 1203, 0)...)
		if got := depth(t, rdb); got.Pending != 1203 {
			t.Errorf("got %+v, want 1203 pending", got)
		}
		if err := rdb.ScriptFlush(t.Context()).Err(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestARedisThatIsAwayIsAskedOnceABatch: each attempt may take seconds.
func TestARedisThatIsAwayIsAskedOnceABatch(t *testing.T) {
	t.Parallel()
	var dials atomic.Int64
	rdb := redis.NewClient(&redis.Options{
		MaxRetries: -1, DialerRetries: 1,
		Dialer: func(context.Context, string, string) (net.Conn, error) {
			dials.Add(1)
			return nil, errors.New("connection refused")
		},
	})
	defer rdb.Close()
	tasks := tasksOf(1, 10_000, 0)
	notQueued(t, queue.NewClient(rdb, queue.Live, taskSettings).Enqueue(t.Context(), tasks), tasks)
	if got := dials.Load(); got > 3 { // as above
		t.Errorf("got %d attempts to connect, want one a batch", got)
	}
}
