package inspect

import (
	"context"
	"fmt"
	"strings"

	"github.com/redis/go-redis/v9"
)

// Version returns Redis's version; empty where the server does not report it.
func Version(ctx context.Context, rdb redis.UniversalClient) string {
	for line := range strings.Lines(rdb.Info(ctx, "server").Val()) { // managed services may forbid INFO
		if version, ok := strings.CutPrefix(strings.TrimSpace(line), "redis_version:"); ok {
			return version
		}
	}
	return ""
}

// OldVersion reports whether a version of Redis is below 6.2, the first with the commands that asynq uses. It is false
// for a version that it cannot read.
func OldVersion(version string) bool {
	var major, minor int
	n, _ := fmt.Sscanf(version, "%d.%d", &major, &minor)
	return n == 2 && (major < 6 || major == 6 && minor < 2)
}

// EvictionPolicy returns Redis's maxmemory-policy; empty where the server does not report it. Any policy but noeviction
// may delete tasks.
func EvictionPolicy(ctx context.Context, rdb redis.UniversalClient) string {
	return rdb.ConfigGet(ctx, "maxmemory-policy").Val()["maxmemory-policy"] // managed services may forbid CONFIG
}

// Persistence says how Redis keeps its data over a restart: append-only file, snapshots or none; empty where the server
// does not report it.
func Persistence(ctx context.Context, rdb redis.UniversalClient) string {
	info, err := rdb.Info(ctx, "persistence").Result()
	if err != nil {
		return ""
	}
	if strings.Contains(info, "aof_enabled:1") {
		return "append-only file"
	}
	switch save, err := rdb.ConfigGet(ctx, "save").Result(); {
	case err != nil:
		return ""
	case save["save"] != "":
		return "snapshots"
	default:
		return "none"
	}
}
