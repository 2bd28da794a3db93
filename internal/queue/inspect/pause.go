package inspect

import (
	"fmt"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"
)

// Resume lets workers pull tasks from a queue that was paused. It does nothing to one that runs.
func Resume(rdb redis.UniversalClient, name string) error {
	if err := asynq.NewInspectorFromRedisClient(rdb).UnpauseQueue(name); err != nil {
		return fmt.Errorf("resuming queue %s: %w", name, err)
	}
	return nil
}
