package sandboxtest

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/certpurge/certpurge/internal/sandbox"
)

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
