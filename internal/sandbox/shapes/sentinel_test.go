//go:build shapes

package shapes_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/certpurge/certpurge/internal/sandbox"
	"github.com/certpurge/certpurge/internal/sandbox/sandboxtest"
)

// ofSentinels is the password of the Sentinels.
const ofSentinels = "of-the-sentinels"

// watch starts a Sentinel that watches over a primary.
func (n *nodes) watch(primary *sandbox.Redis) *sandbox.Redis {
	n.t.Helper()
	host, port := hostPort(primary)
	file := filepath.Join(n.t.TempDir(), "sentinel.conf")
	settings := fmt.Sprintf(`sentinel monitor theirs %s %s 2
sentinel auth-user theirs sentinel
sentinel auth-pass theirs change-me-sentinel
sentinel down-after-milliseconds theirs 1000
sentinel failover-timeout theirs 10000
sentinel announce-ip %s
requirepass %s
`, host, port, n.host(), ofSentinels)
	must(n.t, os.WriteFile(file, []byte(settings), 0o600))
	return n.start(sandbox.Options{}, file, "--sentinel")
}

// role waits until a server has a role and, as a replica, follows its primary.
func (n *nodes) role(server *sandbox.Redis, want string) {
	n.t.Helper()
	n.eventually(server.Addr+" is a "+want, server, func(ctx context.Context, c *redis.Client) bool {
		info := c.Info(ctx, "replication").Val()
		return strings.Contains(info, "role:"+want) && (want == "master" || strings.Contains(info, "master_link_status:up"))
	})
}

// TestSentinel: the primary is killed in the middle, then its follower hands over gracefully.
func TestSentinel(t *testing.T) {
	t.Parallel()
	for name, cache := range caches {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, n := newWorld(t, ofTheDemo, many), newNodes(t, cache)
			first := n.store(sandbox.Options{})
			host, port := hostPort(first)
			second := n.store(sandbox.Options{}, "--replicaof", host+" "+port)
			n.role(second, "slave")
			var addresses []string
			var sentinels []*sandbox.Redis
			for range 3 {
				sentinel := n.watch(first)
				sentinels, addresses = append(sentinels, sentinel), append(addresses, sentinel.Addr)
			}
			for _, sentinel := range sentinels {
				n.agreed(sentinel)
			}
			n.connect(w, "rediss+sentinel", addresses[0]+"/0?master_name=theirs&addr="+strings.Join(addresses[1:], "&addr="))
			w.migrate()
			backfill := w.backfill("--high-water", "300")
			w.work("worker-1")
			w.work("worker-2")
			w.until(w.all() / 3)
			must(t, first.Signal(os.Kill))
			n.role(second, "master")
			must(t, first.Start(t.Context()))
			n.role(first, "slave")
			w.until(2 * w.all() / 3)
			sandboxtest.Eventually(t, "the Sentinels know the old primary as a replica", func() bool {
				_, err := n.ask(sentinels[0], "SENTINEL", "FAILOVER", "theirs")
				return err == nil
			})
			late := w.late()
			n.role(first, "master")
			must(t, backfill.Wait(t.Context()))
			must(t, late.Wait(t.Context()))
			w.finish()
			n.look(w)
			n.refused(first, second)
			w.read()
			t.Logf("%s, three Sentinels, TLS with a certificate per node, accounts; primary killed, then a graceful fail-over",
				n.version(first))
		})
	}
}

// ask sends a command to a Sentinel, whose only account is the default one.
func (n *nodes) ask(sentinel *sandbox.Redis, command ...any) (any, error) {
	client := redis.NewClient(&redis.Options{Network: "unix", Addr: sentinel.Socket, Password: ofSentinels})
	defer client.Close()
	return client.Do(n.t.Context(), command...).Result()
}

// agreed waits until a Sentinel knows the two others and the replica.
func (n *nodes) agreed(sentinel *sandbox.Redis) {
	n.t.Helper()
	sandboxtest.Eventually(n.t, sentinel.Addr+" knows the others", func() bool {
		answer, err := n.ask(sentinel, "INFO", "sentinel")
		must(n.t, err)
		info, ok := answer.(string)
		return ok && strings.Contains(info, "status=ok") && strings.Contains(info, "slaves=1,sentinels=3")
	})
}
