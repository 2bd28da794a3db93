//go:build shapes

package shapes_test

import (
	"context"
	"os"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/certpurge/certpurge/internal/sandbox"
)

// slots is how many hash slots a Redis Cluster has.
const slots = 16_384

// cluster is three primaries, and a replica of the last.
type cluster struct {
	*nodes

	primaries []*sandbox.Redis
	replica   *sandbox.Redis
}

func (n *nodes) cluster() *cluster {
	n.t.Helper()
	node := func() *sandbox.Redis {
		// the host of the next node, see nodes.start
		return n.store(sandbox.Options{RedisCluster: true}, "--cluster-node-timeout", "2000")
	}
	c := &cluster{nodes: n, primaries: []*sandbox.Redis{node(), node(), node()}, replica: node()}
	for i, primary := range c.primaries {
		n.do(primary, "CLUSTER", "ADDSLOTSRANGE", i*slots/3, (i+1)*slots/3-1)
		if i > 0 {
			c.meet(primary)
		}
	}
	c.meet(c.replica)
	c.well("4")
	n.do(c.replica, "CLUSTER", "REPLICATE", c.id(c.primaries[2]))
	n.role(c.replica, "slave")
	c.well("4")
	return c
}

// meet makes a node known to the first.
func (c *cluster) meet(node *sandbox.Redis) {
	c.t.Helper()
	host, port := hostPort(node)
	c.do(c.primaries[0], "CLUSTER", "MEET", host, port)
}

// well waits until each node knows all others, and serves.
func (c *cluster) well(known string) {
	c.t.Helper()
	for _, node := range append(c.primaries, c.replica) {
		c.eventually(node.Addr+" serves", node, func(ctx context.Context, client *redis.Client) bool {
			info := client.ClusterInfo(ctx).Val()
			return strings.Contains(info, "cluster_state:ok") && strings.Contains(info, "cluster_known_nodes:"+known)
		})
	}
}

func (c *cluster) id(node *sandbox.Redis) any { c.t.Helper(); return c.do(node, "CLUSTER", "MYID") }

// move moves a slot from one primary to another, as redis-cli --cluster reshard does: key by key, while clients use
// them. At half of the keys it calls meanwhile.
func (c *cluster) move(slot int64, from, to *sandbox.Redis, meanwhile func()) {
	c.t.Helper()
	source := c.client(from)
	host, port := hostPort(to)
	total := source.ClusterCountKeysInSlot(c.t.Context(), int(slot)).Val()
	c.do(to, "CLUSTER", "SETSLOT", slot, "IMPORTING", c.id(from))
	c.do(from, "CLUSTER", "SETSLOT", slot, "MIGRATING", c.id(to))
	moved := 0
	for {
		keys, err := source.ClusterGetKeysInSlot(c.t.Context(), int(slot), 10).Result()
		must(c.t, err)
		if len(keys) == 0 {
			break
		}
		command := []any{"MIGRATE", host, port, "", 0, 5000, "REPLACE", "AUTH2", "admin", admin, "KEYS"}
		for _, key := range keys {
			command = append(command, key)
		}
		c.do(from, command...)
		if moved += len(keys); meanwhile != nil && int64(moved) > total/2 {
			meanwhile()
			meanwhile = nil
		}
	}
	for _, node := range []*sandbox.Redis{to, from} {
		c.do(node, "CLUSTER", "SETSLOT", slot, "NODE", c.id(to))
	}
	c.t.Logf("moved slot %d with %d keys", slot, moved)
}

// TestCluster: the slot of a queue moves while its tasks wait and workers begin, its new primary is killed, and comes
// back by a graceful fail-over.
func TestCluster(t *testing.T) {
	t.Parallel()
	for name, cache := range caches {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, n := newWorld(t, ofTheDemo, many), newNodes(t, cache)
			c := n.cluster()
			n.connect(w, "rediss+cluster", c.primaries[0].Addr+"?addr="+c.primaries[1].Addr+"&addr="+c.primaries[2].Addr)
			w.migrate()
			must(t, w.backfill().Wait(t.Context()))
			slot := n.client(c.primaries[0]).ClusterKeySlot(t.Context(), "asynq:{backfill}:pending").Val()
			from, to := c.primaries[slot*3/slots], c.primaries[2]
			if from == to {
				to = c.primaries[0]
				c.move(slot, from, to, nil) // so that the next move ends where the replica is
				from, to = to, from
			}
			waiting := n.do(from, "LLEN", "asynq:{backfill}:pending")
			c.move(slot, from, to, func() {
				w.work("worker-1")
				w.work("worker-2")
				for _, worker := range w.children { // asynq's scripts need keys of both nodes, and must wait
					w.logs(worker, "worker paused", "is moving the queue")
				}
			})
			w.until(w.all() / 3)
			must(t, to.Signal(os.Kill))
			n.role(c.replica, "master")
			must(t, to.Start(t.Context()))
			n.role(to, "slave")
			w.until(2 * w.all() / 3)
			n.do(to, "CLUSTER", "FAILOVER")
			late := w.late()
			n.role(to, "master")
			must(t, late.Wait(t.Context()))
			w.finish()
			n.look(w)
			n.refused(append(c.primaries, c.replica)...)
			w.read()
			t.Logf("%s, Cluster of three and a replica, TLS with a certificate per node, accounts; %v tasks waited while "+
				"their slot moved; their primary killed, then a graceful fail-over", n.version(to), waiting)
		})
	}
}
