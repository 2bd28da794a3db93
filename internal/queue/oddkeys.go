package queue

import (
	"context"
	"fmt"

	"github.com/redis/go-redis/v9"
)

// OddKey is a key of a queue that holds something else than asynq puts there.
type OddKey struct {
	Key, Type, Want string
}

// String says what is wrong with it.
func (k OddKey) String() string {
	return fmt.Sprintf("the key %s is a %s, expected a %s", k.Key, k.Type, k.Want)
}

// keyTypes are the types of a queue's keys (internal/base of asynq v0.26.0, pinned by a test).
var keyTypes = map[string]string{
	"pending": "list", "active": "list", "scheduled": "zset", "retry": "zset", "archived": "zset", "completed": "zset", "lease": "zset",
}

// OddKeys returns the keys of the queues that are of a wrong type: every command of asynq on them fails.
func OddKeys(ctx context.Context, rdb redis.UniversalClient) ([]OddKey, error) {
	var keys []OddKey
	var types []*redis.StatusCmd
	_, err := rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		for _, queue := range Queues() {
			for name, want := range keyTypes {
				key := "asynq:{" + queue + "}:" + name
				keys, types = append(keys, OddKey{Key: key, Want: want}), append(types, p.Type(ctx, key))
			}
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
