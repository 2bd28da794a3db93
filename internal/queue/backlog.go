package queue

import (
	"context"
	"fmt"

	"github.com/redis/go-redis/v9"
)

// Backlog counts the tasks of each of our queues by the lengths of asynq's own lists, which no broken task can spoil.
// Depths asks asynq itself, and fails where the dashboard and the metrics of asynq fail too.
func Backlog(ctx context.Context, rdb redis.UniversalClient) ([]Depth, error) {
	all := make([]Depth, 0, len(Queues()))
	for _, name := range Queues() {
		counts, paused := map[string]*redis.IntCmd{}, (*redis.IntCmd)(nil)
		_, err := rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
			for _, set := range taskSets {
				if set == "pending" || set == "active" {
					counts[set] = p.LLen(ctx, setKey(name, set))
				} else {
					counts[set] = p.ZCard(ctx, setKey(name, set))
				}
			}
			paused = p.Exists(ctx, setKey(name, "paused"))
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("counting the tasks of queue %s: %w", name, err)
		}
		of := func(set string) int { return int(counts[set].Val()) }
		all = append(all, Depth{
			Queue: name, Pending: of("pending"), Active: of("active"), Retry: of("retry"), Scheduled: of("scheduled"),
			Completed: of("completed"), Archived: of("archived"), Paused: paused.Val() > 0,
		})
	}
	return all, nil
}
