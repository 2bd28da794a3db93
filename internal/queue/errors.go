package queue

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"

	"github.com/redis/go-redis/v9"

	"github.com/certpurge/certpurge/internal/purge"
)

// Ping reports whether Redis answers and accepts the login. It may refuse tasks all the same: see inspect.Check.
func Ping(ctx context.Context, rdb redis.UniversalClient) error {
	err := rdb.Ping(ctx).Err()
	if _, answered := errors.AsType[redis.Error](err); answered && !rejected(err) {
		return nil
	}
	return Explain(err)
}

// rejected reports whether an answer rejects the login or the database number.
func rejected(err error) bool {
	return slices.ContainsFunc([]string{"WRONGPASS", "NOAUTH", "AUTH", "DB index", "invalid DB"},
		func(prefix string) bool {
			return redis.HasErrorPrefix(err, prefix) // what follows "ERR"
		})
}

// answers are errors of Redis, by their first words after "ERR", and what to do about them.
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
	{"LOADING", purge.Unavailable, "Redis is still loading its data (it continues by itself)"},
	{"CLUSTERDOWN", purge.Unavailable, "the Redis Cluster is down, or serves not all slots (see CLUSTER INFO)"},
	{"TRYAGAIN", purge.Unavailable, "the Redis Cluster is moving the queue to another node (it continues by itself)"},
	{"BUSY", purge.Unavailable, "Redis is busy with a script that does not end (see SCRIPT KILL)"},
}

const noRight = "the account of redis.url lacks a right that the queue needs (docs/security.md names them)"

// Explain gives an error of Redis its class, and says what to do about it. The server's own text follows; it names
// commands, keys and accounts.
func Explain(err error) error {
	if err == nil {
		return nil
	}
	if rejected(err) {
		return &purge.Error{
			Class: purge.Misconfigured, Cause: err,
			Text: "Redis rejects the login or the database number (check redis.url): " + purge.Printable(err.Error()),
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
