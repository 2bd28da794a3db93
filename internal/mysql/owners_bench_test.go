package mysql_test

import (
	"context"
	"fmt"
	"strconv"
	"testing"

	"github.com/certpurge/certpurge/internal/mysql"
	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/purge/purgetest"
	"github.com/certpurge/certpurge/internal/sandbox/lms"
)

// BenchmarkOwners reads whose directories there are, of a site with 200,000 certificates, and asks for a user of three, beside
// the reading of the user that comes before.
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
	_, err := f.db.Root.ExecContext(b.Context(), "SET STATEMENT foreign_key_checks = 0 FOR INSERT INTO "+f.db.LMS+"."+lms.Certificates+
		" (id, user_id, course_id, verify_uuid, download_uuid, download_url, grade, `key`, distinction, status, mode, name, created_date, modified_date, error_reason)"+
		" SELECT 1000 + seq, 1000000 + seq DIV 3, seq, MD5(seq), MD5(-seq), CONCAT('https://certs.example.org/downloads/', MD5(-seq), '/Certificate.pdf'),"+
		" '', '', 0, 'downloadable', 'honor', '', NOW(), NOW(), '' FROM "+f.db.Ledger+".seq_1_to_"+strconv.Itoa(certificates))
	if err != nil {
		b.Skipf("making certificates (it needs MariaDB's sequences): %v", err)
	}
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
