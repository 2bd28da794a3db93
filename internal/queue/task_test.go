package queue_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/hibiken/asynq"

	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/queue"
	"github.com/certpurge/certpurge/internal/queue/inspect"
	"github.com/certpurge/certpurge/internal/sandbox/sandboxtest"
)

// TestPayloads holds payloads as they are in queues out there. Old ones must mean what they meant.
func TestPayloads(t *testing.T) {
	t.Parallel()
	for payload, want := range map[string]purge.Task{
		`{"v":1,"request_id":17,"user_id":42}`:                    {Request: 17, User: 42},
		`{"v":2,"request_id":17,"user_id":42,"certificate_id":9}`: {Request: 17, User: 42, Certificate: 9},
		`{"v":3,"request_id":17,"user_id":0,"certificate_id":9}`:  {Request: 17, Certificate: 9}, // a set of orphans
	} {
		var got purge.Task
		h := &queue.Handler{Log: quiet, Purger: purgerFunc(func(_ context.Context, task purge.Task) (purge.Result, error) {
			got = task
			return purge.Result{State: purge.Done}, nil
		})}
		if err := h.ProcessTask(t.Context(), asynq.NewTask(queue.TaskType, []byte(payload))); err != nil || got != want {
			t.Errorf("%s: got %+v, %v; want %+v", payload, got, err, want)
		}
		rdb := newRedis(t)
		enqueue(t, rdb, want)
		info, err := asynq.NewInspectorFromRedisClient(rdb).GetTaskInfo(queue.Live, queue.TaskID(want))
		if err != nil || string(info.Payload) != payload {
			t.Errorf("%+v: got %+v, %v; want the payload %s", want, info, err, payload)
		}
	}
}

// TestForgedTasksAreRefused: there is one way to read a payload, and the log shows no id that is not ours.
func TestForgedTasksAreRefused(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ taskType, payload string }{
		"another type":                {"certificates:other", `{"v":1,"request_id":17,"user_id":42}`},
		"a member twice":              {queue.TaskType, `{"v":1,"request_id":17,"user_id":42,"user_id":987654}`},
		"the version twice":           {queue.TaskType, `{"v":1,"v":2,"request_id":17,"user_id":42,"certificate_id":1}`},
		"another case":                {queue.TaskType, `{"v":1,"request_id":17,"User_ID":42}`},
		"another case beside it":      {queue.TaskType, `{"v":1,"request_id":17,"user_id":42,"USER_ID":987654}`},
		"the version in another case": {queue.TaskType, `{"V":1,"request_id":17,"user_id":42}`},
		"something behind it":         {queue.TaskType, `{"v":1,"request_id":17,"user_id":42}{}`},
		"an unknown member":           {queue.TaskType, `{"v":1,"request_id":17,"user_id":42,"x":1}`},
		"more than any version needs": {
			queue.TaskType,
			`{"v":1,"request_id":17,"user_id":42` + strings.Repeat(" ", 5000) + `}`,
		},
		"more of a newer version":          {queue.TaskType, `{"v":99,"x":"` + strings.Repeat("x", 5000) + `"}`},
		"a user's orphans":                 {queue.TaskType, `{"v":3,"request_id":17,"user_id":42,"certificate_id":1}`},
		"orphans without a set":            {queue.TaskType, `{"v":3,"request_id":17,"user_id":0}`},
		"a certificate without a user":     {queue.TaskType, `{"v":2,"request_id":17,"user_id":0,"certificate_id":1}`},
		"no user":                          {queue.TaskType, `{"v":1,"request_id":17,"user_id":0}`},
		"a certificate of the old version": {queue.TaskType, `{"v":1,"request_id":17,"user_id":42,"certificate_id":1}`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var log sandboxtest.Buffer
			h := &queue.Handler{
				Log: slog.New(slog.NewTextHandler(&log, nil)),
				Purger: purgerFunc(func(context.Context, purge.Task) (purge.Result, error) {
					t.Error("reached the purge")
					return purge.Result{}, nil
				}),
			}
			if err := h.ProcessTask(t.Context(), asynq.NewTask(tc.taskType, []byte(tc.payload))); !errors.Is(err,
				asynq.SkipRetry) {
				t.Errorf("got %v, want it archived", err)
			}
			if got := log.String(); strings.Count(got, "\n") != 1 || strings.Contains(got, "987654") {
				t.Errorf("the log says %q", got)
			}
		})
	}
}

func TestAPanicIsLoggedWithItsStack(t *testing.T) {
	t.Parallel()
	var log sandboxtest.Buffer
	h := &queue.Handler{
		Log:    slog.New(slog.NewTextHandler(&log, nil)),
		Purger: purgerFunc(func(context.Context, purge.Task) (purge.Result, error) { panic("index out of range") }),
	}
	err := h.ProcessTask(t.Context(), asynq.NewTask(queue.TaskType, []byte(`{"v":1,"request_id":17,"user_id":42}`)))
	if purge.ClassOf(err) != purge.Transient || errors.Is(err, asynq.SkipRetry) {
		t.Errorf("got %v, want another try", err)
	}
	if got := log.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "index out of range") ||
		!strings.Contains(got, "task_test.go") {
		t.Errorf("the log says %s, want one line that leads here", got)
	}
}

// TestTasksOfANewerVersionAreNotifiedOnce, however often they are tried.
func TestTasksOfANewerVersionAreNotifiedOnce(t *testing.T) {
	t.Parallel()
	var log sandboxtest.Buffer
	h := &queue.Handler{Log: slog.New(slog.NewTextHandler(&log, nil))}
	for range 50 {
		if err := h.ProcessTask(t.Context(), asynq.NewTask(queue.TaskType, []byte(`{"v":99}`))); err == nil {
			t.Fatal("got nil")
		}
	}
	if got := strings.Count(log.String(), "newer worker"); got != 1 {
		t.Errorf("got %d lines, want one a minute", got)
	}
}

// TestATaskOfANewerVersionIsMadeAnewAtTheEnd: nothing that was accepted is lost, and a task of no request goes.
func TestATaskOfANewerVersionIsMadeAnewAtTheEnd(t *testing.T) {
	t.Parallel()
	rdb := newRedis(t)
	client := asynq.NewClientFromRedisClient(rdb)
	for _, id := range []string{"purge:42", "purge:43"} {
		_, err := client.Enqueue(asynq.NewTask(queue.TaskType, []byte(`{"v":99}`)), asynq.Queue(queue.Live), asynq.TaskID(id),
			asynq.MaxRetry(1_000_000))
		if err != nil {
			t.Fatal(err)
		}
	}
	purged := make(chan purge.Task, 2)
	h := &queue.Handler{
		Log: quiet, NewerTries: 2,
		Purger: purgerFunc(func(_ context.Context, task purge.Task) (purge.Result, error) {
			purged <- task
			return purge.Result{State: purge.Done}, nil
		}),
	}
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() {
		cfg := fastServer
		cfg.RetryBase, cfg.RetryCap = time.Millisecond, time.Millisecond
		served <- queue.Serve(ctx, rdb, cfg, h, quiet)
	}()
	defer func() {
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
	}()
	sandboxtest.Eventually(t, "both tasks are archived", func() bool { return depth(t, rdb).Archived == 2 })
	keeper := inspect.NewKeeper(rdb, taskSettings)
	if n, err := keeper.Clean(t.Context()); err != nil || n != 2 {
		t.Fatalf("got %d, %v; want both removed", n, err)
	}
	missing, err := keeper.Missing(t.Context(), []purge.OpenRequest{{Request: 1, User: 42}})
	if err != nil || len(missing) != 1 {
		t.Fatalf("got %v, %v; want the open request", missing, err)
	}
	if err := keeper.Restore(t.Context(), missing); err != nil {
		t.Fatal(err)
	}
	if got := sandboxtest.Receive(t, "the request is served", purged); got.Request != 1 || got.User != 42 {
		t.Errorf("got %+v", got)
	}
}

func TestATaskCarriesTheTraceOfWhoAsked(t *testing.T) {
	t.Parallel()
	const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	rdb := newRedis(t)
	enqueue(t, rdb, purge.Task{Request: 1, User: 42, Trace: parent}, purge.Task{Request: 2, User: 43})
	inspector := asynq.NewInspectorFromRedisClient(rdb)
	for id, want := range map[string]string{"purge:42": parent, "purge:43": ""} {
		info, err := inspector.GetTaskInfo(queue.Live, id)
		if err != nil || info.Headers["traceparent"] != want || len(info.Headers) > 1 ||
			strings.Contains(string(info.Payload), "trace") {
			t.Errorf("%s: got %+v, %v", id, info, err)
		}
	}
}

func TestACertificateHasATaskOfItsOwn(t *testing.T) {
	t.Parallel()
	rdb := newRedis(t)
	tasks := []purge.Task{
		{Request: 1, User: 42},
		{Request: 2, User: 42, Certificate: 7},
		{Request: 3, User: 42, Certificate: 8},
		{Request: 4, User: 427},
	}
	enqueue(t, rdb, tasks...)
	if got := depth(t, rdb); got.Pending != len(tasks) {
		t.Errorf("got %+v, want %d tasks", got, len(tasks))
	}
	keeper := inspect.NewKeeper(rdb, taskSettings)
	missing, err := keeper.Missing(t.Context(), []purge.OpenRequest{
		{Request: 2, User: 42, Certificate: 7, Source: purge.SourceBackfill},
		{Request: 5, User: 42, Certificate: 9, Source: purge.SourceBackfill},
	})
	if err != nil || len(missing) != 1 || missing[0].Request != 5 {
		t.Errorf("got %+v, %v; want request 5, whose certificate has no task", missing, err)
	}
}

func TestALogLineNamesTheCertificate(t *testing.T) {
	t.Parallel()
	for payload, want := range map[string]bool{
		`{"v":1,"request_id":17,"user_id":42}`: false, `{"v":2,"request_id":17,"user_id":42,"certificate_id":9}`: true,
	} {
		for _, fails := range []error{nil, errors.New("later")} {
			var lines strings.Builder
			h := &queue.Handler{
				Log: slog.New(slog.NewTextHandler(&lines, nil)),
				Purger: purgerFunc(func(context.Context, purge.Task) (purge.Result, error) {
					return purge.Result{State: purge.Done},
						fails
				}),
			}
			_ = h.ProcessTask(t.Context(), asynq.NewTask(queue.TaskType, []byte(payload))) // the line is looked at
			if got := strings.Contains(lines.String(), "certificate_id=9"); got != want ||
				!strings.Contains(lines.String(), "user_id=42") {
				t.Errorf("%s: got %s", payload, lines.String())
			}
		}
	}
}

func TestUserOfReadsOurIDsOnly(t *testing.T) {
	t.Parallel()
	user, set := purge.Task{Request: 17, User: 42}, purge.Task{Request: 18, Certificate: 7}
	one := purge.Task{Request: 19, User: 43, Certificate: 9}
	for id, want := range map[string]purge.UserID{
		queue.TaskID(user): 42, queue.FollowUpID(user): 42, queue.TaskID(one): 43, queue.FollowUpID(one): 43,
		queue.TaskID(set): 0, queue.FollowUpID(set): 0,
	} {
		if got, ours := queue.UserOf(id); got != want || !ours {
			t.Errorf("%s: got %d, ours %v; want %d", id, got, ours, want)
		}
	}
	for _, id := range []string{
		"", "purge", "purge:", "purge:0", "purge:-1", "purge:042", "purge:42\n", "purge:99999999999999", "purge:42:c", "purge:42:c0",
		"purge:42:x", "purge:42:", "purge:0:17", "purge:alice@example.org", "x:42", "xpurge:42", "purge:42:c9:5:6",
		"purge:42:c99999999999999999999",
	} {
		if user, ours := queue.UserOf(id); ours {
			t.Errorf("%q: got user %d, want a foreign ID", id, user)
		}
	}
}
