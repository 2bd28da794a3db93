package sandboxtest_test

import (
	"os"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"github.com/certpurge/certpurge/internal/sandbox/lms"
	"github.com/certpurge/certpurge/internal/sandbox/sandboxtest"
)

func TestMain(m *testing.M) { os.Exit(sandboxtest.Main(m)) }

func TestDatabasesAreDroppedWithTheirTest(t *testing.T) { //nolint:tparallel // the inner test has to end first
	t.Parallel()
	var names []string
	t.Run("a test", func(t *testing.T) {
		for range 2 {
			db := sandboxtest.MySQL(t, lms.UTF8MB4)
			names = append(names, db.LMS, db.Ledger)
		}
	})
	db := sandboxtest.MySQL(t, lms.UTF8MB4)
	if names[0] == names[2] || names[1] == names[3] {
		t.Errorf("got the names %v, want four different ones", names)
	}
	for _, name := range names {
		var count int
		err := db.Root.QueryRowContext(t.Context(),
			"SELECT COUNT(*) FROM information_schema.schemata WHERE schema_name = ?", name).Scan(&count)
		if err != nil || count != 0 {
			t.Errorf("%s: got %d, %v, want it gone", name, count, err)
		}
	}
}

func TestRedisDatabasesAreApartAndEmpty(t *testing.T) { //nolint:tparallel // the inner tests have to end first
	t.Parallel()
	var mu sync.Mutex
	seen := map[string]bool{}
	t.Run("tests", func(t *testing.T) {
		for range 20 {
			t.Run("one", func(t *testing.T) {
				t.Parallel()
				url := sandboxtest.Redis(t)
				mu.Lock()
				defer mu.Unlock()
				if seen[url] {
					t.Errorf("got %s twice", url)
				}
				seen[url] = true
				c := connect(t, url)
				if size, err := c.DBSize(t.Context()).Result(); err != nil || size != 0 {
					t.Errorf("keys in a new database: got %d, %v, want 0", size, err)
				}
				if err := c.Set(t.Context(), "k", "v", 0).Err(); err != nil {
					t.Error(err)
				}
			})
		}
	})
	for url := range seen {
		if size, err := connect(t, url).DBSize(t.Context()).Result(); err != nil || size != 0 {
			t.Errorf("keys in %s after its test: got %d, %v, want 0", url, size, err)
		}
	}
}

func connect(t *testing.T, url string) *redis.Client {
	t.Helper()
	options, err := redis.ParseURL(url)
	if err != nil {
		t.Fatal(err)
	}
	c := redis.NewClient(options)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func TestOwnServersAreTheTestsOwn(t *testing.T) {
	t.Parallel()
	own := sandboxtest.OwnServers(t)
	db := sandboxtest.On(t, own.MySQL, lms.UTF8MB4)
	if err := own.MySQL.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got, want := len(db.DumpTable(t, lms.RetirementStates)), 16; got != want {
		t.Errorf("states after a restart: got %d, want %d", got, want)
	}
}

func TestAnAccountHasNoRights(t *testing.T) {
	t.Parallel()
	db := sandboxtest.MySQL(t, lms.UTF8MB4)
	user, password := db.AddAccount(t)
	account := open(t, db.DSN(user, password, ""))
	query := "SELECT COUNT(*) FROM " + db.LMS + ".auth_user"
	var count int
	if err := account.QueryRowContext(t.Context(), query).Scan(&count); err == nil {
		t.Error("reading without a right: got nil, want an error")
	}
	db.Exec(t, "GRANT SELECT ON "+db.LMS+".auth_user TO '"+user+"'@'%'")
	if err := account.QueryRowContext(t.Context(), query).Scan(&count); err != nil {
		t.Errorf("reading with the right: %v", err)
	}
	if err := open(t, db.RootDSN(db.Ledger)).PingContext(t.Context()); err != nil {
		t.Errorf("root in the ledger: %v", err)
	}
}

func TestDumpTableIsExact(t *testing.T) {
	t.Parallel()
	db := sandboxtest.MySQL(t, lms.Mixed)
	user := db.AddUser(t, "learner")
	db.AddHistory(t, sandboxtest.HistoryRow{
		Certificate:   sandboxtest.Certificate{UserID: user, CourseID: "c", DownloadUUID: " trailing ", Name: "Zoë 🎓"},
		CertificateID: 5,
	})
	db.AddHistory(t, sandboxtest.HistoryRow{CertificateID: 6, Type: "-", ChangeReason: "gone"})
	want := []map[string]string{
		{
			"history_id": "1", "id": "5", "user_id": "1", "course_id": "c", "download_uuid": " trailing ", "name": "Zoë 🎓",
			"verify_uuid": "", "download_url": "", "key": "", "error_reason": "", "distinction": "0", "grade": "0.95",
			"mode": "honor", "status": "downloadable", "history_type": "~",
			"created_date": "2015-03-04 05:06:07.123456", "modified_date": "2015-03-04 05:06:07.123456",
			"history_date": "2015-03-04 05:06:07.123456",
		},
	}
	got := db.DumpTable(t, lms.History)
	if diff := cmp.Diff(want, got[:1]); diff != "" {
		t.Errorf("a row (-want +got):\n%s", diff)
	}
	if reason, user := got[1]["history_change_reason"], got[1]["user_id"]; reason != "gone" || user != "" {
		t.Errorf("the second row: got reason %q and user %q, want gone and none", reason, user)
	}
}
