package mysql_test

import (
	"errors"
	"maps"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/certpurge/certpurge/internal/mysql"
	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/sandbox/lms"
	"github.com/certpurge/certpurge/internal/sandbox/sandboxtest"
)

func TestOwners(t *testing.T) {
	t.Parallel()
	f := newFixture(t, lms.Mixed)
	first, second := f.NewUser(purge.Retirement{UserExists: true}), f.NewUser(purge.Retirement{UserExists: true})
	live := f.db.AddCertificate(t, sandboxtest.Certificate{UserID: int(first)})
	for _, row := range []sandboxtest.HistoryRow{
		{Certificate: sandboxtest.Certificate{UserID: int(second)}, CertificateID: live}, // the live row knows better
		{Certificate: sandboxtest.Certificate{UserID: int(first)}, CertificateID: 800},
		{Certificate: sandboxtest.Certificate{UserID: int(second)}, CertificateID: 800}, // the newer row
		{CertificateID: 800},
		{CertificateID: 801}, // of no user
	} {
		f.db.AddHistory(t, row)
	}
	got, err := f.Owners(t.Context(), []purge.CertificateID{purge.CertificateID(live), 800, 801, 802})
	want := map[purge.CertificateID]purge.UserID{purge.CertificateID(live): first, 800: second}
	if err != nil || !maps.Equal(got, want) {
		t.Errorf("got %v, %v; want %v", got, err, want)
	}
}

func TestCommandArguments(t *testing.T) {
	t.Parallel()
	f := newFixture(t, lms.Mixed)
	if _, err := f.enqueuer.CommandArguments(t.Context()); purge.ClassOf(err) != purge.Misconfigured ||
		!strings.Contains(err.Error(), "grants.sql") {
		t.Errorf("without the right: got %v", err)
	}
	f.grantArguments()
	if _, err := f.enqueuer.CommandArguments(t.Context()); !errors.Is(err, mysql.ErrNoArguments) ||
		!strings.Contains(err.Error(), "no row") {
		t.Errorf("no row: got %v", err)
	}
	f.db.AddPurgeArguments(t, "--certificate_ids 1 2", true)
	if text, err := f.enqueuer.CommandArguments(t.Context()); err != nil || text != "--certificate_ids 1 2" {
		t.Errorf("got %q, %v", text, err)
	}
	f.db.AddPurgeArguments(t, "--certificate_ids 3", false)
	if _, err := f.enqueuer.CommandArguments(t.Context()); !errors.Is(err, mysql.ErrNoArguments) ||
		!strings.Contains(err.Error(), "not enabled") {
		t.Errorf("a newer row that is not enabled: got %v", err)
	}
	f.exec("UPDATE " + f.db.LMS + "." + lms.PurgeArguments + " SET change_date = '2031-01-01' WHERE enabled")
	if text, err := f.enqueuer.CommandArguments(t.Context()); err != nil || text != "--certificate_ids 1 2" {
		t.Errorf("the newest by its date: got %q, %v", text, err)
	}
	f.exec("DROP TABLE " + f.db.LMS + "." + lms.PurgeArguments)
	if _, err := f.enqueuer.CommandArguments(t.Context()); !errors.Is(err, mysql.ErrNoArguments) ||
		!strings.Contains(err.Error(), "there is no") {
		t.Errorf("an older LMS: got %v", err)
	}
}

// grantArguments runs the statement of grants.sql that is only for --args-from-database.
func (f *fixture) grantArguments() {
	f.t.Helper()
	text, err := os.ReadFile("../../configs/mysql/grants.sql")
	if err != nil {
		f.t.Fatal(err)
	}
	statement := regexp.MustCompile(`(?m)^-- GRANT SELECT[^;]*;`).FindString(string(text))
	f.exec(strings.NewReplacer("-- ", "", "`openedx`", "`"+f.db.LMS+"`", "'certpurge_enqueuer'@",
		"'"+f.accounts.Enqueuer.Name+"'@").Replace(statement))
}
