package chaos

import (
	"context"
	"log/slog"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/certpurge/certpurge/internal/config"
	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/queue"
	"github.com/certpurge/certpurge/internal/queue/inspect"
	"github.com/certpurge/certpurge/internal/sandbox"
	"github.com/certpurge/certpurge/internal/sandbox/demo"
	"github.com/certpurge/certpurge/internal/sandbox/sandboxtest"
)

// purgerFunc is a queue.Purger.
type purgerFunc func(context.Context, purge.Task) (purge.Result, error)

func (f purgerFunc) Purge(ctx context.Context, task purge.Task) (purge.Result, error) {
	return f(ctx, task)
}

// proxied is a real Redis behind the proxy, with the product's own client and server of asynq in front of it.
type proxied struct {
	*proxy

	t     *testing.T
	redis redis.UniversalClient // through the proxy
}

func newProxied(t *testing.T, url string) *proxied {
	t.Helper()
	options, err := redis.ParseURL(url)
	if err != nil {
		t.Fatal(err)
	}
	p, err := startProxy(t.Context(), options.Addr, 1)
	if err != nil {
		t.Fatal(err)
	}
	options.Addr = p.Addr
	w := &proxied{proxy: p, t: t, redis: redis.NewClient(options)}
	t.Cleanup(func() {
		_ = w.redis.Close()
		p.Close()
	})
	return w
}

// ask puts a user's task into the queue.
func (w *proxied) ask(user purge.UserID, retention time.Duration) {
	w.t.Helper()
	client := queue.NewClient(w.redis, queue.Live, config.Tasks{Timeout: time.Minute, Retention: retention})
	if err := client.Enqueue(w.t.Context(), []purge.Task{{Request: purge.RequestID(user), User: user}}); err != nil {
		w.t.Fatal(err)
	}
}

// serve pulls tasks, one at a time, until the returned function is called, or the test ends.
func (w *proxied) serve(purger purgerFunc) (stop func()) {
	w.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	quiet := slog.New(slog.DiscardHandler)
	go func() {
		served <- queue.Serve(ctx, w.redis, config.Queue{
			Concurrency: 1, Weights: config.Weights{Purge: 1}, DrainTimeout: 100 * time.Millisecond,
			RetryBase: time.Millisecond, RetryCap: time.Second,
		}, &queue.Handler{Purger: purger, Log: quiet}, quiet)
	}()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-served; err != nil {
			w.t.Errorf("serving: %v", err)
		}
	})
	w.t.Cleanup(stop)
	return stop
}

func (w *proxied) depth() inspect.Depth {
	w.t.Helper()
	depths, err := inspect.Depths(w.t.Context(), w.redis)
	if err != nil {
		w.t.Fatal(err)
	}
	return depths[0]
}

// TestDoneIsRecognised lets tasks come to every end that asynq knows, and listens. There is one worker of one task at a
// time, so nothing passes between two strikes.
func TestDoneIsRecognised(t *testing.T) {
	t.Parallel()
	w := newProxied(t, sandboxtest.Redis(t))
	var mu sync.Mutex
	var done []string
	var listen strike
	listen = func(id string, forward func()) {
		mu.Lock()
		done = append(done, id)
		mu.Unlock()
		w.atDone(listen)
		forward()
	}
	w.atDone(listen)

	const forgotten, retained, retried, archived, handedBack = 1, 2, 3, 4, 5
	tried, blocked := 0, make(chan struct{})
	release := sync.OnceFunc(func() { close(blocked) })
	defer release()
	stop := w.serve(func(_ context.Context, task purge.Task) (purge.Result, error) {
		switch task.User {
		case retried:
			if tried++; tried == 1 {
				return purge.Result{}, &purge.Error{Class: purge.Transient, Text: "injected"}
			}
		case archived:
			return purge.Result{}, purge.ErrUnknownRequest
		case handedBack:
			<-blocked
		}
		return purge.Result{State: purge.Done}, nil
	})
	w.ask(forgotten, 0)
	w.ask(retained, time.Hour)
	w.ask(retried, time.Hour)
	w.ask(archived, time.Hour)
	sandboxtest.Eventually(t, "the first four have come to an end", func() bool {
		d := w.depth()
		return d.Completed == 2 && d.Archived == 1 && d.Pending+d.Active+d.Retry == 0
	})
	w.ask(handedBack, time.Hour)
	sandboxtest.Eventually(t, "the last one is at work", func() bool { return w.depth().Active == 1 })
	stop()
	if d := w.depth(); d.Pending != 1 {
		t.Fatalf("got %+v, want the last task handed back", d)
	}
	w.ask(retained, time.Hour) // asks for, and removes, the task that has ended
	mu.Lock()
	defer mu.Unlock()
	slices.Sort(done)
	// A script that the server does not know yet is sent twice: by its name, and in full.
	done = slices.Compact(done)
	if want := []string{
		queue.TaskID(purge.Task{User: forgotten}), queue.TaskID(purge.Task{User: retained}),
		queue.TaskID(purge.Task{User: retried}),
	}; !slices.Equal(done, want) {
		t.Errorf("got %v, want %v: what ended well, and nothing else", done, want)
	}
}

// TestTheStopIsAimedAtDone plays the fault against a server of its own.
func TestTheStopIsAimedAtDone(t *testing.T) {
	t.Parallel()
	servers := sandboxtest.OwnServers(t)
	w := newProxied(t, servers.Redis.URL(0))
	f := fault{name: "redis-stop-at-done"}
	// Under this seed the first stop comes before the report, not after it.
	r := &run{proxy: w.proxy, env: &demo.Environment{Servers: servers}, rng: newDice(1), tally: newTally([]fault{f})}
	e := &episode{run: r, name: f.name}
	ctx, cancel := context.WithCancel(t.Context())
	played := make(chan error, 1)
	go func() { played <- stopAtDone(ctx, e) }()
	begun := make(chan time.Time, 10)
	w.serve(func(context.Context, purge.Task) (purge.Result, error) {
		begun <- time.Now()
		return purge.Result{State: purge.Done}, nil
	})
	w.ask(1, 0)
	at := <-begun
	straight := redis.NewClient(&redis.Options{Addr: servers.Redis.Addr, ReadTimeout: time.Minute})
	defer straight.Close()
	// The task's hash goes with the report, which the server reads when it continues.
	sandboxtest.Eventually(t, "the task is done", func() bool {
		return straight.Exists(t.Context(), "asynq:{"+queue.Live+"}:t:"+queue.TaskID(purge.Task{User: 1})).Val() == 0
	})
	if took := time.Since(at); took < standstill-time.Second {
		t.Errorf("the task was done after %v: the server did not stand still for %v", took, standstill)
	}
	cancel()
	if err := <-played; err != nil {
		t.Fatal(err)
	}
	if r.tally.lines[f.name].Injected == 0 {
		t.Error("got no hit")
	}
}

// TestOnlyAimedStopsCount plays the fault where nothing is done.
func TestOnlyAimedStopsCount(t *testing.T) {
	t.Parallel()
	w := newProxied(t, sandboxtest.Redis(t))
	f := fault{name: "redis-stop-at-done"}
	env := &demo.Environment{Servers: &sandbox.Servers{}} // there is no server to stop
	r := &run{proxy: w.proxy, env: env, rng: newDice(1), tally: newTally([]fault{f})}
	ctx, cancel := context.WithCancel(t.Context())
	played := make(chan error, 1)
	go func() { played <- stopAtDone(ctx, &episode{run: r, name: f.name}) }()
	for user := range 20 {
		w.ask(purge.UserID(user+1), 0) // waits in the queue, which no worker serves
	}
	sandboxtest.Eventually(t, "the fault waits for its moment", func() bool { return w.aimed.Load() != nil })
	cancel()
	if err := <-played; err != nil {
		t.Fatal(err)
	}
	if got := r.tally.lines[f.name].Injected; got != 0 {
		t.Errorf("got %d hits, want none", got)
	}
	if w.aimed.Load() != nil {
		t.Error("the fault is over and still waits for a task")
	}
}

// TestDoneIsNothingElse holds the recognition against commands that look like it.
func TestDoneIsNothingElse(t *testing.T) {
	t.Parallel()
	const q = "asynq:{purge}"
	for name, keys := range map[string][]string{
		"a retry": {
			q + ":t:purge:7", q + ":active", q + ":lease", q + ":retry", q + ":processed:2026-01-02",
			q + ":failed:2026-01-02", q + ":processed", q + ":failed",
		},
		"a hand-back":  {q + ":active", q + ":lease", q + ":pending", q + ":t:purge:7"},
		"another task": {q + ":active", q + ":lease", q + ":t:purge:70", q + ":processed:2026-01-02", q + ":processed"},
		"two queues": {
			q + ":active", q + ":lease", "asynq:{other}:t:purge:7", q + ":processed:2026-01-02",
			q + ":processed",
		},
		"nothing counted":  {q + ":active", q + ":lease", q + ":t:purge:7", q + ":pending", q + ":paused"},
		"a key is missing": {q + ":active", q + ":lease", q + ":completed", q + ":t:purge:7", q + ":processed:2026-01-02"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			args := [][]byte{[]byte("evalsha"), []byte("0123"), []byte(strconv.Itoa(len(keys)))}
			for _, key := range append(keys, "purge:7", "1700000000") {
				args = append(args, []byte(key))
			}
			if id, ok := doneTask(args); ok {
				t.Errorf("got task %q taken for done", id)
			}
			for n := range args { // cut off anywhere
				if _, ok := doneTask(args[:n]); ok {
					t.Errorf("got the first %d words taken for done", n)
				}
			}
		})
	}
}
