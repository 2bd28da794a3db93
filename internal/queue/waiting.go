package queue

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
)

// soon is how far ahead a task's next attempt may be for the task to count as waiting.
const soon = time.Hour

// Waiting is how many tasks of a queue wait for a worker: now, or with their next attempt within the hour. Those that
// wait for a later date, such as the end of a retention, are not counted: they would hold everybody else back until
// then. It counts asynq's own keys, because the Inspector's figures are not to be had while a single task's hash is
// missing.
func Waiting(ctx context.Context, rdb redis.UniversalClient, queue string, now time.Time) (int, error) {
	limit := strconv.FormatInt(now.Add(soon).Unix(), 10)
	var counts [3]*redis.IntCmd
	_, err := rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		counts[0] = p.LLen(ctx, "asynq:{"+queue+"}:pending")
		counts[1] = p.ZCount(ctx, "asynq:{"+queue+"}:retry", "-inf", limit)
		counts[2] = p.ZCount(ctx, "asynq:{"+queue+"}:scheduled", "-inf", limit)
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("counting waiting tasks: %w", err)
	}
	waiting := 0
	for _, c := range counts {
		waiting += int(c.Val())
	}
	return waiting, nil
}
