package mysql_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/certpurge/certpurge/internal/config"
	"github.com/certpurge/certpurge/internal/mysql"
	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/sandbox"
	"github.com/certpurge/certpurge/internal/sandbox/lms"
)

func TestProblems(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		spoil func(f *fixture, account string)
		want  []string // what each problem speaks of
	}{
		"none": {spoil: func(*fixture, string) {}},
		"an old ledger": {spoil: func(f *fixture, _ string) {
			f.exec("UPDATE " + f.db.Ledger + ".goose_db_version SET is_applied = 0 WHERE version_id > 0")
		}, want: []string{"enqueuer migrate"}},
		"missing rights, each by itself": {spoil: func(f *fixture, account string) {
			f.exec("REVOKE SELECT (state_name) ON " + f.db.LMS + ".user_api_retirementstate FROM " + account)
			f.exec("REVOKE SELECT (download_url) ON " + f.db.LMS + ".certificates_generatedcertificate FROM " + account)
			f.exec("REVOKE INSERT ON " + f.db.Ledger + ".request_keys FROM " + account)
		}, want: []string{"state_name", "download_url", "request_keys"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, lms.UTF8MB4)
			tc.spoil(f, "'"+f.accounts.Enqueuer.Name+"'@'%'")
			problems, err := f.open(f.db.LedgerDSN(f.accounts.Enqueuer)).Problems(t.Context(), mysql.RoleEnqueuer)
			if err != nil || len(problems) != len(tc.want) {
				t.Fatalf("got %v, %v; want %d problems", problems, err, len(tc.want))
			}
			for i, want := range tc.want {
				if purge.ClassOf(problems[i]) != purge.Misconfigured || !strings.Contains(problems[i].Error(), want) {
					t.Errorf("got %v, want it to speak of %s", problems[i], want)
				}
			}
		})
	}
}

// account is the worker's account as it stands in statements.
func (f *fixture) account() string { return "'" + f.accounts.Worker.Name + "'@'%'" }

func TestProblemsOfAServerThatIsAwayAreAnError(t *testing.T) {
	t.Parallel()
	store, err := mysql.Open(mysql.Config{MySQL: config.MySQL{
		DSN:            config.NewSecret("u:p@tcp(127.0.0.1:1)/x"),
		ConnectTimeout: time.Second,
	}, LMS: config.LMS{Database: "y"}})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	if problems, err := store.Problems(t.Context(), mysql.RoleEnqueuer); err == nil || problems != nil ||
		purge.ClassOf(err) != purge.Unavailable {
		t.Errorf("got %v, %v; want an error", problems, err)
	}
}

func TestExcessRights(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		grants []string // LMS and ACCOUNT are replaced
		want   []string
	}{
		"exactly grants.sql": {},
		"everything there":   {grants: []string{"ALL PRIVILEGES ON LMS.*"}, want: []string{"ALL PRIVILEGES on LMS.*"}},
		"by a wildcard":      {grants: []string{"DELETE, SELECT ON `lms\\_%`.*"}, want: []string{"DELETE on lms\\_%.*"}},
		"everywhere":         {grants: []string{"INSERT, DELETE ON *.*"}, want: []string{"DELETE on *.*", "INSERT on *.*"}},
		"a whole row": {
			grants: []string{"UPDATE ON LMS.certificates_generatedcertificate"},
			want:   []string{"UPDATE on LMS.certificates_generatedcertificate"},
		},
		"other columns": {
			grants: []string{"UPDATE (status) ON LMS.certificates_generatedcertificate"},
			want:   []string{"UPDATE (download_uuid, download_url, status) on LMS.certificates_generatedcertificate"},
		},
		"another table": {grants: []string{"DELETE ON LMS.auth_user"}, want: []string{"DELETE on LMS.auth_user"}},
		"handing on":    {grants: []string{"SELECT ON LMS.* WITH GRANT"}, want: []string{"GRANT OPTION on LMS.*"}},
		"more to read":  {grants: []string{"SELECT ON LMS.*"}},
		"the whole ledger": {
			grants: []string{"UPDATE, INSERT ON LEDGER.*"},
			want:   []string{"INSERT on LEDGER.*", "UPDATE on LEDGER.*"},
		},
		"evidence away":    {grants: []string{"DELETE ON LEDGER.evidence"}, want: []string{"DELETE on LEDGER.evidence"}},
		"another database": {grants: []string{"ALL PRIVILEGES ON `other`.*", "DELETE ON `lmsx\\_%`.*"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, lms.UTF8MB4)
			for _, grant := range tc.grants {
				right, option, _ := strings.Cut(grant, " WITH ")
				if option != "" {
					option = " WITH GRANT OPTION"
				}
				f.exec("GRANT " + strings.NewReplacer("LMS", f.db.LMS, "LEDGER", f.db.Ledger).Replace(right) + " TO " +
					f.account() + option)
			}
			got, err := f.open(f.dsn()).ExcessRights(t.Context(), mysql.RoleWorker)
			for i := range got {
				got[i] = strings.NewReplacer(f.db.LMS, "LMS", f.db.Ledger, "LEDGER").Replace(got[i])
			}
			// Servers order the columns of a right as they like.
			if name == "other columns" && len(got) == 1 && strings.Contains(got[0], "status") {
				got = tc.want
			}
			if err != nil || !slices.Equal(got, tc.want) {
				t.Errorf("got %q, %v; want %q", got, err, tc.want)
			}
		})
	}
}

// TestExcessRightsOfARole grants everything through a role, which is active by default.
func TestExcessRightsOfARole(t *testing.T) {
	t.Parallel()
	f := newFixture(t, lms.UTF8MB4)
	role := strings.Trim(strings.TrimSuffix(f.account(), "@'%'"), "'") + "_r"
	f.exec("CREATE ROLE " + role)
	t.Cleanup(func() { f.exec("DROP ROLE " + role) })
	f.exec("GRANT DELETE ON " + f.db.LMS + ".* TO " + role)
	f.exec("GRANT " + role + " TO " + f.account())
	to := map[sandbox.Engine]string{sandbox.MariaDB: " FOR ", sandbox.OracleMySQL: " TO "}[f.db.Engine(t)]
	f.exec("SET DEFAULT ROLE " + role + to + f.account())
	if got, err := f.open(f.dsn()).ExcessRights(t.Context(), mysql.RoleWorker); err != nil || len(got) != 1 ||
		got[0] != "DELETE on "+f.db.LMS+".*" {
		t.Errorf("got %q, %v; want the role's right", got, err)
	}
}

// TestExcessRightsOfTheEnqueuer: what the worker needs is too much for it.
func TestExcessRightsOfTheEnqueuer(t *testing.T) {
	t.Parallel()
	f := newFixture(t, lms.UTF8MB4)
	if got, err := f.enqueuer.ExcessRights(t.Context(), mysql.RoleEnqueuer); err != nil || len(got) != 0 {
		t.Errorf("its own account: got %q, %v; want none", got, err)
	}
	got, err := f.ExcessRights(t.Context(), mysql.RoleEnqueuer)
	all := strings.Join(got, "; ")
	for _, want := range []string{
		") on " + f.db.LMS + ".certificates_generatedcertificate",
		") on " + f.db.LMS + ".certificates_historicalgeneratedcertificate",
		"INSERT on " + f.db.Ledger + ".evidence_documents", "INSERT on " + f.db.Ledger + ".anchors",
		") on " + f.db.Ledger + ".requests",
	} {
		if err != nil || !strings.Contains(all, want) {
			t.Errorf("the worker's account: got %s, %v; want %q in it", all, err, want)
		}
	}
}

func TestClock(t *testing.T) {
	t.Parallel()
	f := newFixture(t, lms.UTF8MB4)
	before := time.Now().Add(-time.Minute)
	if got, err := f.Clock(t.Context()); err != nil || got.Before(before) || got.After(time.Now().Add(time.Minute)) {
		t.Errorf("got %v, %v; want about now", got, err)
	}
}

func TestWithOpenRequests(t *testing.T) {
	t.Parallel()
	f := newFixture(t, lms.UTF8MB4)
	var users []purge.UserID
	for _, key := range []string{"queued", "running", "ended", "none"} {
		user := purge.UserID(f.db.AddRetiringUser(t, key, "RETIRING_LMS"))
		users = append(users, user)
		if key == "none" {
			continue
		}
		accepted, err := f.Accept(t.Context(), []purge.Submission{
			{User: user, Key: key + "1", Source: purge.SourceCLI}, {User: user, Key: key + "2", Source: purge.SourceCLI},
		})
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range accepted {
			if key == "queued" {
				continue
			}
			attempt, err := f.Begin(t.Context(), purge.Task{Request: a.Request, User: user})
			if err != nil {
				t.Fatal(err)
			}
			if key == "ended" {
				if _, err := f.Record(t.Context(), attempt, purge.Report{
					State:  purge.Refused,
					Reason: purge.ReasonNotRetiring,
				}); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	open, err := f.WithOpenRequests(t.Context(), users)
	slices.Sort(open)
	if err != nil || !slices.Equal(open, users[:2]) {
		t.Errorf("got %v, %v; want %v", open, err, users[:2])
	}
}

// TestChangedEvidenceIsFound writes more rows than are checked without being requested all of them.
func TestChangedEvidenceIsFound(t *testing.T) {
	t.Parallel()
	f := newFixture(t, lms.UTF8MB4)
	table := f.db.Ledger + ".evidence_objects"
	const key = "UNHEX(SHA2(CONCAT(CAST(bucket AS BINARY), 0x00, CAST(name AS BINARY), 0x00, CAST(generation AS " +
		"BINARY)), 256))"
	add := func(request int, name string) {
		t.Helper()
		f.exec("INSERT INTO "+table+" (request_id, user_id, certificate_id, source_table, attempt, bucket, directory, "+
			"name, generation,"+
			" size, outcome, listed_at, object_key) VALUES (?, 1, 1, 'live', 1, 'certs', 'cert/ä/', ?, 7, 0, 'erased', "+
			"NOW(6), '')",
			request, name)
		f.exec("UPDATE "+table+" SET object_key = "+key+" WHERE request_id = ?", request)
	}
	find := func(all bool, want ...purge.RequestID) {
		t.Helper()
		if got, err := f.ChangedEvidence(t.Context(), all); err != nil || !slices.Equal(got, want) {
			t.Errorf("all %t: got %v, %v; want %v", all, got, err, want)
		}
	}
	find(true)
	for request := 1; request <= 4; request++ {
		add(request, "cert/ä/a.pdf")
	}
	f.exec("UPDATE " + table + " SET generation = 8 WHERE request_id = 2")
	f.exec("UPDATE " + table + " SET name = 'cert/ö/a.pdf', object_key = " + key + " WHERE request_id = 3") // with its key
	find(false, 2, 3)
	find(true, 2, 3)
	for n := 4; n < 150_000; n *= 2 { // of other requests
		f.exec("INSERT INTO "+table+" (request_id, user_id, certificate_id, source_table, attempt, bucket, directory, name,"+
			" generation, size, outcome, listed_at, object_key) SELECT id + 1000, 1, 1, 'live', 1, 'certs', 'cert/ä/', "+
			"'cert/ä/b.pdf',"+
			" ?, 0, 'erased', NOW(6), UNHEX(SHA2(CONCAT('certs', 0x00, CAST('cert/ä/b.pdf' AS BINARY), 0x00, CAST(? AS "+
			"BINARY)), 256))"+
			" FROM "+table, n, n)
	}
	find(false)
	find(true, 2, 3)
	add(5, "cert/ä/a.pdf")
	// far behind the others
	f.exec("UPDATE " + table + " SET id = 4000000000000000000, size = 1, name = 'x' WHERE request_id = 5")
	find(false, 5)
	find(true, 2, 3, 5)
	f.exec("UPDATE " + table + " SET object_key = REVERSE(object_key)")
	if got, err := f.ChangedEvidence(t.Context(), true); err != nil || len(got) != 1000 {
		t.Errorf("got %d requests, %v, want the first 1000", len(got), err)
	}
}
