package inspect

import (
	"context"
	"errors"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/queue"
	"github.com/certpurge/certpurge/internal/queue/presence"
)

// checkLife is how long the key of a check stays if the check cannot remove it.
const checkLife = time.Minute

// checkScript does to a key of ours what asynq's scripts do to a queue, with the commands that enqueue, pull and end a
// task.
var checkScript = redis.NewScript(`
local key = KEYS[1]
redis.call("DEL", key)
redis.call("HSET", key, "state", "pending")
redis.call("HGET", key, "state")
redis.call("DEL", key)
redis.call("LPUSH", key, "id")
redis.call("RPOPLPUSH", key, key)
redis.call("LREM", key, 1, "id")
redis.call("ZADD", key, 1, "id")
redis.call("ZRANGEBYSCORE", key, 0, 1)
redis.call("ZREM", key, "id")
redis.call("INCR", key)
redis.call("EXPIREAT", key, ARGV[1])
redis.call("DEL", key)
return redis.call("EXISTS", key)`)

// cancelChannel is where asynq's servers listen (internal/base.CancelChannel of asynq v0.26.0; pinned by a test).
const cancelChannel = "asynq:cancel"

// Check tests whether Redis takes tasks, with a write beside each queue and with scripts. A Redis that is full, a
// replica, and an account without rights answer a ping all the same. It leaves nothing behind.
func Check(ctx context.Context, rdb redis.UniversalClient) error {
	odd, err := OddKeys(ctx, rdb)
	if err != nil {
		return queue.Explain(err)
	}
	if len(odd) > 0 {
		return &purge.Error{Class: purge.Unavailable, Text: odd[0].String() + ", so Redis cannot be used: `enqueuer doctor " +
			"--fix` removes it, and the ledger puts the tasks back"}
	}
	for _, name := range queue.Queues() {
		key := SetKey(name, "certpurge:check") // an account that may use asynq's keys of the queue may use this one
		_, err := rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
			p.Set(ctx, key, 1, checkLife)
			// The second key is left alone. While a Cluster moves the queue, no script may name keys of two nodes; asynq's do.
			keys := []string{key, SetKey(name, "pending")}
			// asynq sends EVALSHA, and EVAL to a server that does not know the script.
			checkScript.Eval(ctx, p, keys, time.Now().Add(checkLife).Unix())
			checkScript.EvalSha(ctx, p, keys, time.Now().Add(checkLife).Unix())
			return nil
		})
		if err != nil { // of the connection, or of the first command that has one
			return queue.Explain(err)
		}
	}
	return nil
}

// subscribeTimeout is how long Redis may take to answer a subscription; the library waits for ever, even after
// its context has ended.
const subscribeTimeout = 3 * time.Second

// CheckPull tests what pulling tasks needs beyond Check: asynq's servers subscribe to a channel.
func CheckPull(ctx context.Context, rdb redis.UniversalClient) error {
	if err := Check(ctx, rdb); err != nil {
		return err
	}
	subscription := rdb.Subscribe(ctx, cancelChannel)
	_, err := subscription.ReceiveTimeout(ctx, subscribeTimeout)
	return queue.Explain(errors.Join(err, subscription.Close()))
}

// Standstill says why no worker takes tasks of a queue; it is empty if one does.
func Standstill(ctx context.Context, rdb redis.UniversalClient, name string) (string, error) {
	workers, err := presence.Workers(ctx, rdb)
	if err != nil {
		return "", err
	}
	if why := presence.NonePulls(workers); why != "" {
		return why, nil
	}
	paused, err := rdb.Exists(ctx, SetKey(name, "paused")).Result()
	if err != nil {
		return "", queue.Explain(err)
	}
	if paused > 0 {
		return "queue " + name + " is paused: resume it in the dashboard", nil
	}
	return "", nil
}
