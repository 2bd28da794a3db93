package queue_test

import (
	"context"
	"encoding/json"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/queue/inspect"
	"github.com/certpurge/certpurge/internal/queue/queuetest"
	"github.com/certpurge/certpurge/internal/sandbox/sandboxtest"
)

// TestAnOlderQueueIsServed starts a server on what the program of 33d1d0c had in Redis: the tasks of users 1 completed,
// 2 archived, 3 waiting for a retry, 42 active in a worker that is gone, and with a follow-up, and 5 pending.
// testdata/queue.json is a copy of its keys.
func TestAnOlderQueueIsServed(t *testing.T) {
	t.Parallel()
	rdb := queuetest.NewRedis(t)
	restore(t, rdb, "testdata/queue.json")
	if got, want := queuetest.Depth(t, rdb), (inspect.Depth{
		Queue: "purge", Pending: 1, Active: 1, Retry: 1, Scheduled: 1, Completed: 1, Archived: 1,
	}); got != want {
		t.Fatalf("got %+v, want %+v", got, want)
	}
	for user, request := range map[purge.UserID]purge.RequestID{3: 3, 42: 17, 5: 5} {
		open := []purge.OpenRequest{{Request: request, User: user}}
		missing, err := inspect.NewKeeper(rdb, queuetest.TaskSettings).Missing(t.Context(), open)
		if err != nil || len(missing) > 0 {
			t.Errorf("user %d: got %v, %v; want its task found", user, missing, err)
		}
	}
	for _, set := range []string{"retry", "scheduled"} { // the time has come
		for _, task := range rdb.ZRange(t.Context(), "asynq:{purge}:"+set, 0, -1).Val() {
			if err := rdb.ZAdd(t.Context(), "asynq:{purge}:"+set, redis.Z{Score: 1, Member: task}).Err(); err != nil {
				t.Fatal(err)
			}
		}
	}
	var mu sync.Mutex
	var served []purge.Task
	queuetest.Serve(t, rdb, queuetest.FastServer, queuetest.Quiet,
		queuetest.PurgerFunc(func(_ context.Context, task purge.Task) (purge.Result, error) {
			mu.Lock()
			defer mu.Unlock()
			served = append(served, task)
			return purge.Result{State: purge.Done}, nil
		}))
	want := []purge.Task{
		{Request: 3, User: 3}, {Request: 5, User: 5}, {Request: 17, User: 42}, {Request: 18, User: 42},
	}
	sandboxtest.Eventually(t, "the four tasks are served", func() bool {
		mu.Lock()
		defer mu.Unlock()
		slices.SortFunc(served, func(a, b purge.Task) int { return int(a.Request - b.Request) })
		return slices.Equal(served, want)
	})
}

// restore writes keys as a file describes them; the lease of an active task has run out.
func restore(t *testing.T, rdb redis.UniversalClient, file string) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var keys []struct {
		Key    string             `json:"key"`
		Hash   map[string][]byte  `json:"hash"`
		List   []string           `json:"list"`
		Set    []string           `json:"set"`
		Sorted map[string]float64 `json:"sorted"`
	}
	if err := json.Unmarshal(data, &keys); err != nil {
		t.Fatal(err)
	}
	_, err = rdb.Pipelined(t.Context(), func(p redis.Pipeliner) error {
		for _, k := range keys {
			for field, value := range k.Hash {
				p.HSet(t.Context(), k.Key, field, value)
			}
			for _, member := range k.List {
				p.RPush(t.Context(), k.Key, member)
			}
			for _, member := range k.Set {
				p.SAdd(t.Context(), k.Key, member)
			}
			for member, score := range k.Sorted {
				if k.Key == "asynq:{purge}:lease" {
					score = float64(time.Now().Add(-time.Hour).Unix())
				}
				p.ZAdd(t.Context(), k.Key, redis.Z{Score: score, Member: member})
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
