package queue

import (
	"fmt"
	"slices"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"
)

// Depth is how many tasks of a queue are in which state.
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

// Depths reads the depth of every queue; a queue that was never used is empty.
func Depths(rdb redis.UniversalClient) ([]Depth, error) {
	inspector := asynq.NewInspectorFromRedisClient(rdb)
	known, err := inspector.Queues()
	if err != nil {
		return nil, fmt.Errorf("listing queues: %w", err)
	}
	all := make([]Depth, 0, len(Queues()))
	for _, name := range Queues() {
		if !slices.Contains(known, name) { // asking for it would be an error that cannot be told from others
			all = append(all, Depth{Queue: name})
			continue
		}
		info, err := inspector.GetQueueInfo(name)
		if err != nil {
			return nil, fmt.Errorf("inspecting queue %s: %w", name, err)
		}
		all = append(all, Depth{
			Queue: name, Pending: info.Pending, Active: info.Active, Retry: info.Retry, Scheduled: info.Scheduled,
			Completed: info.Completed, Archived: info.Archived, Paused: info.Paused,
		})
	}
	return all, nil
}
