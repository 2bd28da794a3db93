package console_test

import (
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/certpurge/certpurge/internal/login"
	"github.com/certpurge/certpurge/internal/mysql"
	"github.com/certpurge/certpurge/internal/sandbox/lms"
	"github.com/certpurge/certpurge/internal/sandbox/sandboxtest"
)

// TestPagesReadFewRows opens every page on a ledger with very many requests, and counts the rows that the server reads
// for it. Two cores read a million rows in a second, so 35,000 are far below 100 ms. The cached figures, which count all
// requests, are read before.
func TestPagesReadFewRows(t *testing.T) {
	t.Parallel()
	requests := 200_000
	if os.Getenv("BENCH_FULL") != "" {
		requests = 1_000_000
	}
	o := newOfficeOn(t, sandboxtest.On(t, sandboxtest.OwnServers(t).MySQL, lms.Mixed), mysql.RoleEnqueuer, "")
	user, request := o.purged("a")
	const state = "ELT(1 + seq % 5, 'queued', 'refused', 'done', 'failed', 'failed')"
	const reason = "IF(seq % 5 > 2, ELT(1 + seq % 3, 'held', 'gave_up', 'files_missing'), IF(seq % 5 = 1, 'not_retiring', ''))"
	o.db.Exec(t, "INSERT INTO "+o.db.Ledger+".requests (idempotency_key, user_id, source, state, reason, ended_as, "+
		"requested_by, requested_at, opened_at, updated_at, finished_at) SELECT CONCAT('user:', 1000 + seq), 1000 + seq, "+
		"ELT(1 + seq % 2, 'api', 'backfill'), "+state+", "+reason+", CONCAT("+state+", ':', "+reason+"), 'cli, alice@ops', "+
		"'2026-01-01', '2026-01-01', '2026-01-01', IF(seq % 5 = 0, NULL, '2026-01-01' + INTERVAL seq SECOND) FROM "+
		sandboxtest.Numbers(requests)+" ORDER BY seq")
	o.db.Exec(t, "ANALYZE TABLE "+o.db.Ledger+".requests")
	begun := time.Now()
	o.page.Now = func() time.Time { return begun } // what is cached stays
	v := o.as("alice", login.Operate)
	v.get(http.StatusOK, "/requests") // the cached figures
	for path, most := range map[string]int{
		"/requests": 2_000, "/requests?state=failed&reason=held": 2_000, "/requests?state=failed&before=100000": 2_000,
		"/requests?user=77000": 2_000, "/requests?id=77000": 2_000, "/requests?key=x": 2_000, "/requests?q=77000": 2_000,
		"/requests?from=2026-01-01&to=2026-01-01": 20_000, "/requests?state=failed&from=2026-01-01": 20_000,
		"/requests?by=nothing": 30_000, "/requests?source=driver&reason=held": 35_000, "/requests?ticket=x&state=done": 30_000,
		"/requests?queue=backfill&by=alice&from=2026-01-01": 35_000, "/requests?ticket=x&before=90000": 30_000,
		"/requests/requeue?all=1&state=failed": 35_000, "/requests/requeue?all=1&user=77000": 2_000,
		"/requests/" + number(request): 2_000, "/users/" + number(user): 2_000, "/users/78000": 2_000, "/coverage": 2_000,
		"/inventory": 2_000, "/users/" + number(user) + "/purge": 2_000,
	} {
		before := o.db.RowsRead(t)
		status, body, _ := v.send(http.MethodGet, path, nil)
		read := o.db.RowsRead(t) - before
		if status >= http.StatusInternalServerError || read > most {
			t.Errorf("%s: got %d, and the server reads %d rows, want at most %d\n%.300s", path, status, read, most, text(body))
		}
		t.Logf("%s: %d, %d rows", path, status, read)
	}
}
