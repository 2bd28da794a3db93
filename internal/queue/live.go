package queue

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"github.com/certpurge/certpurge/internal/config"
	"github.com/certpurge/certpurge/internal/purge"
)

// Keeper looks after the queues for the reconciler: it finds what is missing in Redis, puts it back, and keeps asynq's
// archive, which drops tasks silently, empty.
type Keeper struct {
	redis     redis.UniversalClient
	inspector *asynq.Inspector
	clients   map[string]*Client
}

// NewKeeper makes a Keeper on a connection pool that the caller closes. A request goes into the queue of its source.
func NewKeeper(rdb redis.UniversalClient, tasks config.Tasks) *Keeper {
	k := &Keeper{redis: rdb, inspector: asynq.NewInspectorFromRedisClient(rdb), clients: map[string]*Client{}}
	for _, name := range Queues() {
		k.clients[name] = NewClient(rdb, name, tasks)
	}
	return k
}

// queueOf is the queue that requests of a source go into.
func queueOf(source purge.Source) string {
	if source == purge.SourceBackfill || source == purge.SourceOrphans {
		return Backfill
	}
	return Live
}

// Missing returns those of the requests whose users have no task in any queue that will run. It reads the states in one
// pipeline, from asynq's own keys: asking its Inspector would take a round trip and a script for each.
func (k *Keeper) Missing(ctx context.Context, open []purge.OpenRequest) ([]purge.OpenRequest, error) {
	type look struct {
		state   *redis.StringCmd
		message *redis.BoolCmd
	}
	looks := make([][]look, len(open))
	_, err := k.redis.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i, r := range open {
			for _, name := range Queues() {
				for _, key := range []string{taskKey(name, TaskID(r.Task())), taskKey(name, followUpID(r.Task()))} {
					looks[i] = append(looks[i], look{p.HGet(ctx, key, "state"), p.HExists(ctx, key, "msg")})
				}
			}
		}
		return nil
	})
	if err != nil && !isAboutOneKey(err) {
		return nil, fmt.Errorf("looking for tasks: %w", err)
	}
	var missing []purge.OpenRequest
	for i, r := range open {
		live := false
		for _, l := range looks[i] {
			switch text, err := l.state.Result(); {
			case err != nil && !isAboutOneKey(err):
				return nil, fmt.Errorf("looking for tasks: %w", err)
			case !l.message.Val(): // a stump, left of a task whose hash was evicted: nothing can run it
			case text == "pending" || text == "active" || text == "scheduled" || text == "retry":
				live = true
			}
		}
		if !live {
			missing = append(missing, r)
		}
	}
	return missing, nil
}

// taskKey is where asynq keeps a task (internal/base.TaskKey of asynq v0.26.0; pinned by a contract test).
func taskKey(queue, id string) string { return "asynq:{" + queue + "}:t:" + id }

// Restore puts a task for each request into the queue of its source.
func (k *Keeper) Restore(ctx context.Context, requests []purge.OpenRequest) error {
	tasks := map[string][]purge.Task{}
	for _, r := range requests {
		name := queueOf(r.Source)
		tasks[name] = append(tasks[name], r.Task())
	}
	for _, name := range Queues() {
		if err := k.clients[name].Enqueue(ctx, tasks[name]); err != nil {
			return err
		}
	}
	return nil
}

// Pending is the number of tasks that wait in all queues. It counts asynq's own lists, because the Inspector's figures
// are not to be had while a single task's hash is missing.
func (k *Keeper) Pending(ctx context.Context) (int, error) {
	pending := 0
	for _, name := range Queues() {
		n, err := k.redis.LLen(ctx, "asynq:{"+name+"}:pending").Result()
		if err != nil {
			return 0, fmt.Errorf("counting waiting tasks: %w", err)
		}
		pending += int(n)
	}
	return pending, nil
}

// Clean removes what no worker will ever run: archived tasks, and tasks that a loss of keys has left half-way. Their
// requests are restored like any that has no task. It returns how many there were.
func (k *Keeper) Clean(ctx context.Context) (int, error) {
	swept, err := k.SweepArchive(ctx)
	if err != nil {
		return swept, err
	}
	healed, err := k.heal(ctx)
	return swept + healed, err
}

// healLimit is how many waiting tasks there may be for the queues to be looked through; the look reads every one.
const healLimit = 10_000

// healPause is the time between the two looks. A task that moves meanwhile is well.
const healPause = 2 * time.Second

// heal forgets broken tasks (see Doctor). Under a large backlog it waits until that has become smaller.
func (k *Keeper) heal(ctx context.Context) (int, error) {
	if pending, err := k.Pending(ctx); err != nil || pending > healLimit {
		return 0, err
	}
	doctor := Doctor{Redis: k.redis, Wait: func(ctx context.Context) error {
		timer := time.NewTimer(healPause)
		defer timer.Stop()
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-timer.C:
			return nil
		}
	}}
	broken, err := doctor.Examine(ctx)
	healed := 0
	for _, b := range broken {
		n, mendErr := doctor.Mend(ctx, b)
		healed += n
		if err == nil {
			err = mendErr
		}
	}
	return healed, err
}

// archivePage is how many archived tasks are taken at a time, far below what blocks Redis.
const archivePage = 100

// SweepArchive removes archived tasks, page by page: those that no request stands behind for good, the others to make
// room, because their requests are still open in the ledger and will be restored. It returns how many there were.
func (k *Keeper) SweepArchive(ctx context.Context) (int, error) {
	swept := 0
	known, err := k.inspector.Queues()
	if err != nil {
		return 0, fmt.Errorf("listing queues: %w", err)
	}
	for _, name := range known {
		if k.clients[name] == nil {
			continue // somebody else's queue in the same Redis
		}
		for ctx.Err() == nil {
			page, err := k.inspector.ListArchivedTasks(name, asynq.PageSize(archivePage))
			if err != nil {
				return swept, fmt.Errorf("listing archived tasks of queue %s: %w", name, err)
			}
			for _, t := range page {
				if err := k.inspector.DeleteTask(name, t.ID); err != nil && !errors.Is(err, asynq.ErrTaskNotFound) {
					return swept, fmt.Errorf("removing an archived task of queue %s: %w", name, err)
				}
				swept++
			}
			if len(page) < archivePage {
				break
			}
		}
	}
	return swept, ctx.Err()
}
