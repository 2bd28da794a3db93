package mysql_test

import (
	"slices"
	"testing"

	"github.com/certpurge/certpurge/internal/mysql"
	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/sandbox/lms"
	"github.com/certpurge/certpurge/internal/sandbox/sandboxtest"
)

// BenchmarkLedgerBytes measures what a user with one certificate costs in all tables of the ledger, once queued and once
// purged: the pages of data and indexes as they were written.
func BenchmarkLedgerBytes(b *testing.B) {
	const users = 20_000
	f := newFixtureOn(b, sandboxtest.On(b, sandboxtest.OwnServers(b).MySQL, lms.UTF8MB4))
	f.exec("SET GLOBAL innodb_buffer_pool_size = 268435456")
	populate(b, f.db, users)
	f.exec("UPDATE " + f.db.LMS + "." + lms.Certificates + " SET download_uuid = LOWER(LPAD(HEX(id), 32, '0')), " +
		"download_url = CONCAT('https://storage.googleapis.com/certs/downloads/', LOWER(LPAD(HEX(id), 32, '0')), '/C.pdf')")
	empty := f.ledgerBytes()
	report := func(name string) { b.ReportMetric(float64(f.ledgerBytes()-empty)/users, name+"-B/user") }
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

// ledgerBytes is the size of the pages that the ledger's tables and indexes use, counted where all of them are: in the
// server's memory. The statistics of a table count the space that is reserved for each index, too.
func (f *fixture) ledgerBytes() (size int64) {
	f.t.Helper()
	err := f.db.Root.QueryRowContext(f.t.Context(), "SELECT COUNT(*) * @@innodb_page_size FROM "+
		"information_schema.innodb_buffer_page WHERE page_type LIKE '%INDEX' AND table_name LIKE ?",
		"`"+f.db.Ledger+"`.%").Scan(&size)
	if err != nil {
		f.t.Fatal(err)
	}
	return size
}
