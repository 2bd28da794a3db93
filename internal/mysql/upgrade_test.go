package mysql_test

import (
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pressly/goose/v3"

	"github.com/certpurge/certpurge/internal/mysql"
	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/sandbox/lms"
	"github.com/certpurge/certpurge/internal/sandbox/sandboxtest"
)

// shipped are the migrations that ledgers out there have run, with their SHA-256. Add one for each new migration; a
// line that is here never changes, because a ledger that has run a migration does not run it again.
var shipped = map[string]string{
	"00001_ledger.sql":           "2de882cd737fbd97e6ce623b1b9c331c8a338bd823ff913b8368c24f7dca6203",
	"00002_certificates.sql":     "1ef1423362aa4e758c20bc7c2fa36c7bebc8134d50df922d26ae45f0c7639066",
	"00003_files_missing.sql":    "ba8341e23b7069e9ad79ad660ba1f9961a7b107a6c4d90a19308e7cc8246af75",
	"00004_one_open_request.sql": "02898617a1a357eae56f4f1fbfb3dbd63d2390761fb2546a29095a844f592387",
	"00005_directory_owners.sql": "43fe9cca6f8a22850595bb22c1373fde5d7b9369843ebcc9b87ce325c5da8272",
	"00006_orphans.sql":          "f6dab22cb95343024584aefa25f1a279714d0a7ec9f7a91bc7ba7b0905d0077e",
	"00007_documents.sql":        "a64135a4956da5c995f2f76762ac2d7af25f219b103ca83548caeb670d8c9156",
	"00008_notifications.sql":    "6edfbee79cfe8a2d0f62a8223774a4ede73600515e97f336ba5411d580025125",
	"00009_console.sql":          "3c1f604c432c8c8ae1fcc8f2852caa94fea0a4561adc9552069861d2086689b4",
	"00010_since.sql":            "48c875a2d96e94a2bfe61ebcb0589b3eaa12d02f2cceb59121f449ea53716348",
	"00011_fewer_indexes.sql":    "0e557455a23e9791c162b8bd97cb56b3d32b18f1428ab897accaad4695b981b4",
}

func TestMigrationsAreNeverChanged(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("migrations/*.sql")
	if err != nil || len(files) != len(shipped) {
		t.Fatalf("got %d migrations, %v; %d are known", len(files), err, len(shipped))
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(text)
		if got := hex.EncodeToString(sum[:]); got != shipped[filepath.Base(file)] {
			t.Errorf("%s is %s: write a new migration instead of changing it", file, got)
		}
	}
}

// oldRequest writes a request as the first version did: with the columns of 00001 and no other.
func (f *fixture) oldRequest(user purge.UserID, state, reason string) {
	f.t.Helper()
	f.exec("INSERT INTO "+f.db.Ledger+".requests (idempotency_key, user_id, source, state, reason, attempts, "+
		"requested_at, opened_at, updated_at)"+
		" VALUES (?, ?, 'cli', ?, ?, 1, NOW(6), NOW(6), NOW(6))", purge.DefaultKey(user), user, state, reason)
}

// oldLedger is a ledger at a version that was shipped.
func oldLedger(t *testing.T, version int64) *fixture {
	t.Helper()
	f := &fixture{t: t, db: sandboxtest.MySQL(t, lms.UTF8MB4)}
	f.accounts = f.db.Grant(t)
	db, err := sql.Open("mysql", f.migrateDSN())
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	provider, err := goose.NewProvider(goose.DialectMySQL, db, os.DirFS("migrations"),
		goose.WithDisableGlobalRegistry(true))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := provider.UpTo(t.Context(), version); err != nil {
		t.Fatal(err)
	}
	f.Store, f.enqueuer = f.open(f.dsn()), f.open(f.db.LedgerDSN(f.accounts.Enqueuer))
	return f
}

// TestNewProgramOnAnOldLedger: it says what to do and touches nothing; migrated, every old request means what it meant.
func TestNewProgramOnAnOldLedger(t *testing.T) {
	t.Parallel()
	f := oldLedger(t, 1)
	open, done := f.NewUser(purge.Retirement{Requested: true}), f.NewUser(purge.Retirement{Requested: true})
	absent, partly := f.NewUser(purge.Retirement{Requested: true}), f.NewUser(purge.Retirement{Requested: true})
	f.NewReference(open, purge.Live, strings.Repeat("a", 32), strings.Repeat("b", 32), "")
	f.oldRequest(open, "queued", "")
	f.oldRequest(done, "done", "nothing_to_purge")
	f.oldRequest(absent, "done", "files_absent")
	f.oldRequest(partly, "done", "")
	// A second request of the same user, and one of another user, by keys of their callers.
	twice := f.NewUser(purge.Retirement{Requested: true})
	f.oldRequest(twice, "running", "")
	f.exec("INSERT INTO "+f.db.Ledger+".requests (idempotency_key, user_id, source, state, requested_at, opened_at, "+
		"updated_at)"+
		" VALUES ('second', ?, 'api', 'queued', NOW(6), NOW(6), NOW(6))", twice)
	for _, user := range []purge.UserID{absent, partly} {
		f.exec("INSERT INTO "+f.db.Ledger+".evidence_objects (request_id, user_id, certificate_id, source_table, attempt, "+
			"bucket, directory, name,"+
			" generation, size, outcome, listed_at, object_key) SELECT id, user_id, 7, 'live', 1, 'certs', 'cert/x/', "+
			"'cert/x/', 0, 0, 'absent', NOW(6),"+
			" REPEAT('x', 32) FROM "+f.db.Ledger+".requests WHERE user_id = ?", user)
		f.exec("UPDATE "+f.db.Ledger+".requests SET objects_absent = 1 WHERE user_id = ?", user)
	}

	err := f.Check(t.Context())
	if purge.ClassOf(err) != purge.Misconfigured || !strings.Contains(err.Error(), "has version 1") ||
		!strings.Contains(err.Error(), "enqueuer migrate") {
		t.Errorf("got %v", err)
	}
	applied, err := f.migrate()
	if err != nil || len(applied) != len(shipped)-1 {
		t.Fatalf("got %v, %v", applied, err)
	}
	if err := f.Check(t.Context()); err != nil {
		t.Fatalf("after the migration: %v", err)
	}
	// What an old version cleared without having seen a file is told apart from now on; of what it saw in part it kept no
	// record.
	for user, want := range map[purge.UserID]string{absent: "files_missing 0 1 missing_accepted", partly: " 1 0 absent"} {
		var reason, outcome string
		var empty, missing int
		err := f.db.Root.QueryRowContext(t.Context(), "SELECT r.reason, r.objects_absent, r.directories_missing, "+
			"o.outcome FROM "+
			f.db.Ledger+".requests r JOIN "+f.db.Ledger+".evidence_objects o ON o.request_id = r.id WHERE r.user_id = ?", user).
			Scan(&reason, &empty, &missing, &outcome)
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprintf("%s %d %d %s", reason, empty, missing, outcome); got != want {
			t.Errorf("user %d: got %q, want %q", user, got, want)
		}
	}
	// Of two open requests of a user, the older one stands for both.
	both, err := f.Accept(t.Context(), []purge.Submission{
		{User: twice, Key: "second", Source: purge.SourceAPI, Replay: true},
		{User: twice, Key: "second", Source: purge.SourceAPI},
		{User: twice, Key: purge.DefaultKey(twice), Source: purge.SourceCLI},
	})
	if err != nil || both[0].Found != "refused" || both[0].Reason != purge.ReasonSuperseded ||
		both[1].Request != both[2].Request ||
		both[1].Request == both[0].Request || both[1].Found != "running" {
		t.Errorf("two open requests of one user: got %+v, %v", both, err)
	}
	accepted, err := f.Accept(t.Context(), []purge.Submission{
		{User: open, Key: purge.DefaultKey(open), Source: purge.SourceCLI},
		{User: done, Key: purge.DefaultKey(done), Source: purge.SourceCLI},
	})
	if err != nil || accepted[0].Found != purge.Found(purge.Queued) || accepted[1].Found != purge.Found(purge.Done) ||
		accepted[0].Certificate != 0 {
		t.Fatalf("got %+v, %v", accepted, err)
	}
	attempt, err := f.Begin(t.Context(), purge.Task{Request: accepted[0].Request, User: open})
	if err != nil || attempt.Number != 2 || attempt.Certificate != 0 {
		t.Errorf("got %+v, %v; want attempt 2 at all of the user", attempt, err)
	}
}

// TestOldProgramOnANewLedger: migrations only add, so what runs while the ledger is migrated goes on, and one step back
// is possible.
func TestOldProgramOnANewLedger(t *testing.T) {
	t.Parallel()
	f := newFixture(t, lms.UTF8MB4)
	user := f.NewUser(purge.Retirement{Requested: true})
	f.oldRequest(user, "queued", "")
	// of a version that is to come
	f.db.Exec(t, "INSERT INTO "+f.db.Ledger+".goose_db_version (version_id, is_applied) VALUES (99, 1)")
	if err := f.Check(t.Context()); err != nil {
		t.Errorf("on a newer ledger: %v", err)
	}
	applied, err := f.migrate()
	if err != nil || len(applied) != 0 {
		t.Errorf("an older migration on a newer ledger: %v, %v", applied, err)
	}
}

// TestIndexesThatAreSuperseded has statements of programs before ledger version 11, which name their indexes, run on a
// ledger of theirs that is migrated, until the indexes are dropped.
func TestIndexesThatAreSuperseded(t *testing.T) {
	t.Parallel()
	f := oldLedger(t, 9)
	user := f.NewUser(purge.Retirement{Requested: true})
	f.oldRequest(user, "queued", "")
	if _, err := f.migrate(); err != nil {
		t.Fatal(err)
	}
	old := func() (errs []error) {
		for index, condition := range map[string]string{
			"requests_open":     "state = 'queued' AND id > 0 ORDER BY id",
			"requests_state":    "state = 'queued' AND reason = '' AND id > 0 ORDER BY id",
			"requests_finished": "state = 'done' AND finished_at >= NOW() ORDER BY finished_at, id",
			"requests_user":     "user_id = 1 AND state = 'queued' ORDER BY id DESC",
		} {
			if _, err := f.db.Root.ExecContext(t.Context(), "SELECT id FROM "+f.db.Ledger+".requests FORCE INDEX ("+index+
				") WHERE "+condition); err != nil {
				errs = append(errs, err)
			}
		}
		return errs
	}
	names, err := f.SupersededIndexes(t.Context())
	if errs := old(); err != nil || len(errs) > 0 || len(names) != 3 {
		t.Errorf("migrated: got %v, %v, %v; want all indexes that earlier versions name", errs, names, err)
	}
	migrator := f.open(f.migrateDSN())
	for _, want := range []int{3, 0} { // the second time, there is nothing to drop
		if dropped, err := migrator.DropSuperseded(t.Context()); err != nil || len(dropped) != want {
			t.Errorf("got %v, %v; want %d indexes dropped", dropped, err, want)
		}
	}
	names, err = f.SupersededIndexes(t.Context())
	// The server takes requests_open for requests_open_scope, of which it is a part: it is slow, and right.
	if errs := old(); err != nil || len(errs) != 1 || len(names) != 0 {
		t.Errorf("dropped: got %v, %v, %v", errs, names, err)
	}
	fresh := newFixture(t, lms.UTF8MB4)
	if names, err := fresh.SupersededIndexes(t.Context()); err != nil || len(names) != 0 {
		t.Errorf("of a new ledger: got %v, %v; want none", names, err)
	}
	if before, after := f.requestIndexes(), fresh.requestIndexes(); before != after {
		t.Errorf("a migrated ledger has other indexes than a new one:\n%s\n%s", before, after)
	}
}

// requestIndexes are the indexes of the table requests, with their columns.
func (f *fixture) requestIndexes() (all string) {
	f.t.Helper()
	err := f.db.Root.QueryRowContext(f.t.Context(), "SELECT GROUP_CONCAT(CONCAT(index_name, ':', column_name) ORDER BY "+
		"index_name, seq_in_index) FROM information_schema.statistics WHERE table_schema = ? AND table_name = 'requests'",
		f.db.Ledger).Scan(&all)
	if err != nil {
		f.t.Fatal(err)
	}
	return all
}

// oldEvidence writes evidence as versions before ledger version 7 did.
func (f *fixture) oldEvidence(request purge.RequestID, user purge.UserID, name string, number int, outcome purge.Outcome,
	until any, settled time.Time,
) {
	f.t.Helper()
	var at any
	if !settled.IsZero() {
		at = settled
	}
	f.exec("INSERT INTO "+f.db.Ledger+".evidence_objects (request_id, user_id, certificate_id, source_table, attempt, "+
		"bucket, directory, name, generation, size, outcome, until, listed_at, settled_at, object_key) VALUES (?, ?, 7, "+
		"'live', 1, 'certs', 'cert/x/', CONCAT('cert/x/', ?), ?, 5, ?, ?, '2026-01-01', ?, UNHEX(SHA2(?, 256)))", request, user,
		name, number, outcome, until, at, fmt.Sprint(name, number))
}

// TestEvidenceOfEarlierVersions has an attempt of this version follow one of an earlier version, before and after its
// evidence has become a document.
func TestEvidenceOfEarlierVersions(t *testing.T) {
	t.Parallel()
	for name, convert := range map[string]bool{"rows": false, "converted": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, lms.UTF8MB4)
			migrator := f.open(f.migrateDSN())
			task := f.submitted()
			settled := time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC)
			dir := purge.Directory{Bucket: "certs", Prefix: "cert/x/"}
			f.oldEvidence(task.Request, task.User, "listed", 1, purge.Listed, nil, time.Time{})
			f.oldEvidence(task.Request, task.User, "erased", 2, purge.Erased, nil, settled)
			f.oldEvidence(task.Request, task.User, "soft", 3, purge.SoftDeleted, settled.AddDate(9, 0, 0), settled)
			f.exec("INSERT INTO "+f.db.Ledger+".evidence (request_id, user_id, certificate_id, source_table, attempt, "+
				"references_cleared, cleared_at) VALUES (?, ?, 7, 'live', 1, 2, ?)", task.Request, task.User, settled)
			if convert {
				n, err := migrator.ConvertEvidence(t.Context(), func(int) {})
				again, errAgain := migrator.ConvertEvidence(t.Context(), func(int) {})
				if err != nil || errAgain != nil || n != 1 || again != 0 {
					t.Fatalf("got %d, %v, then %d, %v; want one request, then none", n, err, again, errAgain)
				}
				f.verified(1)
			}
			var records []mysql.EvidenceRecord
			keep := func(r mysql.EvidenceRecord) error { records = append(records, r); return nil }
			err := f.EachEvidence(t.Context(), mysql.EvidenceFilter{User: task.User}, keep)
			if err != nil || len(records) != 4 || records[3].ReferencesCleared != 2 || !records[3].At.Equal(settled) {
				t.Errorf("of the user: got %+v, %v", records, err)
			}
			records = nil
			err = f.EachEvidence(t.Context(), mysql.EvidenceFilter{Since: settled}, keep)
			if err != nil || len(records) < 3 {
				t.Errorf("since then: got %+v, %v; want three pieces that are settled", records, err)
			}
			emptied, err := f.Emptied(t.Context(), task.User, []purge.Directory{dir})
			if err != nil || len(emptied) != 1 {
				t.Errorf("got %v, %v; want the directory to have been emptied before", emptied, err)
			}
			attempt, err := f.Begin(t.Context(), task)
			if err != nil {
				t.Fatal(err)
			}
			got, err := f.Record(t.Context(), attempt, purge.Report{State: purge.Done, Proven: []purge.Directory{dir}})
			want := purge.Counts{Certificates: 1, ObjectsErased: 2, ObjectsSoftDeleted: 1, ReferencesCleared: 2}
			if err != nil || got.State != purge.Done || got.Counts != want {
				t.Errorf("got %+v, %v; want %+v", got, err, want)
			}
		})
	}
}

// TestRowsThatChangeAreConvertedAgain has a worker of an earlier version go on after its evidence was converted.
func TestRowsThatChangeAreConvertedAgain(t *testing.T) {
	t.Parallel()
	f := newFixture(t, lms.UTF8MB4)
	migrator := f.open(f.migrateDSN())
	task := f.submitted()
	f.oldEvidence(task.Request, task.User, "a", 1, purge.Listed, nil, time.Time{})
	if n, err := migrator.ConvertEvidence(t.Context(), func(int) {}); err != nil || n != 1 {
		t.Fatalf("got %d, %v", n, err)
	}
	f.exec("UPDATE "+f.db.Ledger+".evidence_objects SET outcome = 'erased', settled_at = ?",
		time.Now().Add(time.Minute).UTC())
	if n, err := migrator.ConvertEvidence(t.Context(), func(int) {}); err != nil || n != 1 {
		t.Fatalf("again: got %d, %v", n, err)
	}
	f.verified(2)
	f.exec("DELETE FROM " + f.db.Ledger + ".evidence_objects") // as a later version may
	var outcomes []purge.Outcome
	err := f.EachEvidence(t.Context(), mysql.EvidenceFilter{User: task.User}, func(r mysql.EvidenceRecord) error {
		outcomes = append(outcomes, r.Outcome)
		return nil
	})
	if err != nil || len(outcomes) != 1 || outcomes[0] != purge.Erased {
		t.Errorf("got %v, %v; want it erased", outcomes, err)
	}
}

// TestSupersededRightsAreRevoked gives the worker's account what an earlier version granted it.
func TestSupersededRightsAreRevoked(t *testing.T) {
	t.Parallel()
	f := newFixture(t, lms.UTF8MB4)
	migrator := f.open(f.migrateDSN())
	for range 2 { // the second time, there is nothing to revoke
		if err := migrator.RevokeSuperseded(t.Context(), mysql.RoleWorker, f.accounts.Worker.String()); err != nil {
			t.Fatal(err)
		}
		if excess, err := f.ExcessRights(t.Context(), mysql.RoleWorker); err != nil || len(excess) != 0 {
			t.Errorf("got %v, %v; want no right that is not needed", excess, err)
		}
	}
	f.exec("GRANT INSERT, UPDATE ON " + f.db.Ledger + ".evidence_objects TO " + fmt.Sprintf("'%s'@'%s'", f.accounts.Worker.Name, f.accounts.Worker.Host))
	if excess, err := f.ExcessRights(t.Context(), mysql.RoleWorker); err != nil || len(excess) == 0 {
		t.Errorf("got %v, %v; want that the rights are too wide", excess, err)
	}
	if err := migrator.RevokeSuperseded(t.Context(), mysql.RoleWorker, f.accounts.Worker.String()); err != nil {
		t.Fatal(err)
	}
	if excess, err := f.ExcessRights(t.Context(), mysql.RoleWorker); err != nil || len(excess) != 0 {
		t.Errorf("got %v, %v; want them revoked", excess, err)
	}
}
