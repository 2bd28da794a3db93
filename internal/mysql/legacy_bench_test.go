package mysql_test

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"sync"
	"testing"

	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/sandbox/lms"
	"github.com/certpurge/certpurge/internal/sandbox/sandboxtest"
)

// BenchmarkConvert makes documents of evidence that an earlier version has written in rows, four files and two tables a
// user, while a worker purges others. BENCH_FULL=1 has a million requests.
func BenchmarkConvert(b *testing.B) {
	n := 20_000
	if os.Getenv("BENCH_FULL") != "" {
		n = 1_000_000
	}
	for b.Loop() {
		b.StopTimer()
		f := newFixture(b, lms.UTF8MB4)
		f.oldLedger(n)
		ctx, stop := context.WithCancel(b.Context())
		var beside sync.WaitGroup
		purged := 0
		beside.Go(func() {
			for i := 1; ctx.Err() == nil; i++ {
				c := f.purgeable(i)
				begun := f.BeginAll(b.Context(), c)
				c.Attempt = begun[0].Value
				f.IntendAll(b.Context(), c)
				if a := f.RecordAll(b.Context(), c); a[0].Err != nil || a[0].Value.State != purge.Done {
					b.Errorf("beside the migration: got %+v", a)
				}
				purged++
			}
		})
		b.StartTimer()
		converted, err := f.open(f.migrateDSN()).ConvertEvidence(b.Context(), func(int) {})
		b.StopTimer()
		stop()
		beside.Wait()
		if err != nil || converted != n {
			b.Fatalf("got %d requests, %v; want %d", converted, err, n)
		}
		var documents int
		err = f.db.Root.QueryRowContext(b.Context(), "SELECT COUNT(*) FROM "+f.db.Ledger+".evidence_documents").Scan(&documents)
		if err != nil || documents != n+2*purged {
			b.Errorf("got %d documents, %v; want %d and two for each of %d users", documents, err, n, purged)
		}
		got, err := f.Emptied(b.Context(), purge.UserID(1_000_000+n), []purge.Directory{{
			Bucket: "certs", Prefix: fmt.Sprintf("downloads/%032d/", n),
		}})
		if err != nil || len(got) != 1 {
			b.Errorf("got %v, %v; want the directory of the last user to have been emptied", got, err)
		}
		b.StartTimer()
	}
	b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "requests/s")
}

// oldLedger fills the tables of earlier versions.
func (f *fixture) oldLedger(n int) {
	f.t.Helper()
	ledger, numbers := f.db.Ledger, sandboxtest.Numbers(n)
	f.exec("INSERT INTO " + ledger + ".requests (id, idempotency_key, user_id, source, state, ended_as, objects_erased, " +
		"references_cleared, attempts, requested_at, opened_at, finished_at, updated_at) SELECT 1000000 + seq, " +
		"CONCAT('old:', seq), 1000000 + seq, 'backfill', 'done', 'done:', 4, 2, 1, '2025-01-01', '2025-01-01', '2025-01-01', " +
		"'2025-01-01' FROM " + numbers)
	for _, table := range []string{"live", "history"} {
		f.exec("INSERT INTO " + ledger + ".evidence (request_id, user_id, certificate_id, source_table, attempt, " +
			"references_cleared, cleared_at) SELECT 1000000 + seq, 1000000 + seq, seq, '" + table + "', 1, 1, '2025-01-01' FROM " +
			numbers)
	}
	for i, file := range []string{
		"downloads/%/Certificate.pdf", "cert/%/Certificate.pdf.sig", "cert/%/valid.html", "cert/%/verify.html",
	} {
		name := "REPLACE('" + file + "', '%', LPAD(seq, 32, '0'))"
		f.exec("INSERT INTO " + ledger + ".evidence_objects (request_id, user_id, certificate_id, source_table, attempt, " +
			"bucket, directory, name, generation, size, outcome, listed_at, settled_at, object_key) SELECT 1000000 + seq, " +
			"1000000 + seq, seq, 'live', 1, 'certs', LEFT(" + name + ", CHAR_LENGTH(" + name +
			") - CHAR_LENGTH(SUBSTRING_INDEX(" + name + ", '/', -1))), " + name + ", 1700000000000000, 1000, 'erased', " +
			"'2025-01-01', '2025-01-01', UNHEX(SHA2(CONCAT('" + strconv.Itoa(i) + "', seq), 256)) FROM " + numbers)
	}
}
