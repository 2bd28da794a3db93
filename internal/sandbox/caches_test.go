//go:build shapes

package sandbox

import (
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
)

// TestCachesOfUnstable downloads the caches that no release of Debian has, and starts them.
func TestCachesOfUnstable(t *testing.T) {
	t.Parallel()
	for cache, want := range map[Cache]string{UnstableRedis: "redis_version:8.", UnstableValkey: "valkey_version:9."} {
		if err := InstallCache(t.Context(), t.Output(), cache); err != nil {
			t.Fatal(err)
		}
		server, stop, err := StartRedis(t.Context(), Options{Cache: cache})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(stop)
		client := redis.NewClient(&redis.Options{Addr: server.Addr})
		info, err := client.Info(t.Context(), "server").Result()
		if err != nil || !strings.Contains(info, want) {
			t.Errorf("%s: got %q, %v, want %s", cache, info, err, want)
		}
		_ = client.Close()
	}
}
