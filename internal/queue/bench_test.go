package queue_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/queue"
	"github.com/certpurge/certpurge/internal/sandbox/sandboxtest"
)

// benchRedis gives the benchmark a database of its own.
func benchRedis(b *testing.B) redis.UniversalClient {
	b.Helper()
	rdb, err := queue.NewRedis(sandboxtest.Redis(b))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = rdb.Close() })
	return rdb
}

// evalsha is what asynq does to enqueue a task, as redis-benchmark would: nothing is encoded, nothing is made of the answer.
const evalsha = `if redis.call("EXISTS", KEYS[1]) == 1 then return 0 end
redis.call("HSET", KEYS[1], "msg", ARGV[1], "state", "pending", "pending_since", ARGV[3])
redis.call("LPUSH", KEYS[2], ARGV[2])
return 1`

// BenchmarkEnqueue compares the ways to put new tasks into a queue; an operation is one task.
func BenchmarkEnqueue(b *testing.B) {
	newTask := func() func() purge.Task {
		var last atomic.Int64
		return func() purge.Task {
			n := last.Add(1)
			return purge.Task{Request: purge.RequestID(n), User: purge.UserID(n)}
		}
	}
	run := func(name string, f func(b *testing.B, rdb redis.UniversalClient, next func() purge.Task)) {
		b.Run(name, func(b *testing.B) {
			rdb := benchRedis(b)
			next := newTask()
			b.ReportAllocs()
			b.ResetTimer()
			f(b, rdb, next)
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "tasks/s")
		})
	}
	client := func(rdb redis.UniversalClient) *queue.Client { return queue.NewClient(rdb, clientConfig) }
	run("one by one", func(b *testing.B, rdb redis.UniversalClient, next func() purge.Task) {
		b.Helper()
		c := client(rdb)
		for range b.N {
			if err := c.Enqueue(b.Context(), []purge.Task{next()}); err != nil {
				b.Fatal(err)
			}
		}
	})
	run("32 goroutines", func(b *testing.B, rdb redis.UniversalClient, next func() purge.Task) {
		b.Helper()
		c := client(rdb)
		var wg sync.WaitGroup
		var done atomic.Int64
		for range 32 {
			wg.Go(func() {
				for done.Add(1) <= int64(b.N) {
					if err := c.Enqueue(b.Context(), []purge.Task{next()}); err != nil {
						b.Error(err)
					}
				}
			})
		}
		wg.Wait()
	})
	run("batched", func(b *testing.B, rdb redis.UniversalClient, next func() purge.Task) {
		b.Helper()
		c := client(rdb)
		tasks := make([]purge.Task, b.N)
		for i := range tasks {
			tasks[i] = next()
		}
		b.ResetTimer()
		if err := c.Enqueue(b.Context(), tasks); err != nil {
			b.Fatal(err)
		}
	})
	run("batched, again", func(b *testing.B, rdb redis.UniversalClient, next func() purge.Task) {
		b.Helper()
		c := client(rdb)
		tasks := make([]purge.Task, b.N)
		for i := range tasks {
			tasks[i] = next()
		}
		if err := c.Enqueue(b.Context(), tasks); err != nil {
			b.Fatal(err)
		}
		b.ResetTimer()
		if err := c.Enqueue(b.Context(), tasks); err != nil {
			b.Fatal(err)
		}
	})
	run("EVALSHA pipelined", func(b *testing.B, rdb redis.UniversalClient, next func() purge.Task) {
		b.Helper()
		sha, err := rdb.ScriptLoad(b.Context(), evalsha).Result()
		if err != nil {
			b.Fatal(err)
		}
		msg := make([]byte, 104)
		now := time.Now().UnixNano()
		b.ResetTimer()
		for left := b.N; left > 0; left -= 500 {
			_, err := rdb.Pipelined(b.Context(), func(p redis.Pipeliner) error {
				for range min(500, left) {
					id := queue.TaskID(next().User)
					p.EvalSha(context.Background(), sha, []string{"asynq:{purge}:t:" + id, "asynq:{purge}:pending"}, msg, id, now)
				}
				return nil
			})
			if err != nil {
				b.Fatal(err)
			}
		}
	})
}
