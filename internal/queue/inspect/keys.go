package inspect

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/queue"
	"github.com/certpurge/certpurge/internal/queue/presence"
)

// taskSets are the sets in which asynq keeps the IDs of a queue's tasks: two lists, then sorted sets (internal/base of
// asynq v0.26.0).
var taskSets = []string{"pending", "active", "scheduled", "retry", "archived", "completed", "lease"}

func isList(set string) bool { return set == "pending" || set == "active" }

// registry is where asynq keeps the names of the queues that dashboard and metrics show.
const registry = "asynq:queues"

// SetKey is the key of one of taskSets.
func SetKey(name, set string) string { return "asynq:{" + name + "}:" + set }

// taskKey is the key of a task.
func taskKey(name, id string) string { return SetKey(name, "t:"+id) }

// isAboutOneKey reports whether an answer says that a key is missing, or that its value is of another type.
func isAboutOneKey(err error) bool {
	return errors.Is(err, redis.Nil) || redis.HasErrorPrefix(err, "WRONGTYPE")
}

const (
	pageSize = 100  // tasks that are read or changed in one round trip
	scanSize = 1000 // keys that one SCAN visits
)

// members yields the task IDs in one of a queue's sets, page by page. A task that moves meanwhile may come twice.
func members(ctx context.Context, rdb redis.UniversalClient, name, set string) iter.Seq2[[]string, error] {
	key := SetKey(name, set)
	if isList(set) {
		return pages(func(at uint64) ([]string, uint64, error) { // from the head, where new tasks come in
			ids, err := rdb.LRange(ctx, key, int64(at), int64(at)+pageSize-1).Result() //nolint:gosec // no list is so long
			if len(ids) < pageSize {
				return ids, 0, err
			}
			return ids, at + pageSize, err
		})
	}
	return pages(func(at uint64) ([]string, uint64, error) {
		pairs, next, err := rdb.ZScan(ctx, key, at, "", pageSize).Result()
		var ids []string
		for pair := range slices.Chunk(pairs, 2) { // each ID is followed by its score
			ids = append(ids, pair[0])
		}
		return ids, next, err
	})
}

// taskIDs yields the IDs of all tasks of a queue, page by page.
func taskIDs(ctx context.Context, rdb redis.UniversalClient, name string) iter.Seq2[[]string, error] {
	prefix := taskKey(name, "")
	var node redis.Cmdable = rdb
	var wrong error
	if cluster, ok := rdb.(*redis.ClusterClient); ok { // all keys of a queue are on one node
		node, wrong = cluster.MasterForKey(ctx, prefix)
	}
	return pages(func(at uint64) ([]string, uint64, error) {
		if wrong != nil {
			return nil, 0, wrong
		}
		keys, next, err := node.Scan(ctx, at, prefix+"*", scanSize).Result()
		for i := range keys {
			keys[i] = strings.TrimPrefix(keys[i], prefix)
		}
		return keys, next, err
	})
}

// pages yields pages until the position of the next one is 0, as in the answers to SCAN.
func pages(read func(at uint64) (page []string, next uint64, err error)) iter.Seq2[[]string, error] {
	return func(yield func([]string, error) bool) {
		for at := uint64(0); ; {
			page, next, err := read(at)
			if (err != nil || len(page) > 0) && !yield(page, err) || err != nil || next == 0 {
				return
			}
			at = next
		}
	}
}

// WaitingUsers yields the users whose tasks wait to be run, page by page. A user may come more than once.
func WaitingUsers(ctx context.Context, rdb redis.UniversalClient) iter.Seq2[[]purge.UserID, error] {
	return func(yield func([]purge.UserID, error) bool) {
		for _, name := range queue.Queues() {
			for _, set := range []string{"pending", "scheduled", "retry"} {
				for ids, err := range members(ctx, rdb, name, set) {
					users, _ := Fault{IDs: ids}.Users()
					if !yield(users, err) {
						return
					}
				}
			}
		}
	}
}

// OddKey is a key of asynq or of ours that is of a wrong type.
type OddKey struct {
	Key, Type, Want string
}

// String says what is wrong with it.
func (k OddKey) String() string {
	return fmt.Sprintf("the key %s is a %s, expected a %s", k.Key, k.Type, k.Want)
}

// keyTypes are the types of the keys that every enqueuer or worker uses.
func keyTypes(now time.Time) map[string]string {
	types := map[string]string{registry: "set"}
	for _, key := range presence.Keys() {
		types[key] = "zset"
	}
	for _, name := range queue.Queues() {
		for _, set := range taskSets {
			types[SetKey(name, set)] = "zset"
			if isList(set) {
				types[SetKey(name, set)] = "list"
			}
		}
		for _, counter := range []string{"processed", "failed"} { // in all, and of each day
			types[SetKey(name, counter)] = "string"
			types[SetKey(name, counter+":"+now.UTC().Format(time.DateOnly))] = "string"
		}
	}
	return types
}

// OddKeys returns the keys that are of a wrong type: every command of asynq, or of ours, on them fails.
func OddKeys(ctx context.Context, rdb redis.UniversalClient) ([]OddKey, error) {
	var keys []OddKey
	var types []*redis.StatusCmd
	wanted := keyTypes(time.Now())
	_, err := rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		for _, key := range slices.Sorted(maps.Keys(wanted)) {
			keys, types = append(keys, OddKey{Key: key, Want: wanted[key]}), append(types, p.Type(ctx, key))
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	var odd []OddKey
	for i, k := range keys {
		if k.Type = types[i].Val(); k.Type != k.Want && k.Type != "none" {
			odd = append(odd, k)
		}
	}
	return odd, nil
}

var removeOdd = redis.NewScript(`
local found = redis.call("TYPE", KEYS[1]).ok
if found == "none" or found == ARGV[1] then return 0 end
return redis.call("DEL", KEYS[1])`)

// RemoveOddKey deletes the key of k if it still is of a wrong type. The ledger has what the key should hold.
func RemoveOddKey(ctx context.Context, rdb redis.UniversalClient, k OddKey) (removed bool, err error) {
	n, err := removeOdd.Run(ctx, rdb, []string{k.Key}, k.Want).Int()
	return n == 1, err
}
