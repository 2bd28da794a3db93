package sandboxtest_test

import (
	"database/sql"
	"testing"

	_ "github.com/go-sql-driver/mysql"

	"github.com/certpurge/certpurge/internal/sandbox/lms"
	"github.com/certpurge/certpurge/internal/sandbox/sandboxtest"
)

func open(t *testing.T, dsn string) *sql.DB {
	t.Helper()
	db, err := sql.Open("mysql", dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// state is where the pipeline has a user, or "" for a user who is not in it.
func state(t *testing.T, db *sandboxtest.Database, userID int) (name string) {
	t.Helper()
	err := db.Root.QueryRowContext(t.Context(), "SELECT COALESCE(MAX(s.state_name), '') FROM "+
		db.LMS+".user_api_userretirementstatus r JOIN "+db.LMS+".user_api_retirementstate s ON s.id = r.current_state_id"+
		" WHERE r.user_id = ?", userID).Scan(&name)
	if err != nil {
		t.Fatal(err)
	}
	return name
}

func TestARetiringUserMovesThroughThePipeline(t *testing.T) {
	t.Parallel()
	db := sandboxtest.MySQL(t, lms.Mixed)
	bystander := db.AddUser(t, "bystander")
	user := db.AddRetiringUser(t, "leaver", "PENDING")
	if got, want := state(t, db, user), "PENDING"; got != want {
		t.Errorf("at first: got %s, want %s", got, want)
	}
	db.AddState(t, "RETIRING_PDF_CERTIFICATES")
	db.MoveTo(t, user, "RETIRING_PDF_CERTIFICATES")
	if got, want := state(t, db, user), "RETIRING_PDF_CERTIFICATES"; got != want {
		t.Errorf("later: got %s, want %s", got, want)
	}
	if got := state(t, db, bystander); got != "" {
		t.Errorf("a user who stays: got %s, want none", got)
	}
	users := db.DumpTable(t, lms.Users)
	if got, want := users[1]["email"], users[0]["email"]; got == "leaver@example.com" || want != "bystander@example.com" {
		t.Errorf("addresses: got %s and %s, want the first one retired only", got, want)
	}

	db.CancelRetirement(t, user)
	if got := state(t, db, user); got != "" {
		t.Errorf("after the user has changed their mind: got %s, want none", got)
	}
	if left := db.DumpTable(t, lms.RetirementRequest); len(left) > 0 {
		t.Errorf("requests: got %v, want none", left)
	}
}

func TestCertificatesOfOneUserAreInDifferentCourses(t *testing.T) {
	t.Parallel()
	db := sandboxtest.MySQL(t, lms.UTF8MB3)
	user := db.AddUser(t, "learner")
	first := db.AddCertificate(t, sandboxtest.Certificate{UserID: user, DownloadUUID: "0123456789abcdef0123456789abcdef"})
	second := db.AddCertificate(t, sandboxtest.Certificate{UserID: user, Status: "notpassing"})
	if first == second {
		t.Errorf("got certificate %d twice", first)
	}
	db.AddPurgeArguments(t, "--user_ids 1", true)
	arguments := db.DumpTable(t, db.LMS+"."+lms.PurgeArguments)
	if got, want := arguments[0]["arguments"], "--user_ids 1"; got != want {
		t.Errorf("arguments: got %q, want %q", got, want)
	}
}
