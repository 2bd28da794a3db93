package queue

import (
	"context"
	"errors"
	"strings"

	"github.com/redis/go-redis/v9"
)

// The library's own log repeats, on standard error, what every call returns.
func init() { redis.SetLogger(silent{}) }

type silent struct{}

// Printf implements the library's logger.
func (silent) Printf(context.Context, string, ...any) {}

// redisForms are the URL schemes that NewRedis understands.
const redisForms = "redis://user:password@host:6379/5, rediss:// for TLS, unix:///path?db=5, " +
	"redis+sentinel://host:26379/5?master_name=NAME&addr=host2:26379, redis+cluster://host:6379?addr=host2:6379 (and rediss+...)"

// NewRedis makes a client from a URL without connecting. asynq's own parser drops ACL user names and knows no cluster, so
// go-redis's parsers are used. The error never holds the URL, which may hold a password.
func NewRedis(url string) (redis.UniversalClient, error) {
	scheme, rest, ok := strings.Cut(url, "://")
	base, kind, _ := strings.Cut(scheme, "+")
	if !ok || (base != "redis" && base != "rediss" && scheme != "unix") {
		return nil, errors.New("redis.url: expected one of " + redisForms)
	}
	var client redis.UniversalClient
	var err error
	switch kind {
	case "":
		var o *redis.Options
		if o, err = redis.ParseURL(url); err == nil {
			client = redis.NewClient(o)
		}
	case "sentinel":
		var o *redis.FailoverOptions
		if o, err = redis.ParseFailoverURL(base + "://" + rest); err == nil && o.MasterName == "" {
			err = errors.New("no master_name")
		}
		if err == nil {
			client = redis.NewFailoverClient(o)
		}
	case "cluster":
		var o *redis.ClusterOptions
		if o, err = redis.ParseClusterURL(base + "://" + rest); err == nil {
			client = redis.NewClusterClient(o)
		}
	default:
		err = errors.New("unknown kind")
	}
	if err != nil {
		return nil, errors.New("redis.url: it could not be understood (write # / @ in a password as %23 %2F %40); expected one of " + redisForms)
	}
	return client, nil
}

// EvictionPolicy returns Redis's maxmemory-policy; empty where the server does not tell. Anything but noeviction may
// throw tasks away.
func EvictionPolicy(ctx context.Context, client redis.UniversalClient) string {
	values, err := client.ConfigGet(ctx, "maxmemory-policy").Result()
	if err != nil {
		return "" // managed services forbid CONFIG
	}
	return values["maxmemory-policy"]
}
