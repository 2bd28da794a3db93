// Package inspect reads the queues in Redis, checks that they can be used, finds tasks that asynq cannot run, and makes
// the queues agree with the ledger. It never repairs a task: it drops what is broken, and makes new tasks for the open
// requests that have none.
//
// It reads asynq's own keys (internal/base of asynq v0.26.0, pinned by the tests) where asynq's Inspector fails or is
// slow, and touches the queues of certpurge only.
package inspect

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"github.com/certpurge/certpurge/internal/queue"
)

// Depth is the number of tasks of a queue in each state.
type Depth struct {
	Queue     string `json:"queue"`
	Pending   int    `json:"pending"`
	Active    int    `json:"active"`
	Retry     int    `json:"retry"`
	Scheduled int    `json:"scheduled"`
	Completed int    `json:"completed"`
	Archived  int    `json:"archived"`
	Paused    bool   `json:"paused"`
}

// Size is the number of all tasks.
func (d Depth) Size() int {
	return d.Pending + d.Active + d.Retry + d.Scheduled + d.Completed + d.Archived
}

// Depths counts the tasks of each of our queues by the lengths of asynq's own sets, so it also works while a task has
// a fault; see Statistics.
func Depths(ctx context.Context, rdb redis.UniversalClient) ([]Depth, error) {
	all := make([]Depth, 0, len(queue.Queues()))
	for _, name := range queue.Queues() {
		counts := map[string]*redis.IntCmd{}
		_, err := rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
			for _, set := range taskSets {
				counts[set] = Count(ctx, p, name, set)
			}
			counts["paused"] = p.Exists(ctx, SetKey(name, "paused"))
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("counting the tasks of queue %s: %w", name, err)
		}
		of := func(set string) int { return int(counts[set].Val()) }
		all = append(all, Depth{
			Queue: name, Pending: of("pending"), Active: of("active"), Retry: of("retry"), Scheduled: of("scheduled"),
			Completed: of("completed"), Archived: of("archived"), Paused: of("paused") > 0,
		})
	}
	return all, nil
}

// Count is the number of tasks in one of a queue's sets, such as "pending".
func Count(ctx context.Context, rdb redis.Cmdable, name, set string) *redis.IntCmd {
	if isList(set) {
		return rdb.LLen(ctx, SetKey(name, set))
	}
	return rdb.ZCard(ctx, SetKey(name, set))
}

// Statistics returns an error where asynq's own statistics, and so the dashboard and asynq's metrics, fail.
func Statistics(rdb redis.UniversalClient) error {
	inspector := asynq.NewInspectorFromRedisClient(rdb)
	known, err := inspector.Queues()
	if err != nil {
		return fmt.Errorf("listing queues: %w", err)
	}
	for _, name := range queue.Queues() {
		if !slices.Contains(known, name) {
			continue // never used
		}
		if _, err := inspector.GetQueueInfo(name); err != nil {
			return fmt.Errorf("inspecting queue %s: %w", name, err)
		}
	}
	return nil
}

// soon is how far ahead a task's next attempt may be for the task to count as waiting.
const soon = time.Hour

// Waiting is the number of tasks of a queue that wait for a worker: now, or with their next attempt within the hour.
// Tasks that wait for a later date, such as the end of a retention, are not counted: they would hold back all others
// until then.
func Waiting(ctx context.Context, rdb redis.UniversalClient, name string, now time.Time) (int, error) {
	limit := strconv.FormatInt(now.Add(soon).Unix(), 10)
	var counts [3]*redis.IntCmd
	_, err := rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		counts[0] = p.LLen(ctx, SetKey(name, "pending"))
		counts[1] = p.ZCount(ctx, SetKey(name, "retry"), "-inf", limit)
		counts[2] = p.ZCount(ctx, SetKey(name, "scheduled"), "-inf", limit)
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("counting waiting tasks: %w", err)
	}
	return int(counts[0].Val() + counts[1].Val() + counts[2].Val()), nil
}

// Unregistered returns the queues that have tasks and that asynq does not list.
func Unregistered(ctx context.Context, rdb redis.UniversalClient) ([]string, error) {
	known, err := rdb.SMembers(ctx, registry).Result()
	if err != nil {
		return nil, fmt.Errorf("listing queues: %w", err)
	}
	depths, err := Depths(ctx, rdb)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, d := range depths {
		if d.Size() > 0 && !slices.Contains(known, d.Queue) {
			names = append(names, d.Queue)
		}
	}
	return names, nil
}

// Register adds a queue to asynq's list, as asynq's client does once in the life of a process.
func Register(ctx context.Context, rdb redis.UniversalClient, name string) error {
	if err := rdb.SAdd(ctx, registry, name).Err(); err != nil {
		return fmt.Errorf("registering queue %s: %w", name, err)
	}
	return nil
}

// Resume lets workers pull tasks from a queue that was paused. It does nothing to one that runs.
func Resume(rdb redis.UniversalClient, name string) error {
	if err := asynq.NewInspectorFromRedisClient(rdb).UnpauseQueue(name); err != nil {
		return fmt.Errorf("resuming queue %s: %w", name, err)
	}
	return nil
}
