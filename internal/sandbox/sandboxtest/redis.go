package sandboxtest

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/certpurge/certpurge/internal/sandbox"
)

// Database 0 belongs to this package: it holds a counter, from which each test draws the number to try next, and a
// claim for each number in use. FLUSHALL would hand out numbers twice, so a test that flushes uses FLUSHDB, or
// OwnServers.
const (
	counterKey  = "certpurge:sandboxtest:counter"
	claimPrefix = "certpurge:sandboxtest:claim:"
)

// Redis claims a logical database that no other test has, in this process or another, and returns its URL. It is empty,
// and emptied again when the test ends.
func Redis(tb testing.TB) (url string) {
	tb.Helper()
	server := os.Getenv(sandbox.EnvRedis)
	if server == "" {
		server = "redis://" + shared.get(tb).Redis.Addr
	}
	url, release, err := claim(server)
	if err != nil {
		tb.Fatalf("claiming a Redis database: %v", err)
	}
	tb.Cleanup(func() {
		if err := release(); err != nil {
			tb.Errorf("releasing the Redis database %s: %v", url, err)
		}
	})
	return url
}

func claim(server string) (url string, release func() error, err error) {
	options, err := redis.ParseURL(server)
	if err != nil {
		return "", nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), cleanUpTimeout)
	defer cancel()
	ledger := redis.NewClient(options)
	defer ledger.Close()
	config, err := ledger.ConfigGet(ctx, "databases").Result()
	if err != nil {
		return "", nil, err
	}
	count, err := strconv.Atoi(config["databases"])
	if err != nil || count < 2 {
		return "", nil, fmt.Errorf("the server has %q databases, and 0 is taken", config["databases"])
	}
	for range count - 1 {
		drawn, err := ledger.Incr(ctx, counterKey).Result()
		if err != nil {
			return "", nil, err
		}
		number := 1 + int(drawn)%(count-1)
		claimed, err := ledger.SetNX(ctx, claimKey(number), os.Getpid(), 0).Result()
		if err != nil {
			return "", nil, err
		}
		if claimed {
			release := func() error { return releaseClaim(options, number) }
			return fmt.Sprintf("%s/%d", strings.TrimSuffix(server, "/"), number), release, nil
		}
	}
	return "", nil, fmt.Errorf("all %d databases are in use", count-1)
}

func claimKey(number int) string { return claimPrefix + strconv.Itoa(number) }

// releaseClaim empties the database before anyone else can claim it.
func releaseClaim(server *redis.Options, number int) error {
	ctx, cancel := context.WithTimeout(context.Background(), cleanUpTimeout)
	defer cancel()
	own := *server
	own.DB = number
	client := redis.NewClient(&own)
	defer client.Close()
	if err := client.FlushDB(ctx).Err(); err != nil {
		return err
	}
	ledger := redis.NewClient(server)
	defer ledger.Close()
	return ledger.Del(ctx, claimKey(number)).Err()
}
