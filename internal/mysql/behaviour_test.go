package mysql_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/certpurge/certpurge/internal/config"
	"github.com/certpurge/certpurge/internal/mysql"
	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/purge/purgetest"
	"github.com/certpurge/certpurge/internal/sandbox/lms"
	"github.com/certpurge/certpurge/internal/sandbox/sandboxtest"
)

const idD, idV = purgetest.DownloadID, purgetest.VerifyID

// purgeUser runs a whole purge of a user on the fixture and a fake bucket.
func (f *fixture) purgeUser(user purge.UserID) purge.Result {
	f.t.Helper()
	return f.purgeWith(user)
}

// purgeWith is purgeUser on buckets with certain settings.
func (f *fixture) purgeWith(user purge.UserID, settings ...purge.BucketSettings) purge.Result {
	f.t.Helper()
	accepted, err := f.Accept(f.t.Context(), []purge.Submission{{
		User: user, Key: purge.DefaultKey(user),
		Source: purge.SourceCLI,
	}})
	if err != nil {
		f.t.Fatal(err)
	}
	cloud := purgetest.NewCloud()
	for _, name := range purgetest.FourFiles() {
		cloud.Put(name)
	}
	purger := &purge.Purger{
		Users: f.Store, Ledger: f.Store, Objects: cloud, Locations: purgetest.OneLocation(f.t),
		Settings: func() []purge.BucketSettings { return settings },
		// All users have the same four files: what is checked is the rows.
		Policy: purge.Policy{ExcludedStates: []string{"PENDING"}, ClearHistory: true, AcceptShared: true, MaxAttempts: 3},
	}
	result, err := purger.Purge(f.t.Context(), purge.Task{Request: accepted[0].Request, User: user})
	if err != nil {
		f.t.Fatal(err)
	}
	return result
}

// TestOnlyTwoColumnsDiffer compares every column of every LMS table before and after a purge.
func TestOnlyTwoColumnsDiffer(t *testing.T) {
	t.Parallel()
	f := newFixture(t, lms.Mixed)
	user, other := f.NewUser(purgetest.Retiring), f.NewUser(purgetest.Retiring)
	url := "gs://certs/downloads/" + idD + "/Certificate.pdf"
	id := f.NewReference(user, purge.Live, idD, idV, url).RowID
	historyID := f.NewReference(user, purge.History, idD, idV, url).RowID
	f.NewReference(user, purge.Live, "", idV, "") // a web certificate
	f.NewReference(other, purge.Live, idD, idV, url)
	before := map[string][]map[string]string{}
	for _, table := range []string{
		lms.Users, lms.RetirementStates, lms.RetirementStatus, lms.RetirementRequest, lms.PartnerReporting, lms.Certificates,
		lms.History, lms.PurgeArguments,
	} {
		before[table] = f.db.DumpTable(t, table)
	}
	if result := f.purgeUser(user); result.State != purge.Done || result.Counts.ReferencesCleared != 2 {
		t.Fatalf("got %+v", result)
	}
	for _, row := range before[lms.Certificates] {
		if row["id"] == strconv.FormatInt(id, 10) {
			row["download_uuid"], row["download_url"] = "", ""
		}
	}
	for _, row := range before[lms.History] {
		if row["history_id"] == strconv.FormatInt(historyID, 10) {
			row["download_uuid"], row["download_url"] = "", ""
		}
	}
	for table, want := range before {
		if diff := cmp.Diff(want, f.db.DumpTable(t, table)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", table, diff)
		}
	}
}

// countingConn counts what is written: the driver sends each command in one piece and waits for its answer.
type countingConn struct {
	net.Conn
	writes *atomic.Int64
}

func (c countingConn) Write(b []byte) (int, error) { c.writes.Add(1); return c.Conn.Write(b) }

// storeFour stores the four files of one certificate, under ids that no other user has.
func storeFour(cloud *purgetest.Cloud, user purge.UserID) (download, verify string) {
	download, verify = fmt.Sprintf("%032x", user), fmt.Sprintf("f%031x", user)
	own := strings.NewReplacer(idD, download, idV, verify)
	for _, name := range purgetest.FourFiles() {
		cloud.Put(own.Replace(name))
	}
	return download, verify
}

func TestAPurgeTakesFiveRoundTrips(t *testing.T) {
	t.Parallel()
	var writes atomic.Int64
	f := newFixture(t, lms.UTF8MB4, func(c *mysql.Config) {
		c.MaxOpenConnections = 1
		c.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := new(net.Dialer).DialContext(ctx, network, address)
			return countingConn{conn, &writes}, err
		}
	})
	if err := f.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	for name, certificates := range map[string]int{"one certificate": 1, "twenty certificates": 20} {
		user := f.NewUser(purgetest.Retiring)
		accepted, err := f.Accept(t.Context(), []purge.Submission{{
			User: user, Key: purge.DefaultKey(user),
			Source: purge.SourceCLI,
		}})
		if err != nil {
			t.Fatal(err)
		}
		cloud := purgetest.NewCloud()
		download, verify := storeFour(cloud, user)
		for range certificates {
			f.NewReference(user, purge.Live, download, verify, "")
			f.NewReference(user, purge.History, download, verify, "")
		}
		purger := &purge.Purger{
			Users: f.Store, Ledger: f.Store, Objects: cloud, Locations: purgetest.OneLocation(t),
			Policy: purge.Policy{ClearHistory: true, MaxAttempts: 3},
		}
		before := writes.Load()
		result, err := purger.Purge(t.Context(), purge.Task{Request: accepted[0].Request, User: user})
		if err != nil || result.State != purge.Done || result.Counts.ReferencesCleared != 2*certificates {
			t.Fatalf("%s: got %+v, %v", name, result, err)
		}
		if got := writes.Load() - before; got > 5 {
			t.Errorf("%s: got %d round trips, want at most 5", name, got)
		}
	}
}

// TestAClaimOutlastsTheReading takes the right to read the LMS from the worker's account: the request is claimed, so that
// the attempt can write down why it failed.
func TestAClaimOutlastsTheReading(t *testing.T) {
	t.Parallel()
	f := newFixture(t, lms.UTF8MB4)
	task := f.submitted()
	worker := fmt.Sprintf("'%s'@'%s'", f.accounts.Worker.Name, f.accounts.Worker.Host)
	f.exec("REVOKE SELECT (download_url) ON " + f.db.LMS + ".certificates_generatedcertificate FROM " + worker)
	attempt, err := f.Begin(t.Context(), task)
	if err != nil || attempt.State != purge.Running || attempt.Read != nil {
		t.Fatalf("got %+v, %v; want it claimed, and nothing read", attempt, err)
	}
	if _, err := f.User(t.Context(), task.User); purge.ClassOf(err) != purge.Misconfigured {
		t.Errorf("reading: got %v", err)
	}
	got, err := f.Record(t.Context(), attempt, purge.Report{State: purge.Queued, Reason: purge.ReasonMisconfigured})
	if err != nil || got.State != purge.Queued || got.Reason != purge.ReasonMisconfigured {
		t.Errorf("got %+v, %v; want it queued again as misconfigured", got, err)
	}
	f.exec("GRANT SELECT (download_url) ON " + f.db.LMS + ".certificates_generatedcertificate TO " + worker)
	if attempt, err = f.Begin(t.Context(), task); err != nil || attempt.Read == nil || attempt.Lapsed != 0 ||
		attempt.Read.Retirement != purgetest.Retiring {
		t.Errorf("granted again: got %+v, %v", attempt, err)
	}
}

// TestGrantsAllowNothingElse holds the passwords of both accounts.
func TestGrantsAllowNothingElse(t *testing.T) {
	t.Parallel()
	f := newFixture(t, lms.UTF8MB4)
	if err := errors.Join(f.Check(t.Context()), f.enqueuer.CheckIntake(t.Context())); err != nil {
		t.Errorf("checking under the shipped grants: %v", err)
	}
	// The overview shows both, on the page of either program.
	for role, store := range map[mysql.Role]*mysql.Store{mysql.RoleWorker: f.Store, mysql.RoleEnqueuer: f.enqueuer} {
		uncovered := store.EachUncovered(t.Context(), func(purge.Retirement) bool { return true },
			func(mysql.Uncovered) error { return nil })
		problems, err := store.Problems(t.Context(), role)
		excess, excessErr := store.ExcessRights(t.Context(), role)
		if err := errors.Join(uncovered, err, excessErr); err != nil || len(problems) > 0 || len(excess) > 0 {
			t.Errorf("%s: got %v, %v and %v under the shipped grants", role, err, problems, excess)
		}
	}
	both := []string{
		"UPDATE LMS.certificates_generatedcertificate SET status = 'x'",
		"UPDATE LMS.certificates_generatedcertificate SET verify_uuid = ''",
		"UPDATE LMS.certificates_generatedcertificate SET modified_date = NOW()",
		"UPDATE LMS.certificates_historicalgeneratedcertificate SET name = ''",
		"DELETE FROM LMS.certificates_generatedcertificate",
		"INSERT INTO LMS.certificates_historicalgeneratedcertificate (id) VALUES (1)",
		"SELECT email FROM LMS.auth_user",
		"SELECT name FROM LMS.certificates_generatedcertificate",
		"UPDATE LMS.user_api_userretirementstatus SET current_state_id = 1",
		"DELETE FROM evidence", "DELETE FROM evidence_objects", "DELETE FROM requests", "TRUNCATE requests",
		"DROP TABLE requests",
		"CREATE TABLE x (id INT)", "ALTER TABLE requests DROP CONSTRAINT requests_ended", "GRANT UPDATE ON evidence TO ''",
		"UPDATE requests SET user_id = 1", "UPDATE requests SET idempotency_key = 'x'",
		"UPDATE requests SET requested_by = 'x'",
		"UPDATE requests SET requested_at = NOW()", "UPDATE requests SET certificate_id = 1",
	}
	for role, tc := range map[string]struct {
		account lms.Account
		denied  []string
	}{
		"worker": {f.accounts.Worker, []string{
			"INSERT INTO requests (idempotency_key, user_id, source, state, requested_at, opened_at, updated_at) VALUES ('x', " +
				"1, '', 'queued', NOW(), NOW(), NOW())",
			"UPDATE requests SET accept_shared_by = 'x'", "UPDATE requests SET reopened_by = 'x'",
			"INSERT INTO request_keys VALUES ('x', 1, '', NOW())",
			"SELECT original_username FROM LMS.user_api_userretirementstatus", "DELETE FROM request_bodies",
			"UPDATE notifications SET outcome = 'delivered'", "DELETE FROM notifications", "UPDATE notify_state SET position = NOW()",
		}},
		"enqueuer": {f.accounts.Enqueuer, []string{
			"UPDATE LMS.certificates_generatedcertificate SET download_uuid = ''",
			"UPDATE LMS.certificates_generatedcertificate SET download_url = ''",
			"UPDATE LMS.certificates_historicalgeneratedcertificate SET download_uuid = ''",
			"INSERT INTO evidence (request_id) VALUES (1)", "UPDATE evidence SET references_cleared = 0",
			"INSERT INTO evidence_objects (request_id) VALUES (1)", "UPDATE evidence_objects SET outcome = 'erased'",
			"UPDATE requests SET objects_erased = 1", "UPDATE requests SET references_cleared = 1",
			"UPDATE requests SET directories_missing = 0", "UPDATE notifications SET event_id = 'x'",
			"UPDATE requests SET ended_as = 'done:'", "UPDATE requests SET recoverable_until = NULL",
		}},
	} {
		t.Run(role, func(t *testing.T) {
			t.Parallel()
			account, err := sql.Open("mysql", f.db.LedgerDSN(tc.account))
			if err != nil {
				t.Fatal(err)
			}
			defer account.Close()
			for _, statement := range slices.Concat(both, tc.denied) {
				_, err := account.ExecContext(t.Context(), strings.ReplaceAll(statement, "LMS.", f.db.LMS+"."))
				if err == nil || !strings.Contains(err.Error(), "denied") && !strings.Contains(err.Error(), "not allowed") {
					t.Errorf("%s: got %v, want it denied", statement, err)
				}
			}
		})
	}
}

// TestTheEnqueuersPasswordEndsNoRequest: an end that no worker has written is refused by the table.
func TestTheEnqueuersPasswordEndsNoRequest(t *testing.T) {
	t.Parallel()
	f := newFixture(t, lms.UTF8MB4)
	user := f.NewUser(purgetest.Retiring)
	id := must(f.Accept(t.Context(), []purge.Submission{{User: user, Key: "k"}}))[0].Request
	enqueuer, err := sql.Open("mysql", f.db.LedgerDSN(f.accounts.Enqueuer))
	if err != nil {
		t.Fatal(err)
	}
	defer enqueuer.Close()
	forge := func(statement string) {
		t.Helper()
		if _, err := enqueuer.ExecContext(t.Context(), statement); err == nil ||
			!strings.Contains(err.Error(), "requests_ended") {
			t.Errorf("%s: got %v, want it refused by the CHECK", statement, err)
		}
	}
	forge("UPDATE requests SET state = 'done'")
	attempt := must(f.Begin(t.Context(), purge.Task{Request: id, User: user}))
	must(f.Record(t.Context(), attempt, purge.Report{State: purge.Failed, Reason: purge.ReasonHeld}))
	forge("UPDATE requests SET state = 'done'")
	forge("UPDATE requests SET state = 'done', reason = ''")
	forge("UPDATE requests SET reason = 'gave_up'")
	forge("INSERT INTO requests (idempotency_key, user_id, source, state, requested_at, opened_at, updated_at) VALUES " +
		"('x', 1, '', 'done', NOW(), NOW(), NOW())")
	if n, err := f.Reopen(t.Context(), []purge.RequestID{id}, purge.Reopening{}); n != 1 || err != nil {
		t.Errorf("opening it again: got %d, %v", n, err)
	}
	if rows := must(f.Requests(t.Context(), []purge.RequestID{id})); rows[0].State != purge.Queued {
		t.Errorf("got %+v, want it queued", rows)
	}
}

func TestCheckNamesAMissingRight(t *testing.T) {
	t.Parallel()
	f := newFixture(t, lms.UTF8MB4)
	user, password := f.db.AddAccount(t)
	f.exec("GRANT SELECT ON " + f.db.LMS + ".* TO '" + user + "'@'%'")
	f.exec("GRANT SELECT, INSERT, UPDATE ON " + f.db.Ledger + ".* TO '" + user + "'@'%'")
	store := f.open(f.db.DSN(user, password, f.db.Ledger))
	err := store.Check(t.Context())
	if purge.ClassOf(err) != purge.Misconfigured || !strings.Contains(err.Error(), "UPDATE") {
		t.Errorf("got %v, want a misconfiguration that names UPDATE", err)
	}
	nothing := f.open(f.db.DSN(user, "wrong", f.db.Ledger))
	if err := nothing.Ping(t.Context()); purge.ClassOf(err) != purge.Misconfigured ||
		strings.Contains(err.Error(), "wrong") {
		t.Errorf("wrong password: got %v", err)
	}
}

func TestMigrateTwiceAndTwoAtATime(t *testing.T) {
	t.Parallel()
	f := &fixture{t: t, db: sandboxtest.MySQL(t, lms.UTF8MB4)}
	f.accounts = f.db.Grant(t)
	store := f.open(f.dsn())
	if err := store.Check(t.Context()); purge.ClassOf(err) != purge.Misconfigured ||
		!strings.Contains(err.Error(), "enqueuer migrate") {
		t.Errorf("before migrating: got %v, want advice to migrate", err)
	}
	var wg sync.WaitGroup
	var applied atomic.Int64
	for range 3 {
		wg.Go(func() {
			done, err := f.migrate()
			if err != nil {
				t.Errorf("migrating: %v", err)
			}
			applied.Add(int64(len(done)))
		})
	}
	wg.Wait()
	migrations, err := os.ReadDir("migrations")
	if err != nil {
		t.Fatal(err)
	}
	if applied.Load() != int64(len(migrations)) {
		t.Errorf("got %d migrations applied, want each of %d once", applied.Load(), len(migrations))
	}
	if err := store.Check(t.Context()); err != nil {
		t.Errorf("after migrating: %v", err)
	}
	f.exec("UPDATE " + f.db.Ledger + ".goose_db_version SET is_applied = 0 WHERE version_id > 0")
	if err := store.Check(t.Context()); purge.ClassOf(err) != purge.Misconfigured ||
		!strings.Contains(err.Error(), "version 0") {
		t.Errorf("older ledger: got %v", err)
	}
}

// TestARequestNeverStartsBeforeItWasOpened: an attempt of an earlier opening is none of this one, and the clocks of two
// machines differ.
func TestARequestNeverStartsBeforeItWasOpened(t *testing.T) {
	t.Parallel()
	f := newFixture(t, lms.UTF8MB4)
	user := f.NewUser(purge.Retirement{UserExists: true})
	accepted, err := f.Accept(t.Context(), submissionsOf(user, user))
	if err != nil {
		t.Fatal(err)
	}
	id := accepted[0].Request
	read := func() mysql.Request {
		t.Helper()
		rows, err := f.Requests(t.Context(), []purge.RequestID{id})
		if err != nil || len(rows) != 1 {
			t.Fatalf("got %v, %v", rows, err)
		}
		return rows[0]
	}
	begin := func() purge.Attempt {
		t.Helper()
		attempt, err := f.Begin(t.Context(), purge.Task{Request: id, User: user})
		if err != nil {
			t.Fatal(err)
		}
		return attempt
	}
	attempt := begin()
	if r := read(); r.StartedAt == nil || r.StartedAt.Before(r.OpenedAt) {
		t.Errorf("begun: got started at %v, opened at %v", r.StartedAt, r.OpenedAt)
	}
	if _, err := f.Record(t.Context(), attempt, purge.Report{State: purge.Failed, Reason: purge.ReasonHeld}); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Reopen(t.Context(), []purge.RequestID{id}, purge.Reopening{}); err != nil {
		t.Fatal(err)
	}
	if r := read(); r.StartedAt != nil {
		t.Errorf("opened again: got started at %v, opened at %v", r.StartedAt, r.OpenedAt)
	}
	// By a clock that is ahead.
	f.exec("UPDATE "+f.db.Ledger+".requests SET opened_at = opened_at + INTERVAL 1 HOUR WHERE id = ?", id)
	begin()
	if r := read(); r.StartedAt == nil || r.StartedAt.Before(r.OpenedAt) {
		t.Errorf("another clock: got started at %v, opened at %v", r.StartedAt, r.OpenedAt)
	}
	// As earlier versions left it when they opened a request again.
	f.exec("UPDATE "+f.db.Ledger+".requests SET started_at = opened_at - INTERVAL 1 DAY WHERE id = ?", id)
	if r := read(); r.StartedAt != nil {
		t.Errorf("of an earlier version: got started at %v, opened at %v", r.StartedAt, r.OpenedAt)
	}
}

// TestAMigrationOutlastsTheQueryTimeout: query_timeout bounds what the running programs read. A migration waits for
// another one, and for the server's work on a large table.
func TestAMigrationOutlastsTheQueryTimeout(t *testing.T) {
	t.Parallel()
	f := &fixture{t: t, db: sandboxtest.MySQL(t, lms.UTF8MB4)}
	f.accounts = f.db.Grant(t)
	other, err := f.db.Root.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	var locked int
	lock := fmt.Sprintf("certpurge_migrate:%.40s", f.db.Ledger)
	err = other.QueryRowContext(t.Context(), "SELECT GET_LOCK(?, 0)", lock).Scan(&locked)
	if err != nil || locked != 1 {
		t.Fatalf("got %d, %v", locked, err)
	}
	migrating := f.open(f.migrateDSN(), func(c *mysql.Config) { c.QueryTimeout = 100 * time.Millisecond })
	done := make(chan error, 1)
	go func() {
		_, err := migrating.Migrate(t.Context())
		done <- err
	}()
	account, _, _ := strings.Cut(f.migrateDSN(), ":")
	sandboxtest.Eventually(t, "the migration has waited for longer than the timeout", func() bool {
		select {
		case err := <-done:
			t.Fatalf("it gave up: %v", err)
		default:
		}
		var waiting int
		err := f.db.Root.QueryRowContext(t.Context(), "SELECT COUNT(*) FROM information_schema.processlist"+
			" WHERE user = ? AND info LIKE 'SELECT GET_LOCK%' AND time >= 1", account).Scan(&waiting)
		if err != nil {
			t.Fatal(err)
		}
		return waiting == 1
	})
	if _, err := other.ExecContext(t.Context(), "DO RELEASE_LOCK(?)", lock); err != nil {
		t.Fatal(err)
	}
	if err := sandboxtest.Receive(t, "the end of the migration", done); err != nil {
		t.Errorf("with the lock: %v", err)
	}
}

func TestUserByOriginalNameComparesExactly(t *testing.T) {
	t.Parallel()
	for _, charset := range lms.Charsets {
		t.Run(charset.String(), func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, charset)
			id := purge.UserID(f.db.AddRetiringUser(t, "Alice", "LMS_COMPLETE"))
			redacted := f.db.AddRetiringUser(t, "bob", "COMPLETE")
			f.exec("UPDATE "+f.db.LMS+".user_api_userretirementstatus SET original_username = 'redacted' WHERE user_id = ?",
				redacted)
			if got, err := f.enqueuer.UserByOriginalName(t.Context(), "Alice"); err != nil || got != id {
				t.Errorf("got %d, %v; want %d", got, err, id)
			}
			for _, name := range []string{"alice", "ALICE", "Alice ", "Älice", "Álice", "bob", "", "x' OR '1'='1"} {
				if got, err := f.enqueuer.UserByOriginalName(t.Context(), name); !errors.Is(err, mysql.ErrNoSuchName) {
					t.Errorf("%q: got %d, %v; want ErrNoSuchName", name, got, err)
				}
			}
			for user, want := range map[purge.UserID]string{id: "Alice", purge.UserID(redacted): "redacted", 2_000_000_000: ""} {
				if got, err := f.enqueuer.OriginalName(t.Context(), user); err != nil || got != want {
					t.Errorf("user %d: got %q, %v; want %q", user, got, err, want)
				}
			}
			f.exec("UPDATE "+f.db.LMS+".user_api_userretirementstatus SET original_username = 'Alice' WHERE user_id = ?",
				redacted)
			if _, err := f.enqueuer.UserByOriginalName(t.Context(), "Alice"); !errors.Is(err, mysql.ErrAmbiguousName) {
				t.Errorf("two rows: got %v, want ErrAmbiguousName", err)
			}
		})
	}
}

func TestAStateThatDoesNotExistIsNotRetiring(t *testing.T) {
	t.Parallel()
	f := newFixture(t, lms.UTF8MB4)
	user := f.NewUser(purgetest.Retiring)
	conn, err := f.db.Root.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for _, statement := range []string{
		"SET foreign_key_checks = 0",
		"UPDATE " + f.db.LMS + ".user_api_userretirementstatus SET current_state_id = 9999",
	} {
		if _, err := conn.ExecContext(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := f.User(t.Context(), user); err != nil || got.Retirement.State != purge.StateUnknown {
		t.Errorf("got %+v, %v; want the state unknown", got.Retirement, err)
	}
}

func TestEvidenceSaysWhatWasCleared(t *testing.T) {
	t.Parallel()
	f := newFixture(t, lms.UTF8MB4)
	user := f.NewUser(purgetest.Retiring)
	ref := f.NewReference(user, purge.Live, idD, idV, "")
	accepted, err := f.Accept(t.Context(), []purge.Submission{{User: user, Key: "k", Source: purge.SourceCLI}})
	if err != nil {
		t.Fatal(err)
	}
	attempt, err := f.Begin(t.Context(), purge.Task{Request: accepted[0].Request, User: user})
	if err != nil {
		t.Fatal(err)
	}
	until := time.Now().Add(time.Hour).UTC().Truncate(time.Microsecond)
	dir := purge.Directory{Bucket: "certs", Prefix: "downloads/" + idD + "/"}
	report := purge.Report{
		State: purge.Queued, Reason: purge.ReasonTransient,
		Clear: []purge.Clearing{{CertificateID: ref.CertificateID, Table: purge.Live, References: []purge.Reference{ref}}},
		Evidence: []purge.Evidence{{
			CertificateID: ref.CertificateID, Table: purge.Live, Outcome: purge.SoftDeleted, Until: until,
			Generation: purge.Generation{Directory: dir, Name: dir.Prefix + "Certificate.pdf", Number: 7, Size: 11},
		}},
	}
	f.ReplaceURL(ref, "https://changed.example")
	if _, err := f.Record(t.Context(), attempt, report); err != nil {
		t.Fatal(err)
	}
	cleared := func() (all []mysql.EvidenceRecord) {
		t.Helper()
		err := f.EachEvidence(t.Context(), mysql.EvidenceFilter{User: user}, func(r mysql.EvidenceRecord) error {
			if r.Kind == "links" {
				all = append(all, r)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	if all := cleared(); len(all) != 0 {
		t.Errorf("nothing was cleared, but the evidence says %v", all)
	}
	f.ReplaceURL(ref, "")
	if attempt, err = f.Begin(t.Context(), attempt.Task); err != nil {
		t.Fatal(err)
	}
	report.State, report.Reason, report.Evidence = purge.Done, "", nil
	if _, err := f.Record(t.Context(), attempt, report); err != nil {
		t.Fatal(err)
	}
	all := cleared()
	if len(all) != 1 || all[0].ReferencesCleared != 1 || all[0].Attempt != 2 || all[0].SourceTable != purge.Live {
		t.Errorf("got evidence %v", all)
	}
	requests, err := f.Requests(t.Context(), []purge.RequestID{attempt.Request})
	if err != nil || len(requests) != 1 || requests[0].RecoverableUntil == nil ||
		!requests[0].RecoverableUntil.Equal(until) || requests[0].ObjectsSoftDeleted != 1 {
		t.Errorf("got %+v, %v; want it recoverable until %v", requests, err, until)
	}
}

func TestMigrateWithOneConnection(t *testing.T) {
	t.Parallel()
	f := &fixture{t: t, db: sandboxtest.MySQL(t, lms.UTF8MB4)}
	f.accounts = f.db.Grant(t)
	if _, err := f.open(f.migrateDSN(), func(c *mysql.Config) { c.MaxOpenConnections = 1 }).
		Migrate(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestTheSessionDoesNotTrustTheDSN(t *testing.T) {
	t.Parallel()
	f := newFixture(t, lms.UTF8MB4)
	store := f.open(f.db.LedgerDSN(f.accounts.Enqueuer) + "?autocommit=0&sql_mode=%27NO_BACKSLASH_ESCAPES%27")
	if _, err := store.Accept(t.Context(), []purge.Submission{{User: 1, Key: "a", Source: purge.SourceCLI}}); err != nil {
		t.Fatal(err)
	}
	if rows := f.db.DumpTable(t, f.db.Ledger+".requests"); len(rows) != 1 {
		t.Errorf("others see %d requests, want the accepted one", len(rows))
	}
}

func TestUnknownUsers(t *testing.T) {
	t.Parallel()
	f := newFixture(t, lms.UTF8MB4)
	known := f.NewUser(purge.Retirement{UserExists: true})
	got, err := f.UnknownUsers(t.Context(), []purge.UserID{77_777, known, 88_888})
	if diff := cmp.Diff([]purge.UserID{77_777, 88_888}, got); err != nil || diff != "" {
		t.Errorf("got error %v, (-want +got):\n%s", err, diff)
	}
}

func TestAFailingScriptLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	f := newFixture(t, lms.UTF8MB4, func(c *mysql.Config) { c.MaxOpenConnections = 1 })
	user := f.NewUser(purgetest.Retiring)
	ref := f.NewReference(user, purge.Live, idD, idV, "")
	accepted, err := f.Accept(t.Context(), []purge.Submission{{User: user, Key: "k", Source: purge.SourceCLI}})
	if err != nil {
		t.Fatal(err)
	}
	attempt, err := f.Begin(t.Context(), purge.Task{Request: accepted[0].Request, User: user})
	if err != nil {
		t.Fatal(err)
	}
	report := purge.Report{
		State: purge.Done, Reason: purge.Reason(strings.Repeat("too long for its column", 10)),
		Clear: []purge.Clearing{{CertificateID: ref.CertificateID, Table: purge.Live, References: []purge.Reference{ref}}},
	}
	if _, err := f.Record(t.Context(), attempt, report); err == nil {
		t.Fatal("want an error from the last statement")
	}
	if got, err := f.User(t.Context(), user); err != nil || len(got.References) != 1 {
		t.Errorf("got %v, %v; want the reference still there", got.References, err)
	}
	report.Reason = ""
	if got, err := f.Record(
		t.Context(),
		attempt,
		report,
	); err != nil || got.State != purge.Done ||
		got.Counts.ReferencesCleared != 1 {
		t.Errorf("got %+v, %v", got, err)
	}
}

// TestDeadlockIsTransient makes a real one: this session holds the second row and wants the first.
func TestDeadlockIsTransient(t *testing.T) {
	t.Parallel()
	f := newFixture(t, lms.UTF8MB4)
	user := f.NewUser(purgetest.Retiring)
	first := f.NewReference(user, purge.Live, idD, idV, "")
	second := f.NewReference(user, purge.Live, idD, idV, "")
	accepted, err := f.Accept(t.Context(), []purge.Submission{{User: user, Key: "k", Source: purge.SourceCLI}})
	if err != nil {
		t.Fatal(err)
	}
	attempt, err := f.Begin(t.Context(), purge.Task{Request: accepted[0].Request, User: user})
	if err != nil {
		t.Fatal(err)
	}
	tx, err := f.db.Root.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback() //nolint:errcheck // committed or dead by then
	touch := "UPDATE " + f.db.LMS + ".certificates_generatedcertificate SET grade = '1' WHERE id = ?"
	for range 20 { // more work than the store's, so that the server picks the store as its victim
		if _, err := tx.ExecContext(t.Context(), touch, second.RowID); err != nil {
			t.Fatal(err)
		}
		if _, err := tx.ExecContext(
			t.Context(),
			"INSERT INTO "+f.db.LMS+".user_api_retirementstate (state_name, state_execution_order, is_dead_end_state, required)"+
				" SELECT CONCAT('X', MAX(state_execution_order)), MAX(state_execution_order)+1, 0, 0 FROM "+f.db.LMS+
				".user_api_retirementstate",
		); err != nil {
			t.Fatal(err)
		}
	}
	recorded := make(chan error, 1)
	go func() {
		_, err := f.Record(t.Context(), attempt, purge.Report{State: purge.Done, Clear: []purge.Clearing{
			{CertificateID: first.CertificateID, Table: purge.Live, References: []purge.Reference{first}},
			{CertificateID: second.CertificateID, Table: purge.Live, References: []purge.Reference{second}},
		}})
		recorded <- err
	}()
	f.waitForLock()
	if _, err := tx.ExecContext(t.Context(), touch, first.RowID); err != nil {
		t.Fatalf("the test's own session was the victim: %v", err)
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	if err := <-recorded; err == nil || purge.ClassOf(err) != purge.Transient || !strings.Contains(err.Error(), "1213") {
		t.Errorf("got %v, want a transient MySQL error 1213", err)
	}
	if got, err := f.User(t.Context(), user); err != nil || len(got.References) != 2 {
		t.Errorf("got %v, %v; want both references still there", got.References, err)
	}
}

// waitForLock waits until a transaction of the fixture's ledger waits for a lock. The server refreshes what it shows of
// transactions only if no transaction was requested for 100 ms, so asking faster would wait for ever.
func (f *fixture) waitForLock() {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(f.t.Context(), 2*time.Minute)
	defer cancel()
	ticker := time.NewTicker(200 * time.Millisecond)
	defer ticker.Stop()
	for waiting := 0; waiting == 0; {
		<-ticker.C
		err := f.db.Root.QueryRowContext(ctx, "SELECT COUNT(*) FROM information_schema.innodb_trx x JOIN "+
			"information_schema.processlist p"+
			" ON p.id = x.trx_mysql_thread_id WHERE x.trx_state = 'LOCK WAIT' AND p.db = ?", f.db.Ledger).
			Scan(&waiting)
		if err != nil {
			f.t.Fatal(err)
		}
	}
}

func TestOpenNeverPrintsTheDSN(t *testing.T) {
	t.Parallel()
	for _, dsn := range []string{"root:s3cret@tcp(db:3306", "s3cret", "u:s3cret@tcp(db)/x?tls=s3cret"} {
		if _, err := mysql.Open(
			mysql.Config{MySQL: config.MySQL{DSN: config.NewSecret(dsn), MaxOpenConnections: 1}},
		); err == nil ||
			strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%q: got %v, want an error without the secret", dsn, err)
		}
	}
}

func TestMySQLDownIsUnavailable(t *testing.T) {
	t.Parallel()
	store, err := mysql.Open(
		mysql.Config{
			MySQL: config.MySQL{DSN: config.NewSecret("u:p@tcp(127.0.0.1:1)/certpurge"), MaxOpenConnections: 1},
			LMS:   config.LMS{Database: "openedx"},
		},
	)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	if err := store.Ping(
		t.Context(),
	); purge.ClassOf(err) != purge.Unavailable || !strings.Contains(err.Error(), "MySQL") ||
		!strings.Contains(err.Error(), "127.0.0.1:1") {
		t.Errorf("got %v, want an error that names the server and the address", err)
	}
}

func TestLongListsAreReadByPages(t *testing.T) {
	t.Parallel()
	const n = 1203 // more than two pages
	f := newFixture(t, lms.UTF8MB4)
	var submissions []purge.Submission
	for i := range n {
		submissions = append(
			submissions,
			purge.Submission{
				User:   purge.UserID(i + 1),
				Key:    purge.DefaultKey(purge.UserID(i + 1)),
				Source: purge.SourceBackfill,
			},
		)
	}
	accepted, err := f.Accept(t.Context(), submissions)
	if err != nil {
		t.Fatal(err)
	}
	last, count := purge.RequestID(0), 0
	err = f.EachRequest(t.Context(), mysql.Filter{States: []purge.State{purge.Queued}}, func(rows []mysql.Request) error {
		for _, r := range rows {
			if r.ID <= last {
				t.Errorf("request %d after %d", r.ID, last)
			}
			last = r.ID
			count++
		}
		return nil
	})
	if err != nil || count != n {
		t.Errorf("got %d requests, %v; want %d", count, err, n)
	}
	attempt, err := f.Begin(t.Context(), purge.Task{Request: accepted[0].Request, User: 1})
	if err != nil {
		t.Fatal(err)
	}
	dir := purge.Directory{Bucket: "certs", Prefix: "downloads/" + idD + "/"}
	var intents []purge.Evidence
	for i := range n {
		intents = append(intents, purge.Evidence{
			CertificateID: 1, Table: purge.Live, Outcome: purge.Listed,
			Generation: purge.Generation{Directory: dir, Name: dir.Prefix + "x", Number: int64(i + 1)},
		})
	}
	if _, err := f.Intend(t.Context(), attempt, intents, nil); err != nil {
		t.Fatal(err)
	}
	count = 0
	if err := f.EachEvidence(
		t.Context(),
		mysql.EvidenceFilter{User: 1},
		func(mysql.EvidenceRecord) error { count++; return nil },
	); err != nil ||
		count != n {
		t.Errorf("got %d pieces of evidence, %v; want %d", count, err, n)
	}
	count = 0
	for after := (purge.OpenRequest{}); count <= n; { // more would be the same again
		open, err := f.OpenRequests(t.Context(), after, time.Now().Add(time.Hour), 500)
		if err != nil {
			t.Fatal(err)
		}
		if len(open) == 0 {
			break
		}
		after, count = open[len(open)-1], count+len(open)
	}
	if count != n {
		t.Errorf("got %d open requests, running and queued, want %d", count, n)
	}
}

func TestTheMigratorReadsNoLMS(t *testing.T) {
	t.Parallel()
	f := newFixture(t, lms.UTF8MB4)
	account, err := sql.Open("mysql", f.db.LedgerDSN(f.accounts.Migrate))
	if err != nil {
		t.Fatal(err)
	}
	defer account.Close()
	if _, err := account.ExecContext(t.Context(), "SELECT id FROM requests"); err != nil {
		t.Errorf("its own schema: %v", err)
	}
	for _, table := range []string{"auth_user", "certificates_generatedcertificate", "user_api_userretirementstatus"} {
		_, err := account.ExecContext(t.Context(), "SELECT id FROM "+f.db.LMS+"."+table)
		if err == nil || !strings.Contains(err.Error(), "denied") {
			t.Errorf("%s: got %v, want it denied", table, err)
		}
	}
}
