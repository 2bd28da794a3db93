//go:build shapes

package shapes_test

import (
	"context"
	"database/sql"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/certpurge/certpurge/internal/sandbox"
	"github.com/certpurge/certpurge/internal/sandbox/demo"
	"github.com/certpurge/certpurge/internal/sandbox/lms"
	"github.com/certpurge/certpurge/internal/sandbox/sandboxtest"
)

// galera starts the nodes of a cluster. They share nothing but what they replicate.
type galera struct {
	t        *testing.T
	provider string
	scripts  string // directory
	seed     string // the address at which new nodes find the cluster; empty if there is none yet
}

func newGalera(t *testing.T) *galera {
	t.Helper()
	engine, err := sandbox.ChosenEngine()
	must(t, err)
	if engine != sandbox.MariaDB {
		if os.Getenv("CI") != "" {
			t.Fatal("Galera is a part of MariaDB: run this without SERVER=mysql")
		}
		t.Skip("Galera is a part of MariaDB")
	}
	tree, err := sandbox.Unpack(t.Context(), t.Output(), "galera", "galera-4")
	must(t, err)
	return &galera{
		t: t, provider: filepath.Join(tree.Root, "usr/lib/galera/libgalera_smm.so"), scripts: scripts(t),
	}
}

// copyState is how a node gets the state of another one on the same machine: the donor copies its files while the server
// writes nothing. A program of the machine would do the same over the network, and with many more programs.
const copyState = `#!/bin/sh
while [ $# -gt 0 ]; do
  case $1 in
    --role) role=$2 ;; --address) address=$2 ;; --datadir) data=$2 ;; --gtid) position=$2 ;; --bypass) bypass=yes ;;
  esac
  shift
done
case $role in
  joiner)
    echo "$data" > "DIRECTORY/$$.data"
    echo "ready 127.0.0.1:$$/sst"
    until [ -f "DIRECTORY/$$.end" ] || ! kill -0 "$PPID"; do sleep 0.1; done
    cat "DIRECTORY/$$.end"
    ;;
  donor)
    joiner=${address#*:}
    joiner=DIRECTORY/${joiner%/*}
    if [ -z "$bypass" ]; then
      echo "flush tables"
      until [ -s "$data/tables_flushed" ]; do sleep 0.1; done
      rm "$data/tables_flushed"
      for file in "$data"/ib* "$data"/undo* "$data"/aria* "$data"/*/; do
        [ -e "$file" ] && cp -a "$file" "$(cat "$joiner.data")"
      done
      echo continue
    fi
    echo "$position" > "$joiner.new"
    mv "$joiner.new" "$joiner.end"
    echo "done $position"
    ;;
esac
`

// scripts is the directory of the program with which the servers transfer a state.
func scripts(t *testing.T) string {
	t.Helper()
	directory := t.TempDir()
	must(t, os.WriteFile(filepath.Join(directory, "wsrep_sst_copy"), //nolint:gosec // a program
		[]byte(strings.ReplaceAll(copyState, "DIRECTORY", directory)), 0o700))
	return directory
}

// options are those of the next node, which is the seed of those after it.
func (g *galera) options() sandbox.Options {
	g.t.Helper()
	var addresses [2]string
	for i := range addresses {
		address, err := sandbox.FreeAddress(g.t.Context())
		must(g.t, err)
		addresses[i] = address
	}
	arguments := []string{
		"--wsrep-on=ON", "--wsrep-provider=" + g.provider, "--wsrep-node-address=127.0.0.1",
		"--wsrep-cluster-address=gcomm://" + g.seed, "--wsrep-sst-method=copy",
		"--wsrep-provider-options=gmcast.listen_addr=tcp://" + addresses[0] + ";ist.recv_addr=" + addresses[1] +
			";gcache.size=64M",
		"--innodb-autoinc-lock-mode=2", "--binlog-format=ROW",
	}
	if g.seed == "" {
		arguments = append(arguments, "--wsrep-new-cluster")
	}
	g.seed = addresses[0]
	return sandbox.Options{NoSync: true, MySQLArguments: arguments, MySQLScripts: g.scripts}
}

// world is a site on the next node, the last one.
func (g *galera) world(users int) *world {
	g.t.Helper()
	return newWorld(g.t, demo.Variant{LMS: demo.LMSDatabase, Charset: lms.Mixed, Servers: g.options()}, users)
}

// node is another node of a cluster.
type node struct {
	*sandbox.MySQL

	root  *sql.DB
	proxy *proxy // through which a program reaches this node, until it is led to another
}

// node starts another node.
func (g *galera) node() *node {
	g.t.Helper()
	servers := sandboxtest.OwnServersWith(g.t, g.options())
	root, err := sql.Open("mysql", servers.MySQL.SocketDSN("root", "", ""))
	must(g.t, err)
	g.t.Cleanup(func() { _ = root.Close() })
	n := &node{MySQL: servers.MySQL, root: root, proxy: startProxy(g.t, servers.MySQL.Addr)}
	n.synced(g.t)
	return n
}

// synced waits until the node is in step.
func (n *node) synced(t *testing.T) {
	t.Helper()
	sandboxtest.Eventually(t, "the node is in step", func() bool {
		return status(t, n.root, "wsrep_local_state_comment") == "Synced"
	})
}

// conflicts is how many transactions of this node lost against one of another.
func (n *node) conflicts(t *testing.T) (all int) {
	t.Helper()
	for _, name := range []string{"wsrep_local_cert_failures", "wsrep_local_bf_aborts"} {
		one, err := strconv.Atoi(status(t, n.root, name))
		must(t, err)
		all += one
	}
	return all
}

func status(t *testing.T, on *sql.DB, name string) (value string) {
	t.Helper()
	must(t, on.QueryRowContext(t.Context(), "SELECT variable_value FROM information_schema.global_status"+
		" WHERE variable_name = ?", name).Scan(&value))
	return value
}

// TestGaleraOfThree: the enqueuer writes on one node and each worker on another, one of them in step
// (wsrep_sync_wait) and one as it comes. Another session changes the requests
// that are running, so that transactions of the workers lose at their COMMIT. Then one node is killed and another one
// leaves for a while, and the programs are led to the first.
func TestGaleraOfThree(t *testing.T) {
	t.Parallel()
	g := newGalera(t)
	second, third := g.node(), g.node()
	w := g.world(many)
	w.migrate()
	first := w.env.WorkerDSN
	w.env.WorkerDSN = second.proxy.through(first)
	w.healthy()
	backfill := w.backfill("--high-water", "300")
	w.work("worker-1")
	w.env.WorkerDSN = third.proxy.through(first) + "?wsrep_sync_wait=3"
	w.work("worker-2")
	w.until(w.all() / 6)

	disturb(t, w.env.Root, func() bool { return second.conflicts(t)+third.conflicts(t) >= 5 })
	lost := second.conflicts(t) + third.conflicts(t)

	must(t, third.Signal(os.Kill))
	w.logs(w.children[1], "worker paused")
	third.proxy.SetTarget(w.env.Servers.MySQL.Addr)
	w.until(w.all() / 2)

	_, err := second.root.ExecContext(t.Context(), "SET GLOBAL wsrep_cluster_address = ''")
	must(t, err)
	w.logs(w.children[0], "worker paused", "Galera")
	second.proxy.SetTarget(w.env.Servers.MySQL.Addr)
	w.until(w.all() * 2 / 3)
	_, err = second.root.ExecContext(t.Context(), "SET GLOBAL wsrep_cluster_address = 'gcomm://"+g.seed+"'")
	must(t, err)
	second.synced(t)
	second.proxy.SetTarget(second.Addr)
	must(t, backfill.Wait(t.Context()))
	w.env.EnqueuerDSN = second.proxy.through(w.env.EnqueuerDSN) // the rest is submitted on another node
	w.finish()
	t.Logf("%s, Galera %s, three nodes; %d transactions lost against another node's; tasks that came before their "+
		"requests: %d, with wsrep_sync_wait %d", w.mysqlVersion(), status(t, w.env.Root, "wsrep_provider_version"), lost,
		w.logged(w.children[0], early), w.logged(w.children[1], early))
}

// disturb changes the requests that are running, until a condition holds.
func disturb(t *testing.T, root *sql.DB, until func() bool) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	var writes sync.WaitGroup
	writes.Go(func() {
		for ctx.Err() == nil {
			// It may lose as well.
			_, _ = root.ExecContext(ctx, "UPDATE "+demo.LedgerDatabase+".requests SET updated_at = NOW(6)"+
				" WHERE state = 'running'")
		}
	})
	defer writes.Wait()
	defer stop()
	sandboxtest.Eventually(t, "transactions were lost", until)
}

// early is what a worker logs about a task whose request has not come to its node.
const early = "the ledger has no such request"

// logged is how often a program has logged a text.
func (w *world) logged(child *sandbox.Child, text string) int {
	w.t.Helper()
	log, err := os.ReadFile(child.Log)
	must(w.t, err)
	return strings.Count(string(log), text)
}
