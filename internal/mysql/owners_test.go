package mysql_test

import (
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/certpurge/certpurge/internal/mysql"
	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/purge/purgetest"
	"github.com/certpurge/certpurge/internal/sandbox/lms"
	"github.com/certpurge/certpurge/internal/sandbox/sandboxtest"
)

// others requests the other users of directories.
func (f *fixture) others(user purge.UserID, ids ...string) []purge.UserID {
	f.t.Helper()
	shared, err := f.Sharing(f.t.Context(), user, ids)
	if err != nil {
		f.t.Fatal(err)
	}
	var others []purge.UserID
	for _, s := range shared {
		others = append(others, s.Other)
	}
	return others
}

// TestARowThatIsCommittedLateIsRead: a transaction takes its id when it begins, so a row may come into sight below
// others that have been read already.
func TestARowThatIsCommittedLateIsRead(t *testing.T) {
	t.Parallel()
	f := newFixture(t, lms.UTF8MB4)
	own, late, quick := f.NewUser(purgetest.Retiring), f.NewUser(purge.Retirement{}), f.NewUser(purge.Retirement{})
	first := f.NewReference(quick, purge.Live, strings.Repeat("1", 32), "", "")
	f.ReadOwners()
	tx, err := f.db.Root.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback() //nolint:errcheck // committed below
	_, err = tx.ExecContext(t.Context(), "INSERT INTO "+f.db.LMS+"."+lms.Certificates+
		" (course_id, verify_uuid, download_uuid, download_url, grade, `key`,"+
		" distinction, status, mode, name, created_date, modified_date, error_reason, user_id) SELECT course_id, '', ?, "+
		"'', grade, `key`, distinction,"+
		" status, mode, name, created_date, modified_date, error_reason, ? FROM "+f.db.LMS+"."+lms.Certificates+
		" WHERE id = ?",
		strings.Repeat("2", 32), late, first.RowID)
	if err != nil {
		t.Fatal(err)
	}
	f.NewReference(quick, purge.Live, strings.Repeat("3", 32), "", "")
	f.ReadOwners()
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	walk(t, f)
	if got := f.others(own, strings.Repeat("2", 32)); !slices.Equal(got, []purge.UserID{late}) {
		t.Errorf("got %v, want the user of the row that came late", got)
	}
}

// walk reads what is new, as a worker does between two repeated walks.
func walk(tb testing.TB, f *fixture) {
	tb.Helper()
	if err := f.WalkOwners(tb.Context(), 1<<40, func(mysql.Walk) {}); err != nil {
		tb.Fatal(err)
	}
}

// TestAPositionBehindTheTableHidesNothing: the LMS's tables were restored from a backup, or another program wrote the
// position.
func TestAPositionBehindTheTableHidesNothing(t *testing.T) {
	t.Parallel()
	f := newFixture(t, lms.UTF8MB4)
	own, other := f.NewUser(purgetest.Retiring), f.NewUser(purge.Retirement{})
	f.NewReference(own, purge.Live, strings.Repeat("1", 32), "", "")
	f.NewReference(own, purge.History, strings.Repeat("1", 32), "", "")
	f.ReadOwners()
	f.exec("UPDATE " + f.db.Ledger + ".owner_walks SET position = 2000000000, walked_at = walked_at + INTERVAL 10 YEAR")
	f.NewReference(other, purge.Live, strings.Repeat("2", 32), "", "")
	f.NewReference(other, purge.History, strings.Repeat("3", 32), "", "")
	walk(t, f)
	if got := f.others(own, strings.Repeat("2", 32), strings.Repeat("3", 32)); len(got) != 2 {
		t.Errorf("got %v, want the user of both rows", got)
	}
	f.NewReference(other, purge.Live, strings.Repeat("4", 32), "", "")
	f.NewReference(other, purge.History, strings.Repeat("5", 32), "", "")
	if got := f.others(own, strings.Repeat("4", 32), strings.Repeat("5", 32)); len(got) != 2 {
		t.Errorf("rows that are newer still: got %v, want the user of both", got)
	}
	var future bool
	err := f.db.Root.QueryRowContext(t.Context(),
		"SELECT walked_at > UTC_TIMESTAMP(6) FROM "+f.db.Ledger+".owner_walks WHERE source_table = 'live'").Scan(&future)
	if err != nil || future {
		t.Errorf("got %v, %v; want the live table read anew, although its latest walk claims to be of a time to come", future,
			err)
	}
}

// TestACertificateThatWasGivenToAnotherUser: support staff merged two accounts after both rows were read. The history
// still names the old account.
func TestACertificateThatWasGivenToAnotherUser(t *testing.T) {
	t.Parallel()
	f := newFixture(t, lms.Mixed)
	own, other := f.NewUser(purgetest.Retiring), f.NewUser(purge.Retirement{})
	download := strings.Repeat("1", 32)
	ref := f.NewReference(own, purge.Live, download, "No Verification", "")
	f.db.AddHistory(t, sandboxtest.HistoryRow{
		CertificateID: int(ref.CertificateID), Certificate: sandboxtest.Certificate{
			UserID: int(own), DownloadUUID: download,
			VerifyUUID: "No Verification",
		},
	})
	f.ReadOwners()
	f.exec("UPDATE "+f.db.LMS+"."+lms.Certificates+" SET user_id = ? WHERE id = ?", other, ref.RowID)
	if got := f.others(own, download); !slices.Equal(got, []purge.UserID{other}) {
		t.Errorf("got %v, want the user who has the certificate now", got)
	}
}

// TestASmallServerIsAskedForManyDirectories: max_allowed_packet is far below what all ids of one user take.
func TestASmallServerIsAskedForManyDirectories(t *testing.T) {
	t.Parallel()
	f := newFixtureOn(t, sandboxtest.On(t, sandboxtest.OwnServers(t).MySQL, lms.UTF8MB4))
	own, other := f.NewUser(purgetest.Retiring), f.NewUser(purge.Retirement{})
	var ids []string
	for i := range 3000 {
		ids = append(ids, fmt.Sprintf("%032x", i))
	}
	for _, i := range []int{0, 1234, 2999} {
		f.NewReference(other, purge.Live, ids[i], "", "")
	}
	f.ReadOwners()
	f.NewReference(other, purge.Live, "", "", "https://certs.example.org/downloads/"+ids[2000]+"/x.pdf") // newer
	f.exec("SET GLOBAL max_allowed_packet = 65536")
	f.Store = f.open(f.dsn()) // a session keeps the limit that it began with
	if got := f.others(own, ids...); len(got) != 4 {
		t.Errorf("got %v, want four directories of the other user", got)
	}
}

// TestNoPurgeWalksThroughTheLMS counts the rows that the server reads for one user among many.
func TestNoPurgeWalksThroughTheLMS(t *testing.T) {
	t.Parallel()
	const users = 5000
	f := newFixtureOn(t, sandboxtest.On(t, sandboxtest.OwnServers(t).MySQL, lms.Mixed))
	populate(t, f.db, users)
	f.exec("UPDATE " + f.db.LMS + "." + lms.Certificates + " SET verify_uuid = LEFT(SHA2(CONCAT('v', id), 256), 32), " +
		"download_uuid = LEFT(SHA2(CONCAT('d', id), 256), 32)")
	f.exec("UPDATE " + f.db.LMS + "." + lms.History + " SET verify_uuid = LEFT(SHA2(CONCAT('v', id), 256), 32), " +
		"download_uuid = LEFT(SHA2(CONCAT('d', id), 256), 32)")
	f.exec("ANALYZE TABLE " + f.db.LMS + "." + lms.Certificates + ", " + f.db.LMS + "." + lms.History)
	f.ReadOwners()
	reads := func() int {
		t.Helper()
		return f.db.RowsRead(t)
	}
	hash := func(text string) string { // MySQL 9.7 has no MD5 any more
		sum := sha256.Sum256([]byte(text))
		return hex.EncodeToString(sum[:16])
	}
	ids := []string{hash("v1234"), hash("d1234")}
	own := purge.UserID(1234)
	if got := f.others(own, ids...); got != nil {
		t.Fatalf("got %v, want no other user", got)
	}
	if got := f.others(own+1, ids...); !slices.Contains(got, own) {
		t.Fatalf("got %v, want the user whose certificate it is", got)
	}
	before := reads()
	const asked = 10
	for range asked {
		f.others(own, ids...)
	}
	// What the question for the counters reads itself is in it, a table of some hundred rows.
	if n := reads() - before; n > users/2 {
		t.Errorf("%d rows were read for %d purges among %d certificates, want a few for each", n, asked, users)
	}
}

// TestWhoseADirectoryWasIsNotForgotten holds the password of the worker.
func TestWhoseADirectoryWasIsNotForgotten(t *testing.T) {
	t.Parallel()
	f := newFixture(t, lms.UTF8MB4)
	f.NewReference(f.NewUser(purge.Retirement{}), purge.Live, strings.Repeat("1", 32), "", "")
	f.ReadOwners()
	account, err := sql.Open("mysql", f.dsn())
	if err != nil {
		t.Fatal(err)
	}
	defer account.Close()
	for _, statement := range []string{
		"DELETE FROM directory_owners", "UPDATE directory_owners SET user_id = 1",
		"REPLACE INTO directory_owners VALUES (REPEAT('x', 16), 1)",
		"TRUNCATE TABLE directory_owners", "DROP TABLE directory_owners", "ALTER TABLE directory_owners ADD COLUMN x INT",
		"DELETE FROM owner_walks",
		"INSERT INTO directory_owners VALUES (REPEAT('x', 16), 1) ON DUPLICATE KEY UPDATE user_id = 2",
	} {
		if _, err := account.ExecContext(t.Context(), statement); err == nil || !strings.Contains(err.Error(), "denied") {
			t.Errorf("%s: got %v, want it denied", statement, err)
		}
	}
}
