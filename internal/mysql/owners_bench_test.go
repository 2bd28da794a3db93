package mysql_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/certpurge/certpurge/internal/mysql"
	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/purge/purgetest"
	"github.com/certpurge/certpurge/internal/sandbox/lms"
	"github.com/certpurge/certpurge/internal/sandbox/sandboxtest"
)

// BenchmarkOwners reads whose directories there are, of a site with 200,000 certificates, and requests a user of three,
// beside the reading of the user that comes before.
func BenchmarkOwners(b *testing.B) {
	const certificates = 200_000
	f := newFixture(b, lms.UTF8MB4)
	user := f.NewUser(purgetest.Retiring)
	var ids []string
	for n := range 3 {
		download, verify := fmt.Sprintf("%032x", 1<<40+n), fmt.Sprintf("%032x", 1<<41+n)
		f.NewReference(user, purge.Live, download, verify, "https://certs.example.org/downloads/"+download+"/Certificate.pdf")
		ids = append(ids, download, verify)
	}
	f.db.ExecUnchecked(b, "INSERT INTO "+f.db.LMS+"."+lms.Certificates+
		" (id, user_id, course_id, verify_uuid, download_uuid, download_url, grade, `key`, distinction, status, mode, "+
		"name, created_date, modified_date, error_reason)"+
		" SELECT 1000 + seq, 1000000 + seq DIV 3, seq, LEFT(SHA2(seq, 256), 32), LEFT(SHA2(-seq, 256), 32), "+
		"CONCAT('https://certs.example.org/downloads/', LEFT(SHA2(-seq, 256), 32), '/Certificate.pdf'),"+
		" '', '', 0, 'downloadable', 'honor', '', NOW(), NOW(), '' FROM "+sandboxtest.Numbers(certificates))
	b.Run("first walk", func(b *testing.B) {
		for b.Loop() {
			f.exec("TRUNCATE " + f.db.Ledger + ".directory_owners")
			f.exec("TRUNCATE " + f.db.Ledger + ".owner_walks")
			rows := int64(0)
			if err := f.WalkOwners(b.Context(), 1<<30, func(w mysql.Walk) { rows = w.Rows }); err != nil || rows < certificates {
				b.Fatalf("got %d rows, %v", rows, err)
			}
		}
		b.ReportMetric(certificates*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
	})
	f.ReadOwners() // also where the first walk was not chosen
	for name, ask := range map[string]func(context.Context) error{
		"ask/user":    func(ctx context.Context) error { _, err := f.User(ctx, user); return err },
		"ask/sharing": func(ctx context.Context) error { _, err := f.Sharing(ctx, user, ids); return err },
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if err := ask(b.Context()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
