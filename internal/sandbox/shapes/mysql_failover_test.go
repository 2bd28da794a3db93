//go:build shapes

package shapes_test

import (
	"testing"

	"github.com/certpurge/certpurge/internal/sandbox"
)

// TestReadOnly: the server takes no writes for a while in the middle, as a primary that is about to hand over.
func TestReadOnly(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ofTheDemo, many)
	w.migrate()
	backfill := w.backfill("--high-water", "300")
	w.work("worker-1")
	w.work("worker-2")
	w.until(w.all() / 3)
	option := map[sandbox.Engine]string{sandbox.MariaDB: "read_only", sandbox.OracleMySQL: "super_read_only"}
	name := option[w.env.Servers.MySQL.Engine]
	w.exec("SET GLOBAL " + name + " = 1")
	settled := w.settled() // what had committed before
	for _, worker := range w.children {
		w.logs(worker, "worker paused", "MySQL is read-only")
	}
	if now := w.settled(); now > settled {
		t.Errorf("got %d requests that were settled meanwhile, want none", now-settled)
	}
	w.exec("SET GLOBAL " + name + " = 0")
	w.exec("SET GLOBAL read_only = 0") // super_read_only sets it as well
	must(t, backfill.Wait(t.Context()))
	w.finish()
	t.Logf("%s, %s in the middle", w.mysqlVersion(), name)
}

// TestGalera purges on a node of a Galera cluster of one, which leaves it for a while in the middle.
func TestGalera(t *testing.T) {
	t.Parallel()
	g := newGalera(t)
	w := g.world(many)
	w.migrate()
	w.healthy()
	backfill := w.backfill("--high-water", "300")
	w.work("worker-1")
	w.work("worker-2")
	w.until(w.all() / 3)
	w.exec("SET GLOBAL wsrep_cluster_address = ''") // out of the cluster: it answers nothing but error 1047
	for _, worker := range w.children {
		w.logs(worker, "worker paused", "Galera")
	}
	w.exec("SET GLOBAL wsrep_cluster_address = 'gcomm://'")
	must(t, backfill.Wait(t.Context()))
	w.finish()
	t.Logf("%s, Galera %s, one node; out of its cluster in the middle", w.mysqlVersion(),
		status(t, w.env.Root, "wsrep_provider_version"))
}

func (w *world) exec(statement string) {
	w.t.Helper()
	_, err := w.env.Root.ExecContext(w.t.Context(), statement)
	must(w.t, err)
}
