package queue

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"
)

// OddKey is a key of asynq or of ours that holds something else than it should.
type OddKey struct {
	Key, Type, Want string
}

// String says what is wrong with it.
func (k OddKey) String() string {
	return fmt.Sprintf("the key %s is a %s, expected a %s", k.Key, k.Type, k.Want)
}

// keyTypes are the types of all keys that every enqueuer or worker uses (internal/base of asynq v0.26.0, pinned by a
// test).
func keyTypes(now time.Time) map[string]string {
	types := map[string]string{registry: "set", asynqServers: "zset", asynqWorkers: "zset", presenceList: "zset"}
	for _, queue := range Queues() {
		for _, name := range []string{"pending", "active"} {
			types[setKey(queue, name)] = "list"
		}
		for _, name := range []string{"scheduled", "retry", "archived", "completed", "lease"} {
			types[setKey(queue, name)] = "zset"
		}
		for _, name := range []string{"processed", "failed"} { // counters, in all and of each day
			types[setKey(queue, name)], types[setKey(queue, name+":"+now.UTC().Format(time.DateOnly))] = "string", "string"
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

// removeOdd deletes a key if it is still of another type than it should be.
var removeOdd = redis.NewScript(`
local found = redis.call("TYPE", KEYS[1]).ok
if found == "none" or found == ARGV[1] then return 0 end
return redis.call("DEL", KEYS[1])`)

// RemoveOddKey deletes a key of a wrong type. What it stood for is in the ledger.
func RemoveOddKey(ctx context.Context, rdb redis.UniversalClient, k OddKey) (removed bool, err error) {
	n, err := removeOdd.Run(ctx, rdb, []string{k.Key}, k.Want).Int()
	return n == 1, err
}
