package queue

import (
	"context"
	"errors"
	"hash/maphash"
	"iter"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/certpurge/certpurge/internal/purge"
)

// taskSets are where asynq keeps the ids of a queue's tasks: two lists, then sorted sets, the leases last.
var taskSets = []string{"pending", "active", "scheduled", "retry", "archived", "completed", "lease"}

// setKey is where asynq keeps one of them (internal/base of asynq v0.26.0).
func setKey(queue, set string) string { return "asynq:{" + queue + "}:" + set }

const (
	doctorPage = 100    // ids looked at in one pipeline
	scanPage   = 1000   // keys that one SCAN looks at
	maxSuspect = 10_000 // tasks of one queue that are kept in mind; the rest is found once these are mended
)

// suspects takes the first look: quick questions to all tasks of a queue, then the exact one to those that stand out.
// Beside the suspects themselves it keeps eight bytes in mind for each task that waits.
func (d *Doctor) suspects(ctx context.Context, queue string) (found map[string]Ailment, more bool, err error) {
	found = map[string]Ailment{}
	ask := func(ids []string) error {
		exact, err := d.examine(ctx, queue, ids, "")
		for id, ailment := range exact {
			if len(found) >= maxSuspect {
				more = true
				break
			}
			found[id] = ailment
		}
		return err
	}
	seed, listed := maphash.MakeSeed(), map[uint64]struct{}{} // who is in one of the two lists, where looking up is slow
	for i, set := range taskSets {
		for ids, err := range d.ids(ctx, queue, set) {
			if err != nil {
				return nil, false, err
			}
			if i < 2 {
				for _, id := range ids {
					listed[maphash.String(seed, id)] = struct{}{}
				}
			}
			odd, err := d.oddListed(ctx, queue, ids, set == "active")
			if err != nil {
				return nil, false, err
			}
			if err := ask(odd); err != nil {
				return nil, false, err
			}
		}
	}
	for ids, err := range d.hashes(ctx, queue) {
		if err != nil {
			return nil, false, err
		}
		odd, err := d.oddHashes(ctx, queue, ids, func(id string) bool {
			_,
				ok := listed[maphash.String(seed, id)]
			return ok
		})
		if err != nil {
			return nil, false, err
		}
		if err := ask(odd); err != nil {
			return nil, false, err
		}
	}
	return found, more, nil
}

// oddListed returns those of the ids in a list that have no message, or no lease where they need one.
func (d *Doctor) oddListed(ctx context.Context, queue string, ids []string, leased bool) ([]string, error) {
	messages, leases := make([]*redis.BoolCmd, len(ids)), make([]*redis.FloatCmd, len(ids))
	_, err := d.Redis.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i, id := range ids {
			messages[i] = p.HExists(ctx, taskKey(queue, id), "msg")
			if leased {
				leases[i] = p.ZScore(ctx, setKey(queue, "lease"), id)
			}
		}
		return nil
	})
	if err != nil && !isAboutOneKey(err) {
		return nil, err
	}
	var odd []string
	for i, id := range ids {
		if !messages[i].Val() || leased && errors.Is(leases[i].Err(), redis.Nil) {
			odd = append(odd, id)
		}
	}
	return odd, nil
}

// isAboutOneKey reports whether an answer says that a key is missing, or that its value is of another type.
func isAboutOneKey(err error) bool {
	return errors.Is(err, redis.Nil) || redis.HasErrorPrefix(err, "WRONGTYPE")
}

// oddHashes returns those of the tasks that are neither in one of the lists nor in the sorted set of their state.
func (d *Doctor) oddHashes(ctx context.Context, queue string, ids []string, listed func(id string) bool) ([]string,
	error,
) {
	states := make([]*redis.StringCmd, len(ids))
	_, err := d.Redis.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i, id := range ids {
			states[i] = p.HGet(ctx, taskKey(queue, id), "state")
		}
		return nil
	})
	if err != nil && !isAboutOneKey(err) {
		return nil, err
	}
	scores := make([]*redis.FloatCmd, len(ids))
	_, err = d.Redis.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i, id := range ids {
			switch state := states[i].Val(); state {
			case "scheduled", "retry", "archived", "completed":
				scores[i] = p.ZScore(ctx, setKey(queue, state), id)
			default:
			}
		}
		return nil
	})
	if err != nil && !errors.Is(err, redis.Nil) {
		return nil, err
	}
	var odd []string
	for i, id := range ids {
		if scores[i] == nil && !listed(id) || scores[i] != nil && errors.Is(scores[i].Err(), redis.Nil) {
			odd = append(odd, id)
		}
	}
	return odd, nil
}

// ids yields what is in one of the sets, page by page.
func (d *Doctor) ids(ctx context.Context, queue, set string) iter.Seq2[[]string, error] {
	key := setKey(queue, set)
	if set == "pending" || set == "active" {
		return func(yield func([]string, error) bool) {
			// From the head, where new ones come in: what moves is seen twice, not missed.
			for start := int64(0); ; start += doctorPage {
				page, err := d.Redis.LRange(ctx, key, start, start+doctorPage-1).Result()
				if err != nil || len(page) == 0 {
					if err != nil {
						yield(nil, err)
					}
					return
				}
				if !yield(page, nil) {
					return
				}
			}
		}
	}
	return cursor(func(at uint64) ([]string, uint64, error) {
		pairs, next, err := d.Redis.ZScan(ctx, key, at, "", doctorPage).Result()
		page := make([]string, 0, len(pairs)/2)
		for i := 0; i < len(pairs); i += 2 { // each id is followed by its score
			page = append(page, pairs[i])
		}
		return page, next, err
	})
}

// hashes yields the ids of all tasks that have a hash, page by page. All keys of a queue are on one node.
func (d *Doctor) hashes(ctx context.Context, queue string) iter.Seq2[[]string, error] {
	prefix := taskKey(queue, "")
	var node redis.Cmdable = d.Redis
	if cluster, ok := d.Redis.(*redis.ClusterClient); ok {
		master, err := cluster.MasterForKey(ctx, prefix)
		if err != nil {
			return func(yield func([]string, error) bool) { yield(nil, err) }
		}
		node = master
	}
	return cursor(func(at uint64) ([]string, uint64, error) {
		keys, next, err := node.Scan(ctx, at, prefix+"*", scanPage).Result()
		for i := range keys {
			keys[i] = strings.TrimPrefix(keys[i], prefix)
		}
		return keys, next, err
	})
}

// cursor yields the pages of a SCAN until its cursor is back at zero.
func cursor(next func(at uint64) ([]string, uint64, error)) iter.Seq2[[]string, error] {
	return func(yield func([]string, error) bool) {
		for at := uint64(0); ; {
			page, following, err := next(at)
			if err != nil {
				yield(nil, err)
				return
			}
			if len(page) > 0 && !yield(page, nil) || following == 0 {
				return
			}
			at = following
		}
	}
}

// Waiting yields the users of the tasks that wait to be run, page by page. A user may come more than once.
func (d *Doctor) Waiting(ctx context.Context) iter.Seq2[[]purge.UserID, error] {
	return func(yield func([]purge.UserID, error) bool) {
		for _, name := range Queues() {
			for _, set := range []string{"pending", "scheduled", "retry"} {
				for ids, err := range d.ids(ctx, name, set) {
					var users []purge.UserID
					for _, id := range ids {
						if user, ok := userOf(id); ok {
							users = append(users, user)
						}
					}
					if !yield(users, err) {
						return
					}
				}
			}
		}
	}
}
