package mysql_test

import (
	"fmt"
	"testing"

	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/sandbox/lms"
	"github.com/certpurge/certpurge/internal/sandbox/sandboxtest"
)

// populate makes n users who requested retirement, all but a few without a reference, as at a site that has been
// purged.
func populate(tb testing.TB, db *sandboxtest.Database, n int) {
	tb.Helper()
	rows := " FROM " + sandboxtest.Numbers(n)
	for _, statement := range []string{
		"INSERT INTO " + db.LMS + "." + lms.Users + " (id, password, is_superuser, username, first_name, last_name, email, " +
			"is_staff, is_active, date_joined)" +
			" SELECT seq, '!', 0, CONCAT('u', seq), '', '', CONCAT('u', seq, '@example.com'), 0, 1, '2015-01-01'" + rows,
		"INSERT INTO " + db.LMS + "." + lms.RetirementRequest + " (id, created, modified, user_id) SELECT seq, " +
			"'2020-01-01', '2020-01-01', seq" + rows,
		// One in ten is still in the pipeline; the status rows of the others are cleaned up.
		"INSERT INTO " + db.LMS + "." + lms.RetirementStatus + " (created, modified, original_username, original_email, " +
			"original_name, retired_username," +
			" retired_email, responses, current_state_id, last_state_id, user_id) SELECT '2020-01-01', '2020-01-01', " +
			"CONCAT('u', seq), '', '', '', '', '', 7, 7, seq" +
			rows + " WHERE seq % 10 = 0",
		"INSERT INTO " + db.LMS + "." + lms.Certificates + " (id, course_id, verify_uuid, download_uuid, download_url, " +
			"grade, `key`, distinction, status, mode, name," +
			" created_date, modified_date, error_reason, user_id) SELECT seq, 'c', REPEAT('a', 32), IF(seq % 1000 = 0, " +
			"REPEAT('b', 32), ''), '', '', '', 0, '', '', ''," +
			" '2015-01-01', '2015-01-01', '', seq" + rows,
		"INSERT INTO " + db.LMS + "." + lms.History + " (id, course_id, verify_uuid, download_uuid, download_url, grade, " +
			"`key`, distinction, status, mode, name," +
			" created_date, modified_date, error_reason, history_date, history_type, user_id) SELECT seq, 'c', REPEAT('a', " +
			"32), '', '', '', '', 0, '', '', ''," +
			" '2015-01-01', '2015-01-01', '', '2015-01-01', '~', seq" + rows,
	} {
		if _, err := db.Root.ExecContext(tb.Context(), statement); err != nil {
			tb.Fatalf("running %.60s: %v", statement, err)
		}
	}
}

// BenchmarkSweep reads all retirement requests and looks for references, as a round of the watcher does.
func BenchmarkSweep(b *testing.B) {
	for _, n := range []int{10_000, 1_000_000} {
		b.Run(fmt.Sprintf("requests=%d", n), func(b *testing.B) {
			f := newFixture(b, lms.UTF8MB4)
			populate(b, f.db, n)
			for b.Loop() {
				looked, found := 0, 0
				for after := purge.UserID(0); ; {
					page, err := f.Retirees(b.Context(), after, 500)
					if err != nil {
						b.Fatal(err)
					}
					if len(page) == 0 {
						break
					}
					after = page[len(page)-1].User
					users := make([]purge.UserID, len(page))
					for i, r := range page {
						users[i] = r.User
					}
					standings, err := f.Standings(b.Context(), users)
					if err != nil {
						b.Fatal(err)
					}
					looked, found = looked+len(page), found+len(standings)
				}
				if looked != n || found != n/1000 {
					b.Fatalf("checked %d, found %d", looked, found)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/request")
		})
	}
}
