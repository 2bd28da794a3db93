package sandboxtest

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

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

// Numbers is a table for a FROM clause: its column seq holds the numbers from 1 to n. MariaDB has tables of that kind,
// MySQL has not.
func Numbers(n int) string {
	const digits = "(SELECT 0 AS d UNION ALL SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3 UNION ALL SELECT 4" +
		" UNION ALL SELECT 5 UNION ALL SELECT 6 UNION ALL SELECT 7 UNION ALL SELECT 8 UNION ALL SELECT 9)"
	sum, tables := []string{"1"}, []string{}
	for power := 1; power < n || len(tables) == 0; power *= 10 {
		name := fmt.Sprintf("d%d", len(tables))
		sum = append(sum, fmt.Sprintf("%d * %s.d", power, name))
		tables = append(tables, digits+" "+name)
	}
	return fmt.Sprintf("(SELECT %s AS seq FROM %s HAVING seq <= %d) numbers", strings.Join(sum, " + "),
		strings.Join(tables, " CROSS JOIN "), n)
}

// lastSlot is the highest of a Redis Cluster's hash slots.
const lastSlot = 16_383

// RedisCluster starts a Redis Cluster of one node for this test alone, and returns the node's address. It takes about
// three seconds: a node waits before it answers for the slots that it was given.
func RedisCluster(tb testing.TB) (addr string) {
	tb.Helper()
	node := ownServers(tb, sandbox.Options{NoSync: true, RedisCluster: true}).Redis
	ctx, cancel := context.WithTimeout(context.Background(), setUpTimeout)
	defer cancel()
	client := redis.NewClient(&redis.Options{Addr: node.Addr})
	defer client.Close()
	if err := client.ClusterAddSlotsRange(ctx, 0, lastSlot).Err(); err != nil {
		tb.Fatalf("giving the node all slots: %v", err)
	}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		info, err := client.ClusterInfo(ctx).Result()
		if err != nil {
			tb.Fatalf("waiting for the cluster: %v", err)
		}
		if strings.Contains(info, "cluster_state:ok") {
			return node.Addr
		}
		<-tick.C
	}
}
