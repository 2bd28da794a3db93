package queue

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// registry is where asynq keeps the names of the queues that dashboard and metrics show.
const registry = "asynq:queues"

// Condition is how a queue is as a whole. Unlike Depths it can be read while a task is broken.
type Condition struct {
	Queue      string
	Used       bool // it has keys
	Registered bool // asynq knows it
	Paused     bool
	Archived   int64
	Completed  int64
}

// Conditions reads the condition of each of our queues.
func (d *Doctor) Conditions(ctx context.Context) ([]Condition, error) {
	all := make([]Condition, 0, len(Queues()))
	for _, name := range Queues() {
		var used, paused *redis.IntCmd
		var registered *redis.BoolCmd
		var archived, completed *redis.IntCmd
		_, err := d.Redis.Pipelined(ctx, func(p redis.Pipeliner) error {
			keys := make([]string, len(taskSets))
			for i, set := range taskSets {
				keys[i] = setKey(name, set)
			}
			used, paused = p.Exists(ctx, keys...), p.Exists(ctx, setKey(name, "paused"))
			registered = p.SIsMember(ctx, registry, name)
			archived, completed = p.ZCard(ctx, setKey(name, "archived")), p.ZCard(ctx, setKey(name, "completed"))
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("looking at queue %s: %w", name, err)
		}
		all = append(all, Condition{
			Queue: name, Used: used.Val() > 0, Registered: registered.Val(), Paused: paused.Val() > 0,
			Archived: archived.Val(), Completed: completed.Val(),
		})
	}
	return all, nil
}

// Register makes a queue known to asynq, as its client does once in the life of a process. It may be repeated.
func (d *Doctor) Register(ctx context.Context, queue string) error {
	if err := d.Redis.SAdd(ctx, registry, queue).Err(); err != nil {
		return fmt.Errorf("registering queue %s: %w", queue, err)
	}
	return nil
}

// Clock returns the time by Redis's clock.
func (d *Doctor) Clock(ctx context.Context) (time.Time, error) {
	now, err := d.Redis.Time(ctx).Result()
	if err != nil {
		return time.Time{}, fmt.Errorf("reading Redis's clock: %w", err)
	}
	return now, nil
}

// Version returns Redis's version; empty where the server does not tell.
func (d *Doctor) Version(ctx context.Context) string {
	info, err := d.Redis.Info(ctx, "server").Result()
	if err != nil {
		return "" // managed services may forbid INFO
	}
	for line := range strings.Lines(info) {
		if version, ok := strings.CutPrefix(strings.TrimSpace(line), "redis_version:"); ok {
			return version
		}
	}
	return ""
}

// OldVersion reports whether a version of Redis is below 6.2, the first with the commands that asynq uses. A version
// that is empty, or no version, is not.
func OldVersion(version string) bool {
	first, rest, _ := strings.Cut(version, ".")
	second, _, _ := strings.Cut(rest, ".")
	major, err := strconv.Atoi(first)
	if err != nil {
		return false
	}
	minor, err := strconv.Atoi(second)
	return err == nil && (major < 6 || major == 6 && minor < 2)
}
