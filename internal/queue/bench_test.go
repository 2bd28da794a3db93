package queue_test

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/certpurge/certpurge/internal/config"
	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/queue"
	"github.com/certpurge/certpurge/internal/sandbox/sandboxtest"
)

// BenchmarkEnqueue compares the ways to put tasks into a queue; an operation is one task. "EVALSHA" is what Redis and
// the network allow: commands made beforehand, in a pipeline or not, and nothing made of the answers.
func BenchmarkEnqueue(b *testing.B) {
	for _, way := range []struct {
		name string
		run  func(*testing.B, redis.UniversalClient, []purge.Task)
	}{
		{"EVALSHA/pipeline=1", func(b *testing.B, rdb redis.UniversalClient, tasks []purge.Task) {
			b.Helper()
			evalsha(b, rdb, tasks, 1)
		}},
		{"EVALSHA/pipeline=500", func(b *testing.B, rdb redis.UniversalClient, tasks []purge.Task) {
			b.Helper()
			evalsha(b, rdb, tasks, 500)
		}},
		{"callers=1", func(b *testing.B, rdb redis.UniversalClient, tasks []purge.Task) {
			b.Helper()
			oneByOne(b, rdb, tasks, 1)
		}},
		{"callers=32", func(b *testing.B, rdb redis.UniversalClient, tasks []purge.Task) {
			b.Helper()
			oneByOne(b, rdb, tasks, 32)
		}},
		{"batches", together},
		{"batches, all there", func(b *testing.B, rdb redis.UniversalClient, tasks []purge.Task) {
			b.Helper()
			together(b, rdb, tasks)
			b.ResetTimer()
			together(b, rdb, tasks)
		}},
	} {
		b.Run(way.name, func(b *testing.B) {
			rdb, err := queue.NewRedis(config.Redis{URL: config.NewSecret(sandboxtest.Redis(b))})
			if err != nil {
				b.Fatal(err)
			}
			defer rdb.Close()
			tasks := tasksOf(1, b.N, 0)
			b.ResetTimer()
			way.run(b, rdb, tasks)
			b.StopTimer()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "tasks/s")
		})
	}
}

func together(b *testing.B, rdb redis.UniversalClient, tasks []purge.Task) {
	b.Helper()
	if err := queue.NewClient(rdb, queue.Live, taskSettings).Enqueue(b.Context(), tasks); err != nil {
		b.Fatal(err)
	}
}

func oneByOne(b *testing.B, rdb redis.UniversalClient, tasks []purge.Task, callers int) {
	b.Helper()
	client := queue.NewClient(rdb, queue.Live, taskSettings)
	var next atomic.Int64
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			for n := next.Add(1) - 1; n < int64(len(tasks)); n = next.Add(1) - 1 {
				if err := client.Enqueue(b.Context(), tasks[n:n+1]); err != nil {
					b.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

// enqueueScript does what asynq's does.
const enqueueScript = `if redis.call("EXISTS", KEYS[1]) == 1 then return 0 end
redis.call("HSET", KEYS[1], "msg", ARGV[1], "state", "pending", "pending_since", ARGV[3])
redis.call("LPUSH", KEYS[2], ARGV[2])
return 1`

func evalsha(b *testing.B, rdb redis.UniversalClient, tasks []purge.Task, pipeline int) {
	b.Helper()
	sha, err := rdb.ScriptLoad(b.Context(), enqueueScript).Result()
	if err != nil {
		b.Fatal(err)
	}
	message := make([]byte, 104)
	commands := make([]redis.Cmder, len(tasks))
	for i, task := range tasks {
		id := queue.TaskID(task)
		commands[i] = redis.NewCmd(b.Context(), "evalsha", sha, 2, "asynq:{purge}:t:"+id, "asynq:{purge}:pending", message,
			id, time.Now().UnixNano())
	}
	b.ResetTimer()
	for first := 0; first < len(commands); first += pipeline {
		p := rdb.Pipeline()
		if err := p.BatchProcess(b.Context(), commands[first:min(first+pipeline, len(commands))]...); err != nil {
			b.Fatal(err)
		}
		if _, err := p.Exec(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}
