package lms_test

import (
	"database/sql"
	"fmt"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/certpurge/certpurge/internal/sandbox/lms"
	"github.com/certpurge/certpurge/internal/sandbox/sandboxtest"
)

func TestMain(m *testing.M) { os.Exit(sandboxtest.Main(m)) }

// table reads rows of text.
func table(t *testing.T, db *sql.DB, query string, args ...any) [][]string {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), query, args...)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		t.Fatal(err)
	}
	var all [][]string
	for rows.Next() {
		values := make([]string, len(columns))
		targets := make([]any, len(columns))
		for i := range values {
			targets[i] = &values[i]
		}
		if err := rows.Scan(targets...); err != nil {
			t.Fatal(err)
		}
		all = append(all, values)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}

// The facts that the rest of the project relies on.
func TestColumns(t *testing.T) {
	t.Parallel()
	for _, charset := range lms.Charsets {
		t.Run(charset.String(), func(t *testing.T) {
			t.Parallel()
			db := sandboxtest.MySQL(t, charset)
			for _, want := range []struct{ table, column, kind, nullable string }{
				{lms.Certificates, "download_uuid", "varchar(32)", "NO"},
				{lms.Certificates, "download_url", "varchar(128)", "NO"},
				{lms.Certificates, "verify_uuid", "varchar(32)", "NO"},
				{lms.Certificates, "modified_date", "datetime(6)", "NO"},
				{lms.History, "download_uuid", "varchar(32)", "NO"},
				{lms.History, "download_url", "varchar(128)", "NO"},
				{lms.History, "user_id", "int", "YES"},
				{lms.RetirementStates, "state_name", "varchar(30)", "NO"},
				{lms.RetirementStatus, "responses", "longtext", "NO"},
				{lms.Users, "username", "varchar(150)", "NO"},
				{lms.PurgeArguments, "arguments", "longtext", "NO"},
			} {
				// MariaDB prints a width after int, MySQL 8 does not.
				got := table(t, db.Root, "SELECT REPLACE(column_type, 'int(11)', 'int'), is_nullable, "+
					"COALESCE(column_default, 'NULL')"+
					" FROM information_schema.columns WHERE table_schema = ? AND table_name = ? AND column_name = ?",
					db.LMS, want.table, want.column)
				if diff := cmp.Diff([][]string{{want.kind, want.nullable, "NULL"}}, got); diff != "" {
					t.Errorf("%s.%s (-want +got):\n%s", want.table, want.column, diff)
				}
			}
		})
	}
}

// No index leads to download_uuid or download_url: a search for references reads the table or goes by user.
func TestIndexes(t *testing.T) {
	t.Parallel()
	for _, charset := range lms.Charsets {
		t.Run(charset.String(), func(t *testing.T) {
			t.Parallel()
			db := sandboxtest.MySQL(t, charset)
			indexes := func(name string) [][]string {
				return table(t, db.Root, "SELECT GROUP_CONCAT(column_name ORDER BY seq_in_index), MIN(non_unique)"+
					" FROM information_schema.statistics WHERE table_schema = ? AND table_name = ? GROUP BY index_name ORDER BY 1",
					db.LMS, name)
			}
			for name, want := range map[string][][]string{
				lms.Certificates: {{"id", "0"}, {"user_id,course_id", "0"}, {"verify_uuid", "1"}},
				lms.History: {
					{"history_id", "0"},
					{"history_user_id", "1"},
					{"id", "1"},
					{"user_id", "1"},
					{"verify_uuid", "1"},
				},
				lms.RetirementRequest: {{"id", "0"}, {"user_id", "0"}},
			} {
				if diff := cmp.Diff(want, indexes(name)); diff != "" {
					t.Errorf("%s (-want +got):\n%s", name, diff)
				}
			}
		})
	}
}

func TestCharsets(t *testing.T) {
	t.Parallel()
	want := map[lms.Charset]map[string]string{
		lms.UTF8MB4: {
			lms.Users: "utf8mb4_unicode_ci", lms.Certificates: "utf8mb4_unicode_ci", lms.History: "utf8mb4_unicode_ci",
			lms.RetirementStatus: "utf8mb4_unicode_ci",
		},
		lms.UTF8MB3: {
			lms.Users: "utf8mb3_general_ci", lms.Certificates: "utf8mb3_general_ci", lms.History: "utf8mb3_general_ci",
			lms.RetirementStatus: "utf8mb3_general_ci",
		},
		lms.Mixed: {
			lms.Users: "utf8mb3_general_ci", lms.Certificates: "utf8mb3_general_ci", lms.History: "utf8mb4_general_ci",
			lms.RetirementStatus: "utf8mb4_unicode_ci",
		},
	}
	for _, charset := range lms.Charsets {
		t.Run(charset.String(), func(t *testing.T) {
			t.Parallel()
			db := sandboxtest.MySQL(t, charset)
			for name, want := range want[charset] {
				got := table(t, db.Root, "SELECT table_collation, engine FROM information_schema.tables"+
					" WHERE table_schema = ? AND table_name = ?", db.LMS, name)
				if diff := cmp.Diff([][]string{{want, "InnoDB"}}, got); diff != "" {
					t.Errorf("%s (-want +got):\n%s", name, diff)
				}
			}
		})
	}
}

func TestForeignKeysHold(t *testing.T) {
	t.Parallel()
	for _, charset := range lms.Charsets {
		t.Run(charset.String(), func(t *testing.T) {
			t.Parallel()
			db := sandboxtest.MySQL(t, charset)
			user := db.AddUser(t, "learner")
			db.AddCertificate(t, sandboxtest.Certificate{UserID: user})
			statement := fmt.Sprintf("DELETE FROM %s.auth_user WHERE id = %d", db.LMS, user) //nolint:gosec // both our own
			if _, err := db.Root.ExecContext(t.Context(), statement); err == nil {
				t.Error("deleting a user with a certificate: got nil, want the foreign key's error")
			}
			// The history has no foreign key to the user: rows of users who are gone stay.
			db.AddHistory(t, sandboxtest.HistoryRow{Certificate: sandboxtest.Certificate{UserID: 999_999}, CertificateID: 7})
			got := table(t, db.Root, "SELECT COUNT(*) FROM information_schema.referential_constraints"+
				" WHERE constraint_schema = ?", db.LMS)
			if diff := cmp.Diff([][]string{{"8"}}, got); diff != "" {
				t.Errorf("number of foreign keys (-want +got):\n%s", diff)
			}
		})
	}
}

func TestDefaultStates(t *testing.T) {
	t.Parallel()
	db := sandboxtest.MySQL(t, lms.UTF8MB4)
	states := db.DumpTable(t, lms.RetirementStates)
	if got, want := len(states), 16; got != want {
		t.Fatalf("states: got %d, want %d", got, want)
	}
	for name, at := range map[string]int{
		"PENDING": 0, "RETIRING_FORUMS": 3, "ERRORED": 13, "ABORTED": 14,
		"COMPLETE": 15,
	} {
		if got := states[at]["state_name"]; got != name {
			t.Errorf("state %d: got %s, want %s", at, got, name)
		}
	}
}

func TestConnectionsOfThePoolStayWithoutADatabase(t *testing.T) {
	t.Parallel()
	db := sandboxtest.MySQL(t, lms.UTF8MB4)
	got := table(t, db.Root, "SELECT COALESCE(DATABASE(), 'none')")
	if diff := cmp.Diff([][]string{{"none"}}, got); diff != "" {
		t.Errorf("database of a connection (-want +got):\n%s", diff)
	}
	if err := lms.CreateLMS(t.Context(), db.Root, db.LMS, lms.UTF8MB4); err == nil {
		t.Error("creating a database that exists: got nil, want an error")
	}
}

func BenchmarkCreateLMS(b *testing.B) {
	for b.Loop() {
		sandboxtest.MySQL(b, lms.Mixed)
	}
}
