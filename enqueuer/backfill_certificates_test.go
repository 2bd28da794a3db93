package main

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/certpurge/certpurge/internal/cli"
	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/purge/purgetest"
	"github.com/certpurge/certpurge/internal/sandbox/lms"
	"github.com/certpurge/certpurge/internal/sandbox/sandboxtest"
)

// addCertificates adds one retiring user with n certificates.
func (c *shell) addCertificates(n int) (user int, ids []string) {
	c.t.Helper()
	user = c.db.AddRetiringUser(c.t, fmt.Sprintf("holder%d", n), "COMPLETE")
	for i := range n {
		id := c.db.AddCertificate(c.t, sandboxtest.Certificate{
			UserID: user, CourseID: fmt.Sprintf("course-v1:%d", i),
			DownloadUUID: purgetest.DownloadID, VerifyUUID: purgetest.VerifyID,
		})
		ids = append(ids, strconv.Itoa(id))
	}
	return user, ids
}

// asked returns the certificates that requests are about.
func (c *shell) asked() string {
	c.t.Helper()
	var all []string
	for _, row := range c.db.DumpTable(c.t, c.db.Ledger+".requests") {
		all = append(all, row["user_id"]+":"+row["certificate_id"])
	}
	return strings.Join(all, " ")
}

func TestBackfillOfCertificates(t *testing.T) {
	t.Parallel()
	c := newShell(t)
	user, ids := c.addCertificates(3)
	two := ids[2] + ", " + ids[0] + "," + ids[0]
	before := c.dump()
	out, _ := c.run(cli.ExitOK, "backfill", "--certificate-ids", two)
	for _, want := range []string{
		"single certificates of", "certificates   2 would be requested: 2 new",
		"2 certificates, with up to 8 files", "1 ids were listed more than once", "dry run",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("it says\n%s\nwant %q", out, want)
		}
	}
	if got := c.dump(); fmt.Sprint(got) != fmt.Sprint(before) {
		t.Errorf("a dry run changed something:\n%v\n%v", before, got)
	}
	checkpoint := filepath.Join(t.TempDir(), "checkpoint")
	args := []string{"backfill", "--certificate-ids", two, "--execute", "--max-users", "1", "--checkpoint", checkpoint}
	if out, _ := c.run(cli.ExitCapped, args...); !strings.Contains(out, "1 certificates requested") {
		t.Errorf("the first: it says %s", out)
	}
	if out, _ := c.run(cli.ExitOK, args...); !strings.Contains(out, "1 certificates requested") {
		t.Errorf("the second: it says %s", out)
	}
	if out, _ := c.run(cli.ExitOK, args...); out != "2 certificates were requested by earlier runs; nothing is left\n" {
		t.Errorf("the third: it says %s", out)
	}
	if _, said := c.run(cli.ExitUsage, "backfill", "--certificate-ids", ids[1], "--execute", "--checkpoint",
		checkpoint); !strings.Contains(said, "another backfill") {
		t.Errorf("another certificate, same checkpoint: it says %s", said)
	}
	if got, want := c.asked(), fmt.Sprintf("%d:%s %d:%s", user, ids[0], user, ids[2]); got != want {
		t.Errorf("got requests %s, want %s", got, want)
	}
	if got := c.backfillDepth(); got != 2 {
		t.Errorf("got %d tasks, want 2", got)
	}
	out, _ = c.run(cli.ExitOK, "status", strconv.Itoa(user))
	if !strings.Contains(out, fmt.Sprintf("user %d, certificate %s only: request", user, ids[0])) {
		t.Errorf("status says %s", out)
	}
	// The whole user is still to be requested, and is one request more.
	if out, _ := c.run(cli.ExitOK, "backfill", "--retired", "--execute"); !strings.Contains(out, "1 users requested") ||
		!strings.Contains(out, "1 new") {
		t.Errorf("the whole user: it says %s", out)
	}
	if got := c.backfillDepth(); got != 3 {
		t.Errorf("got %d tasks, want 3", got)
	}
}

func TestBackfillOfStoredArguments(t *testing.T) {
	t.Parallel()
	c := newShell(t)
	c.db.Exec(t, "GRANT SELECT ON "+c.db.LMS+"."+lms.PurgeArguments+" TO '"+c.accounts.Enqueuer.Name+"'@'%'")
	user, ids := c.addCertificates(2)
	bad := func(arguments string, enabled bool, want string, args ...string) {
		t.Helper()
		c.db.AddPurgeArguments(t, arguments, enabled)
		_, said := c.run(cli.ExitUsage, append([]string{"backfill", "--args-from-database"}, args...)...)
		if !strings.Contains(said, want) || !strings.Contains(said, "nothing was enqueued") ||
			strings.Count(strings.TrimSpace(said), "\n") > 0 {
			t.Errorf("%s: it says %s; want one sentence with %q", arguments, said, want)
		}
	}
	if _, said := c.run(cli.ExitUsage, "backfill", "--args-from-database"); !strings.Contains(said, "no row") {
		t.Errorf("nothing stored: it says %s", said)
	}
	bad("--certificate_ids '"+ids[0], true, "a quote is not closed", "--execute")
	bad("--certificate_ids "+ids[0]+" alice", true, "is not a certificate id", "--execute")
	bad("--certificate_ids "+ids[0]+" 2000000", true, "2000000", "--execute")
	bad("--certificate_ids "+ids[0]+" --dry-run", true, "say --dry-run", "--execute")
	bad("--certificate_ids "+ids[0], false, "not enabled", "--execute")
	if got := c.asked(); got != "" {
		t.Errorf("got requests %s", got)
	}
	c.db.AddPurgeArguments(t, "--dry-run --certificate_ids '"+ids[1]+"'", true)
	if out, _ := c.run(cli.ExitOK, "backfill", "--args-from-database"); !strings.Contains(out, "1 would be requested") {
		t.Errorf("a stored dry run: it says %s", out)
	}
	c.db.AddPurgeArguments(t, "--certificate_ids '"+ids[1]+"'", true)
	out, _ := c.run(cli.ExitOK, "backfill", "--args-from-database", "--execute", "-o", "json")
	var got backfilled
	if err := json.Unmarshal([]byte(out), &got); err != nil || got.Users != 1 || got.Unit != "certificates" ||
		!got.Complete {
		t.Errorf("got %s, %v", out, err)
	}
	if got, want := c.asked(), fmt.Sprintf("%d:%s", user, ids[1]); got != want {
		t.Errorf("got requests %s, want %s", got, want)
	}
}

func TestBackfillOfBadCertificates(t *testing.T) {
	t.Parallel()
	c := newShell(t)
	_, ids := c.addCertificates(1)
	for _, tc := range [][]string{
		{
			"two sources", "--certificate-ids and --args-from-database were given", "--certificate-ids", ids[0],
			"--args-from-database",
		},
		{
			"three sources", "--retired and --certificate-ids and --args-from-database were given", "--certificate-ids", ids[0],
			"--args-from-database", "--retired",
		},
		{"no id", "at least one id", "--certificate-ids", ""},
		{"a name", "is not a certificate id", "--certificate-ids", ids[0] + ",alice"},
		{"a gap", "is not a certificate id", "--certificate-ids", ids[0] + ",,2"},
		{"out of range", `"2147483648" is not a certificate id`, "--certificate-ids", "2147483648"},
		{"unknown", "123456", "--certificate-ids", ids[0] + ",123456"},
		{"dates", "belong to --retired", "--certificate-ids", ids[0], "--since", "2020-01-01"},
		{"not from the database", "exactly one of", "--args-from-database=false"},
	} {
		_, said := c.run(cli.ExitUsage, append([]string{"backfill", "--execute"}, tc[2:]...)...)
		if !strings.Contains(said, tc[1]) || strings.Contains(said, "alice") {
			t.Errorf("%s: it says %s; want %q", tc[0], said, tc[1])
		}
	}
	if got := c.asked(); got != "" {
		t.Errorf("got requests %s", got)
	}
}

// TestACertificateIsDoneByItself lets a scoped request end, and checks what the reports say of it.
func TestACertificateIsDoneByItself(t *testing.T) {
	t.Parallel()
	c := newShell(t)
	user, ids := c.addCertificates(2)
	c.run(cli.ExitOK, "backfill", "--certificate-ids", ids[0], "--execute")
	c.end(user, purge.Report{State: purge.Failed, Reason: purge.ReasonHeld})
	out, _ := c.run(cli.ExitOK, "failures", "-o", "csv")
	if !strings.Contains(out, ",detail,certificate_id,state,requested_by,ticket\n") ||
		!strings.Contains(out, ","+ids[0]+",failed,") {
		t.Errorf("failures says %s", out)
	}
	if out, _ := c.run(cli.ExitOK, "requeue", "--user", strconv.Itoa(user), "--execute"); !strings.Contains(out, "1") {
		t.Errorf("requeue says %s", out)
	}
	if got := c.backfillDepth(); got != 1 {
		t.Errorf("got %d tasks, want it queued anew", got)
	}
	// Coverage checks whole users: this one was never requested.
	out, _ = c.run(cli.ExitNotDone, "coverage", "--list")
	if !strings.Contains(out, strconv.Itoa(user)) || !strings.Contains(out, "never_requested") {
		t.Errorf("coverage says %s", out)
	}
}
