package mysql_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/certpurge/certpurge/internal/mysql"
	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/sandbox/lms"
)

// BenchmarkLedgerBytes measures what a user with one certificate costs in all tables of the ledger, once queued and once
// purged: the pages of data and indexes that are in use, as they were written and after OPTIMIZE.
func BenchmarkLedgerBytes(b *testing.B) {
	const users = 20_000
	f := newFixture(b, lms.UTF8MB4)
	populate(b, f.db, users)
	f.exec("UPDATE " + f.db.LMS + "." + lms.Certificates + " SET download_uuid = LOWER(LPAD(HEX(id), 32, '0')), " +
		"download_url = CONCAT('https://storage.googleapis.com/certs/downloads/', LOWER(LPAD(HEX(id), 32, '0')), '/C.pdf')")
	empty := f.ledgerBytes(false)
	report := func(name string) { // the pages as they were written first: OPTIMIZE writes them anew
		written := f.ledgerBytes(false)
		b.ReportMetric(float64(written-empty)/users, name+"-B/user")
		b.ReportMetric(float64(f.ledgerBytes(true)-empty)/users, name+"-optimized-B/user")
	}
	for b.Loop() {
		var tasks []purge.Task
		for part := range slices.Chunk(submissionsOf(1, users), 500) {
			accepted, err := f.Accept(b.Context(), part)
			if err != nil {
				b.Fatal(err)
			}
			for _, a := range accepted {
				tasks = append(tasks, purge.Task{Request: a.Request, User: a.User})
			}
		}
		report("queued")
		for part := range slices.Chunk(tasks, 50) {
			f.purge(part)
		}
		report("purged")
	}
	b.ReportMetric(0, "ns/op")
}

// purge purges users with one certificate, as one batch does.
func (f *fixture) purge(tasks []purge.Task) {
	f.t.Helper()
	calls := make([]benchCall, len(tasks))
	all := make([]mysql.Call, len(tasks))
	for i, task := range tasks {
		all[i].Task = task
	}
	for i, a := range f.BeginAll(f.t.Context(), all...) {
		if a.Err != nil || len(a.Value.Read.References) != 1 {
			f.t.Fatalf("got %+v, want an attempt and a reference", a)
		}
		ref := a.Value.Read.References[0]
		calls[i].Task, calls[i].Attempt = tasks[i], a.Value
		calls[i].purges(ref, ref.DownloadUUID)
		all[i] = calls[i].Call
	}
	f.IntendAll(f.t.Context(), all...)
	for _, a := range f.RecordAll(f.t.Context(), all...) {
		if a.Err != nil || a.Value.State != purge.Done {
			f.t.Fatalf("got %+v, want it done", a)
		}
	}
}

// ledgerBytes is the size of the leaf pages that the ledger's tables use, indexes included. An extent that is reserved
// for an index and still empty does not count: of a large table it is nothing.
func (f *fixture) ledgerBytes(optimize bool) (size int64) {
	f.t.Helper()
	rows, err := f.db.Root.QueryContext(f.t.Context(),
		"SELECT table_name FROM information_schema.tables WHERE table_schema = ?", f.db.Ledger)
	if err != nil {
		f.t.Fatal(err)
	}
	defer rows.Close()
	var tables []string
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			f.t.Fatal(err)
		}
		tables = append(tables, f.db.Ledger+"."+name)
	}
	if err := rows.Err(); err != nil {
		f.t.Fatal(err)
	}
	for _, table := range tables { // only statistics that are kept say it
		f.exec("ALTER TABLE " + table + " STATS_PERSISTENT = 1")
	}
	if optimize {
		f.exec("OPTIMIZE TABLE " + strings.Join(tables, ", "))
	}
	f.exec("ANALYZE TABLE " + strings.Join(tables, ", "))
	err = f.db.Root.QueryRowContext(f.t.Context(), "SELECT SUM(stat_value) * @@innodb_page_size FROM "+
		"mysql.innodb_index_stats WHERE database_name = ? AND stat_name = 'n_leaf_pages'", f.db.Ledger).Scan(&size)
	if err != nil {
		f.t.Fatal(err)
	}
	return size
}

