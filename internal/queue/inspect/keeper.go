package inspect

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"github.com/certpurge/certpurge/internal/config"
	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/queue"
)

// Keeper makes the queues agree with the ledger, for the reconciler: it drops the tasks that no worker will ever run,
// and makes a new one for each open request that has none.
type Keeper struct {
	redis     redis.UniversalClient
	inspector *asynq.Inspector
	clients   map[string]*queue.Client
}

// NewKeeper makes a Keeper on a connection pool that the caller closes.
func NewKeeper(rdb redis.UniversalClient, tasks config.Tasks) *Keeper {
	k := &Keeper{redis: rdb, inspector: asynq.NewInspectorFromRedisClient(rdb), clients: map[string]*queue.Client{}}
	for _, name := range queue.Queues() {
		k.clients[name] = queue.NewClient(rdb, name, tasks)
	}
	return k
}

// queueOf is the queue that requests of a source go into.
func queueOf(source purge.Source) string {
	if source == purge.SourceBackfill || source == purge.SourceOrphans {
		return queue.Backfill
	}
	return queue.Live
}

// Sources are those of the requests that go into a queue.
func Sources(queue string) []purge.Source {
	return slices.DeleteFunc(purge.Sources(), func(s purge.Source) bool { return queueOf(s) != queue })
}

// Missing returns the requests that have no task that will run, in any queue. It reads asynq's own keys, in one
// pipeline: the Inspector would take a round trip and a script for each.
func (k *Keeper) Missing(ctx context.Context, open []purge.OpenRequest) ([]purge.OpenRequest, error) {
	type task struct {
		state   *redis.StringCmd
		message *redis.BoolCmd
	}
	tasks := make([][]task, len(open))
	cmds, _ := k.redis.Pipelined(ctx, func(p redis.Pipeliner) error { // each command carries its own error
		for i, r := range open {
			for _, name := range queue.Queues() {
				for _, id := range []string{queue.TaskID(r.Task()), queue.FollowUpID(r.Task())} {
					key := taskKey(name, id)
					tasks[i] = append(tasks[i], task{p.HGet(ctx, key, "state"), p.HExists(ctx, key, "msg")})
				}
			}
		}
		return nil
	})
	for _, cmd := range cmds {
		if err := cmd.Err(); err != nil && !isAboutOneKey(err) {
			return nil, fmt.Errorf("reading tasks: %w", err)
		}
	}
	var missing []purge.OpenRequest
	for i, r := range open {
		if !slices.ContainsFunc(tasks[i], func(t task) bool {
			return t.message.Val() && slices.Contains([]string{"pending", "active", "scheduled", "retry"}, t.state.Val())
		}) {
			missing = append(missing, r)
		}
	}
	return missing, nil
}

// Restore puts a task for each request into the queue of its source.
func (k *Keeper) Restore(ctx context.Context, requests []purge.OpenRequest) error {
	tasks := map[string][]purge.Task{}
	for _, r := range requests {
		name := queueOf(r.Source)
		tasks[name] = append(tasks[name], r.Task())
	}
	for _, name := range queue.Queues() {
		if err := k.clients[name].Enqueue(ctx, tasks[name]); err != nil {
			return err
		}
	}
	return nil
}

// Pending is the number of tasks that wait in all queues.
func (k *Keeper) Pending(ctx context.Context) (int, error) {
	depths, err := Depths(ctx, k.redis)
	pending := 0
	for _, d := range depths {
		pending += d.Pending
	}
	return pending, err
}

// faultLimit is how many tasks may wait for Clean to search for faults: the search reads every task.
const faultLimit = 10_000

// Clean drops what no worker will ever run: archived tasks, and tasks with a fault. Their requests get new tasks, as
// all open requests that have none. It returns the number of tasks dropped. While many tasks wait, those with a fault
// stay.
func (k *Keeper) Clean(ctx context.Context) (int, error) {
	dropped, err := k.EmptyArchive(ctx)
	if err != nil {
		return dropped, err
	}
	if pending, err := k.Pending(ctx); err != nil || pending > faultLimit {
		return dropped, err
	}
	faults, err := Faults(ctx, k.redis)
	for _, f := range faults {
		if err := f.Drop(ctx, k.redis); err != nil {
			return dropped, err
		}
		dropped += len(f.IDs)
	}
	return dropped, err
}

// EmptyArchive drops archived tasks, page by page, and returns their number. Some have no request. The requests of the
// others are still open in the ledger.
func (k *Keeper) EmptyArchive(ctx context.Context) (int, error) {
	dropped := 0
	for _, name := range queue.Queues() {
		for ids, err := range members(ctx, k.redis, name, "archived") {
			if err != nil {
				return dropped, fmt.Errorf("listing archived tasks of queue %s: %w", name, err)
			}
			for _, id := range ids {
				switch err := k.inspector.DeleteTask(name, id); {
				case err == nil:
					dropped++
				case !errors.Is(err, asynq.ErrTaskNotFound) && !errors.Is(err, asynq.ErrQueueNotFound):
					return dropped, fmt.Errorf("removing an archived task of queue %s: %w", name, err)
				}
			}
		}
	}
	return dropped, nil
}
