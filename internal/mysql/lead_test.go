package mysql_test

import (
	"context"
	"database/sql"
	"fmt"
	"testing"

	"github.com/certpurge/certpurge/internal/sandbox/lms"
	"github.com/certpurge/certpurge/internal/sandbox/sandboxtest"
)

// TestALeaderWhoseReleaseFailsStopsLeading lets the server refuse the release, and looks whether another connection may
// lead. The connection itself is sound, so a pool that got it back would hold the lock for as long as the process
// lives.
func TestALeaderWhoseReleaseFailsStopsLeading(t *testing.T) {
	t.Parallel()
	f := newFixture(t, lms.UTF8MB4)
	limit := func(queries int) {
		f.exec(fmt.Sprintf("ALTER USER %s WITH MAX_QUERIES_PER_HOUR %d", f.account(), queries))
	}
	limit(1000) // sessions that begin without a limit never get one
	leader := f.open(f.dsn())
	for name, lead := range map[string]func(context.Context) (func(), bool, error){
		"reconciler": leader.Lead,
		"watcher":    leader.LeadWatch,
		"notifier":   leader.LeadNotify,
	} {
		limit(1000)
		release, leading, err := lead(t.Context())
		if err != nil || !leading {
			t.Fatalf("%s: got %v, %v; want to lead", name, leading, err)
		}
		limit(1)
		if err := leader.Check(t.Context()); err == nil {
			t.Fatalf("%s: the server refuses nothing", name)
		}
		release()
		lock := map[string]string{
			"reconciler": "certpurge_reconcile", "watcher": "certpurge_watch", "notifier": "certpurge_notify",
		}[name]
		sandboxtest.Eventually(t, "the lock of the "+name+" is free", func() bool {
			var free sql.NullInt64
			err := f.db.Root.QueryRowContext(t.Context(), "SELECT IS_FREE_LOCK(?)", lock+":"+f.db.Ledger).Scan(&free)
			return err == nil && free.Int64 == 1
		})
	}
}
