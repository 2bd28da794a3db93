package mysql_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/certpurge/certpurge/internal/config"
	"github.com/certpurge/certpurge/internal/mysql"
	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/purge/purgetest"
	"github.com/certpurge/certpurge/internal/sandbox/lms"
	"github.com/certpurge/certpurge/internal/sandbox/sandboxtest"
)

func TestMain(m *testing.M) { os.Exit(sandboxtest.Main(m)) }

// accounts counts the accounts that tests have made in this process.
var accounts atomic.Int64

// fixture is the worker's Store under exactly its rights; what the enqueuer does goes through another one, under those
// of the enqueuer.
type fixture struct {
	*mysql.Store
	enqueuer *mysql.Store
	t        testing.TB
	db       *sandboxtest.Database
	accounts lms.Accounts
}

// newFixture makes the accounts by running grants.sql with names of its own, and migrates the ledger as the third.
func newFixture(tb testing.TB, charset lms.Charset, change ...func(*mysql.Config)) *fixture {
	tb.Helper()
	return newFixtureOn(tb, sandboxtest.MySQL(tb, charset), change...)
}

func newFixtureOn(tb testing.TB, db *sandboxtest.Database, change ...func(*mysql.Config)) *fixture {
	tb.Helper()
	f := &fixture{t: tb, db: db, accounts: db.Grant(tb)}
	if _, isTest := tb.(*testing.T); isTest {
		tb.Cleanup(func() { f.checkDocuments() })
	}
	if _, err := f.migrate(); err != nil {
		tb.Fatalf("migrating: %v", err)
	}
	f.Store, f.enqueuer = f.open(f.dsn(), change...), f.open(db.LedgerDSN(f.accounts.Enqueuer), change...)
	return f
}

// migrate migrates the ledger and grants the other accounts their rights on it.
func (f *fixture) migrate() ([]mysql.Migration, error) {
	f.t.Helper()
	store := f.open(f.migrateDSN())
	applied, err := store.Migrate(f.t.Context())
	if err != nil {
		return applied, err
	}
	return applied, errors.Join(
		store.Grant(f.t.Context(), mysql.RoleEnqueuer, f.accounts.Enqueuer.String()),
		store.Grant(f.t.Context(), mysql.RoleWorker, f.accounts.Worker.String()),
	)
}

func (f *fixture) dsn() string        { return f.db.LedgerDSN(f.accounts.Worker) }
func (f *fixture) migrateDSN() string { return f.db.LedgerDSN(f.accounts.Migrate) }

// Accept implements purge.Requests.
func (f *fixture) Accept(ctx context.Context, submissions []purge.Submission) ([]purge.Accepted, error) {
	return f.enqueuer.Accept(ctx, submissions)
}

// Reopen is the enqueuer's.
func (f *fixture) Reopen(ctx context.Context, ids []purge.RequestID, r purge.Reopening) (int, error) {
	return f.enqueuer.Reopen(ctx, ids, r)
}

func (f *fixture) exec(statement string, args ...any) {
	f.t.Helper()
	if _, err := f.db.Root.Exec(statement, //nolint:noctx // also runs in Cleanup, when the test's context has ended
		args...); err != nil {
		f.t.Fatalf("running %q: %v", statement, err)
	}
}

func (f *fixture) open(dsn string, change ...func(*mysql.Config)) *mysql.Store {
	f.t.Helper()
	cfg := mysql.Config{
		MySQL: config.MySQL{
			DSN: config.NewSecret(dsn), MaxOpenConnections: 16, Batch: 16, ConnectTimeout: time.Minute,
			QueryTimeout: time.Minute,
		},
		LMS: config.LMS{Database: f.db.LMS, ClearHistory: true},
	}
	for _, c := range change {
		c(&cfg)
	}
	store, err := mysql.Open(cfg)
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() {
		if err := store.Close(); err != nil {
			f.t.Errorf("closing: %v", err)
		}
	})
	return store
}

// NewUser implements purgetest.StoreUnderTest.
func (f *fixture) NewUser(r purge.Retirement) purge.UserID {
	name := fmt.Sprintf("learner%d", accounts.Add(1))
	id := f.db.AddUser(f.t, name)
	if r.Requested {
		f.db.AddRetirementRequest(f.t, id)
	}
	if r.State != "" {
		f.db.AddRetirementStatus(f.t, id, r.State)
	}
	return purge.UserID(id)
}

// NewReference implements purgetest.StoreUnderTest.
func (f *fixture) NewReference(user purge.UserID, table purge.Table, download, verify, url string) purge.Reference {
	c := sandboxtest.Certificate{UserID: int(user), DownloadUUID: download, VerifyUUID: verify, DownloadURL: url}
	ref := purge.Reference{Table: table, DownloadUUID: download, VerifyUUID: verify, DownloadURL: url}
	if table == purge.Live {
		ref.RowID = int64(f.db.AddCertificate(f.t, c))
		ref.CertificateID = purge.CertificateID(ref.RowID)
		return ref
	}
	ref.CertificateID = 900_000
	ref.RowID = int64(f.db.AddHistory(f.t, sandboxtest.HistoryRow{Certificate: c, CertificateID: int(ref.CertificateID)}))
	return ref
}

// ReplaceURL implements purgetest.StoreUnderTest.
func (f *fixture) ReplaceURL(ref purge.Reference, url string) { f.replace(ref, "download_url", url) }

// ReplaceVerify implements purgetest.StoreUnderTest.
func (f *fixture) ReplaceVerify(ref purge.Reference, verify string) {
	f.replace(ref, "verify_uuid", verify)
}

// ReplaceDownload implements purgetest.StoreUnderTest.
func (f *fixture) ReplaceDownload(ref purge.Reference, download string) {
	f.replace(ref, "download_uuid", download)
}

// ReadOwners implements purgetest.StoreUnderTest. It reads all rows once more.
func (f *fixture) ReadOwners() {
	f.t.Helper()
	if err := f.WalkOwners(f.t.Context(), 0, func(mysql.Walk) {}); err != nil {
		f.t.Fatal(err)
	}
}

// LapseLease implements purgetest.StoreUnderTest.
func (f *fixture) LapseLease(request purge.RequestID) {
	f.exec("UPDATE "+f.db.Ledger+".requests SET leased_until = UTC_TIMESTAMP(6) - INTERVAL 1 SECOND WHERE id = ?", request)
}

func (f *fixture) replace(ref purge.Reference, column, value string) {
	table, id := lms.Certificates, "id"
	if ref.Table == purge.History {
		table, id = lms.History, "history_id"
	}
	f.exec("UPDATE "+f.db.LMS+"."+table+" SET "+column+" = ? WHERE "+id+" = ?", value, ref.RowID)
}

func TestStoreIsAShelf(t *testing.T) {
	t.Parallel()
	for name, charset := range map[string]lms.Charset{"utf8mb4": lms.UTF8MB4, "utf8mb3": lms.UTF8MB3, "mixed": lms.Mixed} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			purgetest.Conformance(t, func(t *testing.T) purgetest.StoreUnderTest {
				t.Helper()
				return newFixture(t, charset)
			})
		})
	}
}
