package inspect

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"maps"
	"slices"

	"github.com/redis/go-redis/v9"

	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/queue"
)

// Kind is a state in which asynq leaves a task when Redis loses a key, or when a script of asynq is interrupted. asynq
// leaves none of these states by itself.
type Kind string

// The kinds of faults. The same helps against each: drop the task, the reconciler makes a new one from the ledger.
const (
	Unlisted  Kind = "task_in_no_list"      // the task ID stays taken, and the task never runs
	NoLease   Kind = "active_without_lease" // no worker has the task, and asynq recovers tasks by their leases only
	NoTask    Kind = "id_without_task"      // asynq's statistics of the queue fail
	NoMessage Kind = "task_without_message" // left when a worker dequeues a NoTask; counts as active for ever
)

// Fault is the set of tasks of one queue that have one kind of fault.
type Fault struct {
	Kind  Kind
	Queue string
	IDs   []string
	More  bool // the queue has more faults than one call returns
}

// maxFaults limits the faults of one queue that one call returns. The rest is found once these are dropped.
const maxFaults = 10_000

// Faults returns the tasks of our queues that asynq cannot run. It reads every task, page by page.
func Faults(ctx context.Context, rdb redis.UniversalClient) ([]Fault, error) {
	var all []Fault
	for _, name := range queue.Queues() {
		kinds := map[string]Kind{}
		err := suspects(ctx, rdb, name, func(id string) error {
			kind, err := examine(ctx, rdb, name, id)
			if kind != "" {
				kinds[id] = kind
			}
			if err == nil && len(kinds) >= maxFaults {
				return errTooMany
			}
			return err
		})
		if err != nil && !errors.Is(err, errTooMany) {
			return nil, fmt.Errorf("searching queue %s for faults: %w", name, err)
		}
		for _, kind := range []Kind{Unlisted, NoLease, NoTask, NoMessage} {
			f := Fault{Kind: kind, Queue: name, More: err != nil}
			for _, id := range slices.Sorted(maps.Keys(kinds)) {
				if kinds[id] == kind {
					f.IDs = append(f.IDs, id)
				}
			}
			if len(f.IDs) > 0 {
				all = append(all, f)
			}
		}
	}
	return all, nil
}

var errTooMany = errors.New("too many faults")

// suspects calls check for each task that may have a fault. Tasks move between the reads, so most suspects of a busy
// queue have none. It keeps a hash of eight bytes per task in memory.
func suspects(ctx context.Context, rdb redis.UniversalClient, name string, check func(id string) error) error {
	seed, listed := maphash.MakeSeed(), map[uint64]struct{}{}
	for _, set := range taskSets {
		for ids, err := range members(ctx, rdb, name, set) {
			if err != nil {
				return err
			}
			messages, leases := make([]*redis.BoolCmd, len(ids)), (*redis.FloatSliceCmd)(nil)
			_, err := rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
				for i, id := range ids {
					messages[i] = p.HExists(ctx, taskKey(name, id), "msg")
				}
				leases = p.ZMScore(ctx, SetKey(name, "lease"), ids...)
				return nil
			})
			if err != nil && !isAboutOneKey(err) {
				return err
			}
			for i, id := range ids {
				if set != "lease" {
					listed[maphash.String(seed, id)] = struct{}{}
				}
				leased := i < len(leases.Val()) && leases.Val()[i] != 0
				if messages[i].Val() && (leased || set != "active") {
					continue
				}
				if err := check(id); err != nil {
					return err
				}
			}
		}
	}
	for ids, err := range taskIDs(ctx, rdb, name) {
		if err != nil {
			return err
		}
		for _, id := range ids {
			if _, ok := listed[maphash.String(seed, id)]; ok {
				continue
			}
			if err := check(id); err != nil {
				return err
			}
		}
	}
	return nil
}

// examine returns the fault of a task, or "". It reads the task and all sets in one transaction, and each script of
// asynq is atomic, so it never sees a task on its way from one set to another.
func examine(ctx context.Context, rdb redis.UniversalClient, name, id string) (Kind, error) {
	var exists *redis.IntCmd
	var message *redis.BoolCmd
	in := map[string]redis.Cmder{}
	cmds, _ := rdb.TxPipelined(ctx, func(p redis.Pipeliner) error { // each command carries its own error
		exists, message = p.Exists(ctx, taskKey(name, id)), p.HExists(ctx, taskKey(name, id), "msg")
		for _, set := range taskSets {
			if isList(set) {
				in[set] = p.LPos(ctx, SetKey(name, set), id, redis.LPosArgs{})
			} else {
				in[set] = p.ZScore(ctx, SetKey(name, set), id)
			}
		}
		return nil
	})
	for _, cmd := range cmds {
		if err := cmd.Err(); err != nil && !isAboutOneKey(err) {
			return "", err
		}
	}
	has := func(set string) bool { return in[set].Err() == nil }
	leased, listed := has("lease"), slices.ContainsFunc(taskSets,
		func(set string) bool { return set != "lease" && has(set) })
	switch {
	case exists.Val() == 0 && (listed || leased):
		return NoTask, nil
	case exists.Val() == 0:
		return "", nil
	case !message.Val():
		return NoMessage, nil
	case !listed:
		return Unlisted, nil
	case has("active") && !leased:
		return NoLease, nil
	}
	return "", nil
}

// Drop deletes all that Redis holds of the tasks. No request is lost: the reconciler makes a new task for each open
// one. A task that a worker has taken in the meantime may so run twice, which the ledger allows for.
func (f Fault) Drop(ctx context.Context, rdb redis.UniversalClient) error {
	for page := range slices.Chunk(f.IDs, pageSize) {
		_, err := rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
			for _, id := range page {
				for _, set := range taskSets { // pending before active, in the direction in which tasks move
					if isList(set) {
						p.LRem(ctx, SetKey(f.Queue, set), 0, id)
					} else {
						p.ZRem(ctx, SetKey(f.Queue, set), id)
					}
				}
				p.Unlink(ctx, taskKey(f.Queue, id))
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("dropping tasks of queue %s: %w", f.Queue, err)
		}
	}
	return nil
}

// Users returns the users of the tasks, in order, and the number of IDs that are not ours. Those may hold anything, so
// they are not shown.
func (f Fault) Users() (users []purge.UserID, foreign int) {
	for _, id := range f.IDs {
		if user, ok := queue.UserOf(id); ok {
			users = append(users, user)
		} else {
			foreign++
		}
	}
	slices.Sort(users)
	return slices.Compact(users), foreign
}
