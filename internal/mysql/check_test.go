package mysql_test

import (
	"strings"
	"testing"

	"github.com/certpurge/certpurge/internal/mysql"
	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/purge/purgetest"
	"github.com/certpurge/certpurge/internal/sandbox/lms"
	"github.com/certpurge/certpurge/internal/sandbox/sandboxtest"
)

// byStatement starts a server whose binary log holds statements.
func byStatement(t *testing.T) *fixture {
	t.Helper()
	servers := sandboxtest.OwnServers(t, "--binlog-format=STATEMENT")
	return newFixtureOn(t, sandboxtest.On(t, servers.MySQL, lms.UTF8MB4))
}

// TestChecksFindWhatAPingDoesNot asks servers that answer SELECT 1 and do not do the work.
func TestChecksFindWhatAPingDoesNot(t *testing.T) {
	t.Parallel()
	own := func(t *testing.T) *fixture {
		t.Helper()
		return newFixtureOn(t, sandboxtest.On(t, sandboxtest.OwnServers(t).MySQL, lms.UTF8MB4))
	}
	shared := func(t *testing.T) *fixture { t.Helper(); return newFixture(t, lms.UTF8MB4) }
	for name, tc := range map[string]struct {
		make  func(*testing.T) *fixture
		spoil func(*fixture)
		class purge.Class
		says  string
	}{
		"the binary log holds statements": {
			byStatement, func(*fixture) {}, purge.Misconfigured,
			"binlog_format",
		},
		"the binary log of new sessions holds statements": {
			own,
			func(f *fixture) { f.exec("SET GLOBAL binlog_format = STATEMENT") }, purge.Misconfigured, "binlog_format",
		},
		"read-only": {own, func(f *fixture) { f.exec("SET GLOBAL read_only = 1") }, purge.Unavailable, "read-only"},
		"the ledger may not be written": {shared, func(f *fixture) {
			f.exec("REVOKE ALL PRIVILEGES, GRANT OPTION FROM " + f.account() + ", '" + f.accounts.Enqueuer.Name + "'@'%'")
			f.exec("GRANT SELECT ON *.* TO " + f.account() + ", '" + f.accounts.Enqueuer.Name + "'@'%'")
			f.Store, f.enqueuer = f.open(f.dsn()), f.open(f.db.LedgerDSN(f.accounts.Enqueuer)) // sessions keep what they may do
		}, purge.Misconfigured, "UPDATE command denied"},
		// The error is the one of a Galera node without a quorum; it comes from a function that the question runs into.
		"a node that takes no queries": {shared, func(f *fixture) {
			f.exec("CREATE FUNCTION " + f.db.Ledger + ".refuse() RETURNS INT DETERMINISTIC BEGIN SIGNAL SQLSTATE '08S01' SET " +
				"MYSQL_ERRNO = 1047; RETURN 1; END")
			f.exec("DROP TABLE " + f.db.Ledger + ".goose_db_version")
			f.exec("CREATE VIEW " + f.db.Ledger + ".goose_db_version AS SELECT " + f.db.Ledger +
				".refuse() AS version_id, 1 AS is_applied")
		}, purge.Unavailable, "Galera"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := tc.make(t)
			if err := f.Check(t.Context()); err != nil && tc.says != "binlog_format" {
				t.Fatalf("at first: %v", err)
			}
			tc.spoil(f)
			if err := f.Ping(t.Context()); err != nil {
				t.Fatalf("the server does not answer a ping: %v", err)
			}
			check := func(what string, err error) {
				t.Helper()
				if err == nil || purge.ClassOf(err) != tc.class || !strings.Contains(err.Error(), tc.says) {
					t.Errorf("%s: got %v (class %d), want class %d and %q", what, err, purge.ClassOf(err), tc.class, tc.says)
				}
			}
			check("Check", f.Check(t.Context()))
			check("CheckIntake", f.enqueuer.CheckIntake(t.Context()))
			problems, err := f.enqueuer.Problems(t.Context(), mysql.RoleEnqueuer)
			if err != nil || len(problems) == 0 {
				t.Fatalf("Problems: got %v, %v", problems, err)
			}
			check("Problems", problems[0])
		})
	}
}

// TestSessionsOfTheOldFormatAreGivenUp sets the binary log's format right while the pool holds a session that has the
// wrong one for good.
func TestSessionsOfTheOldFormatAreGivenUp(t *testing.T) {
	t.Parallel()
	f := byStatement(t)
	store := f.open(f.dsn(), func(c *mysql.Config) { c.MaxOpenConnections = 2 })
	if err := store.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.exec("SET GLOBAL binlog_format = ROW")
	if err := store.Check(t.Context()); purge.ClassOf(err) != purge.Misconfigured ||
		!strings.Contains(err.Error(), "1665") {
		t.Errorf("the first session: got %v, want error 1665", err)
	}
	if err := store.Check(t.Context()); err != nil {
		t.Errorf("the next one: %v", err)
	}
}

// TestNothingIsDeletedThatCannotBeRecorded purges on a server that refuses what a recording writes.
func TestNothingIsDeletedThatCannotBeRecorded(t *testing.T) {
	t.Parallel()
	f := byStatement(t)
	user := f.NewUser(purgetest.Retiring)
	f.NewReference(user, purge.Live, idD, idV, "")
	accepted, err := f.Accept(t.Context(), []purge.Submission{{
		User: user, Key: purge.DefaultKey(user),
		Source: purge.SourceCLI,
	}})
	if err != nil {
		t.Fatal(err)
	}
	cloud := purgetest.NewCloud()
	for _, name := range purgetest.FourFiles() {
		cloud.Put(name)
	}
	purger := &purge.Purger{
		Users: f.Store, Ledger: f.Store, Objects: cloud, Locations: purgetest.OneLocation(t),
		Policy: purge.Policy{ClearHistory: true, MaxAttempts: 3},
	}
	_, err = purger.Purge(t.Context(), purge.Task{Request: accepted[0].Request, User: user})
	if purge.ClassOf(err) != purge.Misconfigured || len(cloud.Stored()) != 4 {
		t.Errorf("got %v and %d files left, want a misconfiguration and 4 files", err, len(cloud.Stored()))
	}
}
