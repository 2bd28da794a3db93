package queue_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
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
	"github.com/certpurge/certpurge/internal/queue/queuetest"
	"github.com/certpurge/certpurge/internal/sandbox/sandboxtest"
)

func TestMain(m *testing.M) { os.Exit(sandboxtest.Main(m)) }

var (
	openWith     = queuetest.OpenWith
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

func TestTaskInRedisHoldsNumbersOnly(t *testing.T) {
	t.Parallel()
	rdb := newRedis(t)
	enqueue(t, rdb, task42)
	info, err := asynq.NewInspectorFromRedisClient(rdb).GetTaskInfo(queue.Live, "purge:42")
	if err != nil {
		t.Fatal(err)
	}
	if info.Type != "certificates:purge" || string(info.Payload) != `{"v":1,"request_id":17,"user_id":42}` ||
		info.Timeout != taskSettings.Timeout || info.Retention != taskSettings.Retention || !info.Deadline.IsZero() {
		t.Errorf("got %+v with payload %s", info, info.Payload)
	}
}

func TestEnqueueTwiceIsOneTask(t *testing.T) {
	t.Parallel()
	rdb := newRedis(t)
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			if err := queue.NewClient(rdb, queue.Live, taskSettings).Enqueue(t.Context(),
				[]purge.Task{task42, task42}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if got := depth(t, rdb); got.Pending != 1 {
		t.Errorf("got %+v, want one pending task", got)
	}
}

// TestARequestThatArrivesLate: the worker's node of a database cluster gets it a moment after the task.
func TestARequestThatArrivesLate(t *testing.T) {
	t.Parallel()
	rdb := newRedis(t)
	var log sandboxtest.Buffer
	cfg := fastServer
	cfg.RetryBase, cfg.RetryCap = time.Hour, time.Hour
	var runs atomic.Int64
	serve(t, rdb, cfg, slog.New(slog.NewTextHandler(&log, nil)),
		purgerFunc(func(context.Context, purge.Task) (purge.Result, error) {
			if runs.Add(1) == 1 {
				return purge.Result{}, purge.ErrUnknownRequest
			}
			return purge.Result{State: purge.Done}, nil
		}))
	enqueue(t, rdb, task42)
	sandboxtest.Eventually(t, "it is completed", func() bool { return depth(t, rdb).Completed == 1 })
	if strings.Contains(log.String(), "task refused") {
		t.Errorf("the log says\n%s", log.String())
	}
}

func TestEndedTasksMakeRoom(t *testing.T) {
	t.Parallel()
	rdb := newRedis(t)
	var runs atomic.Int64
	serve(t, rdb, fastServer, quiet, purgerFunc(func(context.Context, purge.Task) (purge.Result, error) {
		if runs.Add(1) <= 2 {
			return purge.Result{}, purge.ErrUnknownRequest // archived after the second try
		}
		return purge.Result{State: purge.Done}, nil
	}))
	enqueue(t, rdb, task42)
	sandboxtest.Eventually(t, "it is archived", func() bool { return depth(t, rdb).Archived == 1 })
	enqueue(t, rdb, task42)
	sandboxtest.Eventually(t, "it is completed", func() bool { return depth(t, rdb).Completed == 1 })
	enqueue(t, rdb, task42)
	sandboxtest.Eventually(t, "it has run again", func() bool { return runs.Load() == 4 })
}

// TestARunningTaskLeavesAFollowUp asks while the user's task is past the point at which it would see the new request.
func TestARunningTaskLeavesAFollowUp(t *testing.T) {
	t.Parallel()
	rdb := newRedis(t)
	started, release := make(chan struct{}), make(chan struct{})
	seen := make(chan purge.RequestID, 10)
	serve(t, rdb, fastServer, quiet, purgerFunc(func(_ context.Context, task purge.Task) (purge.Result, error) {
		if task.Request == task42.Request {
			close(started)
			<-release
		}
		seen <- task.Request
		return purge.Result{State: purge.Done}, nil
	}))
	enqueue(t, rdb, task42)
	sandboxtest.Receive(t, "the task runs", started)
	later := purge.Task{Request: 18, User: task42.User}
	enqueue(t, rdb, later, later, later)
	if got := depth(t, rdb); got.Active != 1 || got.Scheduled != 1 {
		t.Errorf("got %+v, want one follow-up scheduled", got)
	}
	close(release)
	first, second := sandboxtest.Receive(t, "the first request ends", seen),
		sandboxtest.Receive(t, "the follow-up has run", seen)
	if first != task42.Request || second != later.Request {
		t.Errorf("got requests %d and %d, want 17, then 18", first, second)
	}
}

func TestAskingAgainWakesATaskThatWaits(t *testing.T) {
	t.Parallel()
	rdb := newRedis(t)
	var runs atomic.Int64
	cfg := fastServer
	serve(t, rdb, cfg, quiet, purgerFunc(func(context.Context, purge.Task) (purge.Result, error) {
		if runs.Add(1) == 1 {
			return purge.Result{State: purge.Queued}, &purge.Error{
				Class: purge.Retained,
				Until: time.Now().Add(10000 * time.Hour),
			}
		}
		return purge.Result{State: purge.Done}, nil
	}))
	enqueue(t, rdb, task42)
	sandboxtest.Eventually(t, "it waits for its date", func() bool { return depth(t, rdb).Retry == 1 })
	enqueue(t, rdb, task42)
	sandboxtest.Eventually(t, "it has run again", func() bool { return depth(t, rdb).Completed == 1 })
}

// TestRedisFlushedWhileATaskRuns must leave nothing that keeps the user from being enqueued.
func TestRedisFlushedWhileATaskRuns(t *testing.T) {
	t.Parallel()
	rdb := newRedis(t)
	started, release := make(chan struct{}, 10), make(chan struct{})
	serve(t, rdb, fastServer, quiet, purgerFunc(func(context.Context, purge.Task) (purge.Result, error) {
		started <- struct{}{}
		<-release
		return purge.Result{State: purge.Done}, nil
	}))
	enqueue(t, rdb, task42)
	sandboxtest.Receive(t, "the task runs", started)
	if err := rdb.FlushDB(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	close(release)
	enqueue(t, rdb, task42)
	sandboxtest.Receive(t, "the task runs", started)
	sandboxtest.Eventually(t, "it is completed", func() bool { return depth(t, rdb).Completed == 1 })
}

func TestANewerPayloadWaitsForANewerWorker(t *testing.T) {
	t.Parallel()
	h := &queue.Handler{Log: quiet, Purger: purgerFunc(func(context.Context, purge.Task) (purge.Result, error) {
		t.Error("reached the purge")
		return purge.Result{}, nil
	})}
	err := h.ProcessTask(t.Context(), asynq.NewTask(queue.TaskType,
		[]byte(`{"v":99,"request_id":1,"user_id":42,"new":true}`)))
	if err == nil || errors.Is(err, asynq.SkipRetry) || purge.ClassOf(err) != purge.Misconfigured ||
		!strings.Contains(err.Error(), "deploy the worker") {
		t.Errorf("got %v, want a retry", err)
	}
}

func TestHandlerTranslatesOutcomes(t *testing.T) {
	t.Parallel()
	fail := func(class purge.Class) error { return &purge.Error{Class: class, Text: "injected"} }
	for name, tc := range map[string]struct {
		result purge.Result
		err    error
		want   inspect.Depth
		counts bool // whether asynq counts a failure
		log    string
	}{
		"done": {result: purge.Result{State: purge.Done}, want: inspect.Depth{Completed: 1}, log: "task finished"},
		"refused": {
			result: purge.Result{State: purge.Refused, Reason: purge.ReasonNotRetiring},
			want:   inspect.Depth{Completed: 1}, log: "not_retiring",
		},
		"failed": {
			result: purge.Result{State: purge.Failed, Reason: purge.ReasonHeld},
			want:   inspect.Depth{Completed: 1}, log: "ERROR",
		},
		"transient": {
			err: fail(purge.Transient), want: inspect.Depth{Retry: 1}, counts: true,
			log: "task will be tried again",
		},
		"throttled":     {err: fail(purge.Throttled), want: inspect.Depth{Retry: 1}},
		"misconfigured": {err: fail(purge.Misconfigured), want: inspect.Depth{Retry: 1}},
		"retained": {
			err:  &purge.Error{Class: purge.Retained, Until: time.Now().Add(time.Hour)},
			want: inspect.Depth{Retry: 1},
		},
		"stopped": {err: fail(purge.Stopped), want: inspect.Depth{Retry: 1}},
		"unknown request": {
			err: fmt.Errorf("beginning: %w", purge.ErrUnknownRequest), want: inspect.Depth{Archived: 1}, counts: true,
			log: "task refused",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rdb := newRedis(t)
			var log sandboxtest.Buffer
			cfg := fastServer
			cfg.RetryBase, cfg.RetryCap = time.Hour, time.Hour
			stop := serve(t, rdb, cfg, slog.New(slog.NewTextHandler(&log, nil)),
				purgerFunc(func(context.Context, purge.Task) (purge.Result, error) {
					return tc.result, tc.err
				}))
			enqueue(t, rdb, task42)
			tc.want.Queue = queue.Live
			if name == "stopped" { // a second later it is back
				sandboxtest.Eventually(t, "it was tried", func() bool { return strings.Contains(log.String(), "injected") })
				return
			}
			sandboxtest.Eventually(t, fmt.Sprintf("depth is %+v", tc.want), func() bool { return depth(t, rdb) == tc.want })
			stop()
			info, err := asynq.NewInspectorFromRedisClient(rdb).GetTaskInfo(queue.Live, "purge:42")
			if err != nil || (info.Retried > 0) != tc.counts {
				t.Errorf("got %+v, %v; want a counted failure: %v", info, err, tc.counts)
			}
			if !strings.Contains(log.String(), tc.log) || !strings.Contains(log.String(), "user_id=42") ||
				!strings.Contains(log.String(), "task_id=purge:42") {
				t.Errorf("the log says\n%s", log.String())
			}
		})
	}
}

func TestMalformedPayloadsAreRefusedWithoutQuotingThem(t *testing.T) {
	t.Parallel()
	for _, payload := range []string{
		"", "alice@example.org", "{}", `{"v":0,"request_id":1,"user_id":42}`, `{"v":1,"request_id":1}`,
		`{"v":1,"request_id":0,"user_id":42}`,
		`{"v":1,"request_id":1,"user_id":-4}`, `{"v":1,"request_id":1,"user_id":42,"username":"alice"}`,
		`{"v":1,"request_id":1,"user_id":42}{}`,
		`{"v":1,"request_id":1,"user_id":42,"certificate_id":7}`, `{"v":2,"request_id":1,"user_id":42}`,
		`{"v":2,"request_id":1,"user_id":42,"certificate_id":-7}`,
		`{"v":1,"request_id":"alice","user_id":42}`, `{"v":1,"request_id":1,"user_id":99999999999}`,
	} {
		h := &queue.Handler{Log: quiet, Purger: purgerFunc(func(context.Context, purge.Task) (purge.Result, error) {
			t.Errorf("%s: reached the purge", payload)
			return purge.Result{}, nil
		})}
		err := h.ProcessTask(t.Context(), asynq.NewTask(queue.TaskType, []byte(payload)))
		if !errors.Is(err, asynq.SkipRetry) || strings.Contains(err.Error(), "alice") {
			t.Errorf("%s: got %v, want a refusal that does not quote it", payload, err)
		}
	}
}

// onlooker is an observer that keeps what it is told.
type onlooker struct {
	attempts []string
	refused  int
}

func (o *onlooker) Attempted(_ context.Context, r purge.Result, err error, took time.Duration) {
	o.attempts = append(o.attempts, fmt.Sprint(r.State, " ", r.Reason, " ", err != nil, " ", took >= 0))
}

func (o *onlooker) Refused() { o.refused++ }

func TestObserverIsNotifiedOfAttempts(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		payload string
		result  purge.Result
		err     error
		want    onlooker
	}{
		"done": {
			`{"v":1,"request_id":1,"user_id":42}`,
			purge.Result{State: purge.Done},
			nil,
			onlooker{attempts: []string{"done  false true"}},
		},
		"tried again": {
			`{"v":1,"request_id":1,"user_id":42}`,
			purge.Result{State: purge.Queued, Reason: purge.ReasonThrottled},
			errors.New("later"),
			onlooker{attempts: []string{"queued throttled true true"}},
		},
		"unknown request": {
			`{"v":1,"request_id":1,"user_id":42}`,
			purge.Result{},
			purge.ErrUnknownRequest,
			onlooker{refused: 1},
		},
		"no payload": {`{}`, purge.Result{}, nil, onlooker{refused: 1}},
	} {
		var got onlooker
		h := &queue.Handler{
			Log: quiet, Metrics: &got,
			Purger: purgerFunc(func(context.Context, purge.Task) (purge.Result, error) { return tc.result, tc.err }),
		}
		_ = h.ProcessTask(t.Context(), asynq.NewTask(queue.TaskType, []byte(tc.payload))) // other tests look at it
		if !slices.Equal(got.attempts, tc.want.attempts) || got.refused != tc.want.refused {
			t.Errorf("%s: got %+v, want %+v", name, got, tc.want)
		}
	}
}

func TestSuspicionIsRaised(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		result purge.Result
		err    error
		want   int
	}{
		"misconfigured": {err: &purge.Error{Class: purge.Misconfigured}, want: 1},
		"no permission": {result: purge.Result{State: purge.Failed, Reason: purge.ReasonNoPermission}, want: 1},
		"transient":     {err: &purge.Error{Class: purge.Transient}},
		"done":          {result: purge.Result{State: purge.Done}},
	} {
		got := 0
		h := &queue.Handler{
			Log: quiet, CheckSoon: func() { got++ },
			Purger: purgerFunc(func(context.Context, purge.Task) (purge.Result, error) { return tc.result, tc.err }),
		}
		// not the subject
		_ = h.ProcessTask(t.Context(), asynq.NewTask(queue.TaskType, []byte(`{"v":1,"request_id":1,"user_id":42}`)))
		if got != tc.want {
			t.Errorf("%s: got %d suspicions, want %d", name, got, tc.want)
		}
	}
}

func TestBackoff(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	b := queue.Backoff{Base: 5 * time.Second, Cap: time.Hour, Now: func() time.Time { return now }}
	fail := func(class purge.Class) error { return &purge.Error{Class: class} }
	for name, tc := range map[string]struct {
		n        int
		err      error
		min, max time.Duration
	}{
		"first failure":      {0, errors.New("x"), time.Second, 5 * time.Second},
		"fifth failure":      {4, fail(purge.Transient), time.Second, 80 * time.Second},
		"many failures":      {900, errors.New("x"), time.Second, time.Hour},
		"throttled":          {9, fail(purge.Throttled), 5 * time.Second, 20 * time.Second},
		"misconfigured":      {9, fail(purge.Misconfigured), 5 * time.Second, 20 * time.Second},
		"stopped":            {9, fail(purge.Stopped), time.Second, time.Second},
		"cancelled by asynq": {9, context.Canceled, time.Second, time.Second},
		"retained": {
			0, &purge.Error{Class: purge.Retained, Until: now.Add(48 * time.Hour)}, 48 * time.Hour,
			48*time.Hour + 65*time.Second,
		},
		"retained, date past": {0, &purge.Error{Class: purge.Retained, Until: now.Add(-time.Hour)}, 0, 65 * time.Second},
		"retained, no date":   {0, fail(purge.Retained), time.Hour, time.Hour},
	} {
		seen := map[time.Duration]bool{}
		for range 200 {
			d := b.Delay(tc.n, tc.err, nil)
			if d < tc.min || d > tc.max {
				t.Errorf("%s: got %v, want %v to %v", name, d, tc.min, tc.max)
			}
			seen[d] = true
		}
		if tc.min != tc.max && len(seen) < 10 {
			t.Errorf("%s: %d different delays in 200: no jitter", name, len(seen))
		}
	}
}

// TestDrainHandsBackWhatIsNotFinished stops a server while a handler hangs; the task is pending again, no retry spent.
func TestDrainHandsBackWhatIsNotFinished(t *testing.T) {
	t.Parallel()
	rdb := newRedis(t)
	started, release := make(chan struct{}), make(chan struct{})
	defer close(release)
	stop := serve(t, rdb, fastServer, quiet, purgerFunc(func(context.Context, purge.Task) (purge.Result, error) {
		close(started)
		<-release
		return purge.Result{}, nil
	}))
	enqueue(t, rdb, task42)
	sandboxtest.Receive(t, "the task runs", started)
	stop()
	info, err := asynq.NewInspectorFromRedisClient(rdb).GetTaskInfo(queue.Live, "purge:42")
	if err != nil || info.State != asynq.TaskStatePending || info.Retried != 0 {
		t.Errorf("got %+v, %v; want it pending with no retry spent", info, err)
	}
}

// TestDrainGivesTheStopSignal lets a handler wait for the signal that comes before the drain is over.
func TestDrainGivesTheStopSignal(t *testing.T) {
	t.Parallel()
	rdb := newRedis(t)
	started := make(chan struct{})
	heard := make(chan error, 1)
	cfg := fastServer
	cfg.DrainTimeout = 4 * time.Second
	stop := serve(t, rdb, cfg, quiet, purgerFunc(func(ctx context.Context, _ purge.Task) (purge.Result, error) {
		close(started)
		for {
			if err := purge.Stopping(ctx); err != nil {
				heard <- err
				return purge.Result{State: purge.Queued}, err
			}
			select {
			case <-ctx.Done():
				heard <- ctx.Err()
				return purge.Result{}, ctx.Err()
			case <-time.After(10 * time.Millisecond):
			}
		}
	}))
	enqueue(t, rdb, task42)
	sandboxtest.Receive(t, "the task runs", started)
	stop()
	if err := sandboxtest.Receive(t, "the task hears of it", heard); !errors.Is(err, purge.ErrStopped) {
		t.Errorf("got %v, want the stop signal", err)
	}
	if got := depth(t, rdb); got.Retry+got.Pending != 1 || got.Active+got.Archived != 0 {
		t.Errorf("got %+v, want the task to be tried again", got)
	}
}

func TestNewRedisUnderstandsURLs(t *testing.T) {
	t.Parallel()
	for url, want := range map[string]string{
		"redis://alice:pw@cache.example:6380/5":                   "*redis.Client alice cache.example:6380 5",
		"rediss://cache.example":                                  "*redis.Client  cache.example:6379 0",
		"unix:///run/redis.sock?db=3":                             "*redis.Client  /run/redis.sock 3",
		"redis+sentinel://s1:26379/5?master_name=m&addr=s2:26379": "*redis.Client",
		"redis+cluster://n1:6379?addr=n2:6379":                    "*redis.ClusterClient",
	} {
		client, err := queue.NewRedis(config.Redis{URL: config.NewSecret(url)})
		if err != nil {
			t.Errorf("%s: %v", url, err)
			continue
		}
		got := fmt.Sprintf("%T", client)
		if c, ok := client.(*redis.Client); ok && !strings.Contains(url, "sentinel") {
			o := c.Options()
			got += fmt.Sprintf(" %s %s %d", o.Username, o.Addr, o.DB)
		}
		if got != want {
			t.Errorf("%s: got %s, want %s", url, got, want)
		}
		if err := client.Close(); err != nil {
			t.Errorf("%s: closing: %v", url, err)
		}
	}
	for _, url := range []string{
		"", "s3cret", "http://s3cret@h", "redis://:s3cret@h:port", "redis+s3cret://h",
		"redis+sentinel://:s3cret@h:1", "unix+cluster:///s3cret",
	} {
		if _, err := queue.NewRedis(config.Redis{URL: config.NewSecret(url)}); err == nil ||
			strings.Contains(err.Error(), "s3cret") ||
			!strings.Contains(err.Error(), "redis.url") {
			t.Errorf("%s: got %v, want an error that names redis.url and no secret", url, err)
		}
	}
}

func FuzzPayload(f *testing.F) {
	f.Add([]byte(`{"v":1,"request_id":17,"user_id":42}`))
	f.Add([]byte(`{"v":1,"request_id":1e400,"user_id":42}`))
	f.Add([]byte(`[{"v":1}]`))
	f.Fuzz(func(t *testing.T, data []byte) {
		h := &queue.Handler{Log: quiet, Purger: purgerFunc(func(_ context.Context, task purge.Task) (purge.Result, error) {
			if task.Request <= 0 || !task.User.Valid() {
				t.Fatalf("%q became %+v", data, task)
			}
			return purge.Result{State: purge.Done}, nil
		})}
		if err := h.ProcessTask(t.Context(), asynq.NewTask(queue.TaskType, data)); err != nil &&
			!errors.Is(err, asynq.SkipRetry) && purge.ClassOf(err) != purge.Misconfigured {
			t.Fatalf("%q: got %v", data, err)
		}
	})
}
