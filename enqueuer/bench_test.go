package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/certpurge/certpurge/internal/config"
	"github.com/certpurge/certpurge/internal/queue"
	"github.com/certpurge/certpurge/internal/queue/inspect"
	"github.com/certpurge/certpurge/internal/sandbox/sandboxtest"
)

// BenchmarkBackfill runs the real command on many users, while the test takes their tasks away as workers would, and
// reports the process's peak of memory and the most tasks that waited.
func BenchmarkBackfill(b *testing.B) {
	binary, _ := sandboxtest.Binaries(b)
	numbers := []int{10_000, 100_000}
	if os.Getenv("BENCH_FULL") != "" {
		numbers = append(numbers, 1_000_000)
	}
	for _, n := range numbers {
		b.Run(fmt.Sprintf("users=%d", n), func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				c := newShell(b)
				c.addMany(n)
				ctx, cancel := context.WithCancel(b.Context())
				most, workers := 0, sync.WaitGroup{}
				workers.Go(func() { most = c.takeTasks(ctx) })
				cmd := exec.CommandContext(b.Context(), binary, "backfill", "--retired", "--execute", "--high-water", "5000")
				cmd.Env = c.environ
				b.StartTimer()
				out, err := cmd.CombinedOutput()
				b.StopTimer()
				cancel()
				workers.Wait()
				if err != nil {
					b.Fatalf("%v: %s", err, out)
				}
				var requests, users int
				query := "SELECT COUNT(*), COUNT(DISTINCT user_id) FROM " + c.db.Ledger + ".requests"
				if err := c.db.Root.QueryRowContext(b.Context(), query).Scan(&requests, &users); err != nil || requests != n ||
					users != n {
					b.Fatalf("got %d requests of %d users, %v", requests, users, err)
				}
				if usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
					b.ReportMetric(float64(usage.Maxrss)/1024, "peak-MiB")
				}
				b.ReportMetric(float64(most), "most-waiting")
				b.StartTimer()
			}
			b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "users/s")
		})
	}
}

// takeTasks empties the queue of backfills until ctx ends, and returns the most tasks that it saw waiting.
func (c *shell) takeTasks(ctx context.Context) (most int) {
	rdb, err := queue.NewRedis(config.Redis{URL: config.NewSecret(strings.TrimPrefix(c.environ[2],
		"CERTPURGE_REDIS_URL="))})
	if err != nil {
		c.t.Error(err)
		return 0
	}
	defer rdb.Close()
	const key = "asynq:{" + queue.Backfill + "}:"
	for ctx.Err() == nil {
		waiting, err := inspect.Waiting(ctx, rdb, queue.Backfill, time.Now())
		if err != nil {
			continue // ctx has ended
		}
		most = max(most, waiting)
		ids, err := rdb.RPopCount(ctx, key+"pending", 200).Result()
		if err != nil {
			continue // empty
		}
		for i, id := range ids {
			ids[i] = key + "t:" + id
		}
		_ = rdb.Del(ctx, ids...) // what is left of them is only memory
	}
	return most
}
