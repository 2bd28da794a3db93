package queue

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/certpurge/certpurge/internal/purge"
)

// ownKey is a key of ours in the hash slot of a queue, so that a cluster answers with the node that takes its tasks. It
// begins as asynq's keys do: an account that may use those may use this one.
func ownKey(queue, name string) string { return "asynq:{" + queue + "}:certpurge:" + name }

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

// Ping reports whether Redis answers and lets us in. It may refuse to work all the same: see Check.
func Ping(ctx context.Context, rdb redis.UniversalClient) error {
	err := rdb.Ping(ctx).Err()
	if _, answered := errors.AsType[redis.Error](err); answered && !shut(err) {
		return nil
	}
	return explain(err)
}

// Check tries whether Redis takes tasks: a write in the place of each queue, and scripts. A Redis that is full, a
// replica, or an account without rights answers a ping. Nothing of it stays.
func Check(ctx context.Context, rdb redis.UniversalClient) error {
	odd, err := OddKeys(ctx, rdb)
	if err != nil {
		return explain(err)
	}
	if len(odd) > 0 {
		return &purge.Error{Class: purge.Unavailable, Text: odd[0].String() + ", so Redis cannot be used: `enqueuer doctor " +
			"--fix` removes it," +
			" and the ledger puts the tasks back"}
	}
	for _, name := range Queues() {
		key := ownKey(name, "check")
		_, err := rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
			p.Set(ctx, key, 1, checkLife)
			// asynq sends EVALSHA, and EVAL to a server that does not know the script.
			checkScript.Eval(ctx, p, []string{key}, time.Now().Add(checkLife).Unix())
			checkScript.EvalSha(ctx, p, []string{key}, time.Now().Add(checkLife).Unix())
			return nil
		})
		if err != nil { // of the connection, or of the first command that has one
			return explain(err)
		}
	}
	return nil
}

// subscribeTimeout is how long Redis may take to answer a subscription; the library waits for ever, also beyond its
// context.
const subscribeTimeout = 3 * time.Second

// CheckPull tries what pulling tasks takes beyond Check: asynq's servers subscribe to a channel.
func CheckPull(ctx context.Context, rdb redis.UniversalClient) error {
	if err := Check(ctx, rdb); err != nil {
		return err
	}
	subscription := rdb.Subscribe(ctx, cancelChannel)
	_, err := subscription.ReceiveTimeout(ctx, subscribeTimeout)
	return explain(errors.Join(err, subscription.Close()))
}

// shut reports whether an answer lets this client not in at all.
func shut(err error) bool {
	return slices.ContainsFunc([]string{"WRONGPASS", "NOAUTH", "AUTH", "DB index", "invalid DB"},
		func(prefix string) bool {
			return redis.HasErrorPrefix(err, prefix) // what follows "ERR"
		})
}

// answers are what Redis says instead of working, by how it begins after "ERR", and what to do.
var answers = []struct {
	prefix string
	class  purge.Class
	text   string
}{
	{"NOPERM", purge.Misconfigured, noRight},
	{"ACL failure in script", purge.Misconfigured, noRight},
	{"The user executing the script", purge.Misconfigured, noRight},
	{"OOM", purge.Unavailable, "Redis is full and refuses writes (raise its maxmemory, or keep less: tasks.retention)"},
	{"READONLY", purge.Unavailable, "Redis is a replica and refuses writes (redis.url must lead to the primary)"},
	{"MISCONF", purge.Unavailable, "Redis refuses writes because it cannot save to disk (see its log; is its disk full?)"},
	{"NOREPLICAS", purge.Unavailable, "Redis refuses writes because too few replicas follow it (see " +
		"min-replicas-to-write)"},
	{"LOADING", purge.Unavailable, "Redis is still loading its data (it goes on by itself)"},
	{"CLUSTERDOWN", purge.Unavailable, "the Redis Cluster is down, or serves not all slots (see CLUSTER INFO)"},
	{"BUSY", purge.Unavailable, "Redis is busy with a script that does not end (see SCRIPT KILL)"},
}

const noRight = "the account of redis.url lacks a right that the queue needs (docs/security.md names them)"

// explain gives an error of Redis its class, and says in words what to do about it. The server's own words follow: they
// name commands, keys and accounts.
func explain(err error) error {
	if err == nil {
		return nil
	}
	if shut(err) {
		return &purge.Error{
			Class: purge.Misconfigured, Cause: err,
			Text: "Redis does not let us in (check redis.url): " + purge.Printable(err.Error()),
		}
	}
	for _, a := range answers {
		if redis.HasErrorPrefix(err, a.prefix) {
			return &purge.Error{Class: a.class, Cause: err, Text: a.text + ": " + purge.Printable(err.Error())}
		}
	}
	if _, ok := errors.AsType[redis.Error](err); ok {
		return &purge.Error{
			Class: purge.Unavailable, Cause: err,
			Text: "Redis refuses to work: " + purge.Printable(err.Error()),
		}
	}
	_, untrusted := errors.AsType[*tls.CertificateVerificationError](err)
	alert, refused := errors.AsType[*net.OpError](err)
	if untrusted || refused && alert.Op == "remote error" {
		return &purge.Error{Class: purge.Misconfigured, Cause: err, Text: fmt.Sprintf(
			"no encrypted connection to Redis (check redis.url and redis.tls): %v", err)}
	}
	return &purge.Error{Class: purge.Unavailable, Cause: err, Text: fmt.Sprintf("connecting to Redis: %v", err)}
}
