package main

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/certpurge/certpurge/internal/cli"
	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/sandbox/sandboxtest"
)

// failed makes users whose requests have failed for a reason.
func (c *shell) failed(reason purge.Reason, n int) (users []string) {
	c.t.Helper()
	for i := range n {
		user := c.db.AddRetiringUser(c.t, fmt.Sprintf("%s%d", reason, i), "RETIRING_LMS")
		c.run(cli.ExitOK, "enqueue", strconv.Itoa(user))
		c.end(user, purge.Report{State: purge.Failed, Reason: reason, Detail: "a, \"quoted\" detail"})
		users = append(users, strconv.Itoa(user))
	}
	return users
}

func TestFailures(t *testing.T) {
	t.Parallel()
	c := newShell(t)
	held, gaveUp := c.failed(purge.ReasonHeld, 2), c.failed(purge.ReasonGaveUp, 1)
	refused := c.db.AddRetiringUser(t, "refused", "PENDING")
	c.run(cli.ExitOK, "enqueue", strconv.Itoa(refused))
	c.end(refused, purge.Report{State: purge.Refused, Reason: purge.ReasonNotRetiring})

	if out, _ := c.run(cli.ExitOK, "failures", "--by-reason"); out != "REASON   REQUESTS\nheld     2\ngave_up  1\n" {
		t.Errorf("by reason: got %q", out)
	}
	if out, _ := c.run(cli.ExitOK, "failures", "--by-reason", "-o", "csv"); out != "reason,requests\nheld,2\ngave_up,1\n" {
		t.Errorf("by reason, csv: got %q", out)
	}
	if out, _ := c.run(cli.ExitOK, "failures"); strings.Count(out, "failed (held)") != 2 ||
		strings.Count(out, "failed (gave_up)") != 1 || strings.Contains(out, "refused") {
		t.Errorf("list: got %q", out)
	}
	if out, _ := c.run(cli.ExitOK, "failures", "--user", gaveUp[0]); strings.Count(out, "request") != 1 ||
		!strings.Contains(out, "gave_up") {
		t.Errorf("of a user: got %q", out)
	}
	if out, _ := c.run(cli.ExitOK, "failures", "--older-than", "1h"); out != "" {
		t.Errorf("older than an hour: got %q", out)
	}
	out, _ := c.run(cli.ExitOK, "failures", "--reason", "held", "-o", "csv")
	rows, err := csv.NewReader(strings.NewReader(out)).ReadAll()
	if err != nil || len(rows) != 3 || rows[1][1] != held[0] || rows[1][7] != `a, "quoted" detail` {
		t.Errorf("csv: got %q, %v", rows, err)
	}
	out, _ = c.run(cli.ExitOK, "failures", "-o", "json")
	var list struct{ Requests []map[string]any }
	if err := json.Unmarshal([]byte(out), &list); err != nil || len(list.Requests) != 3 {
		t.Errorf("json: got %q, %v", out, err)
	}
	for _, args := range [][]string{{"--reason", "bad"}, {"--user", "x"}, {"--older-than", "-1h"}, {"-o", "xml"}} {
		c.run(cli.ExitUsage, append([]string{"failures"}, args...)...)
	}
}

func TestStatusOfAState(t *testing.T) {
	t.Parallel()
	c := newShell(t)
	held := c.failed(purge.ReasonHeld, 2)
	c.failed(purge.ReasonGaveUp, 1)
	refused := c.db.AddRetiringUser(t, "refused", "PENDING")
	c.run(cli.ExitOK, "enqueue", strconv.Itoa(refused))
	c.end(refused, purge.Report{State: purge.Refused, Reason: purge.ReasonNotRetiring})
	queued := c.db.AddRetiringUser(t, "queued", "COMPLETE")
	c.run(cli.ExitOK, "enqueue", strconv.Itoa(queued))
	for state, want := range map[string]string{
		"refused": fmt.Sprintf("user %d: request", refused), "queued": fmt.Sprintf("user %d: request", queued), "running": "",
	} {
		out, _ := c.run(cli.ExitOK, "status", "--state", state)
		if !strings.HasPrefix(out, want) || strings.Count(out, "user") != min(1, len(want)) {
			t.Errorf("%s: got %q", state, out)
		}
	}
	out, _ := c.run(cli.ExitOK, "status", "--state", "failed", "--reason", "held", "-o", "csv")
	rows, err := csv.NewReader(strings.NewReader(out)).ReadAll()
	if err != nil || len(rows) != 3 || rows[1][1] != held[0] || rows[2][1] != held[1] {
		t.Errorf("csv: got %q, %v", rows, err)
	}
	for want, args := range map[string][]string{
		`there is no state "lost": expected one of [queued running done refused failed]`: {"--state", "lost"},
		`there is no reason "bad"`: {"--state", "failed", "--reason", "bad"},
		"give both":                {"--reason", "held"},
		"expected one of":          {"--state", "failed", "7"},
	} {
		if _, said := c.run(cli.ExitUsage, append([]string{"status"}, args...)...); !strings.Contains(said, want) {
			t.Errorf("%v: it says %q", args, said)
		}
	}
}

func TestRequeue(t *testing.T) {
	t.Parallel()
	c := newShell(t)
	held, gaveUp := c.failed(purge.ReasonHeld, 3), c.failed(purge.ReasonGaveUp, 1)
	if out, _ := c.run(cli.ExitOK, "requeue", "--reason", "held"); !strings.Contains(out,
		"3 requests would be queued again") {
		t.Errorf("dry run: got %q", out)
	}
	if out, _ := c.run(cli.ExitOK, "failures", "--by-reason"); !strings.Contains(out, "held     3") {
		t.Errorf("the dry run changed something: %q", out)
	}
	if out, _ := c.run(cli.ExitOK, "requeue", "--reason", "held", "--execute"); out != "3 requests queued again\n" {
		t.Errorf("got %q", out)
	}
	out, _ := c.run(cli.ExitOK, "status", held[0])
	if now, _, _ := strings.Cut(out, "\n"); !strings.Contains(now, "queued") || strings.Contains(now, "held") ||
		!strings.Contains(out, "opened again by cli, ") {
		t.Errorf("got %q", out)
	}
	if got := c.depth(); got.Pending != 4 { // one for each user; that of gave_up was put there when it was requested
		t.Errorf("got %+v", got)
	}
	user, err := strconv.Atoi(gaveUp[0])
	if err != nil {
		t.Fatal(err)
	}
	rows := c.requestsOf(user)
	if out, _ := c.run(cli.ExitOK, "requeue", strconv.FormatInt(int64(rows[0].ID), 10), "--execute", "-o",
		"json"); out != `{"executed":true,"found":1,"requeued":1}`+"\n" {
		t.Errorf("by id: got %q", out)
	}
	if out, _ := c.run(cli.ExitOK, "requeue", "--all", "--execute"); out != "0 requests queued again\n" {
		t.Errorf("all: got %q", out)
	}
	for _, args := range [][]string{{}, {"--all", "--reason", "held"}, {"1", "--all"}, {"x"}, {"0"}, {"--reason", "bad"}} {
		c.run(cli.ExitUsage, append([]string{"requeue"}, args...)...)
	}
}

// TestAcceptMissing accepts missing files for requests that failed for them, and for nothing else.
func TestAcceptMissing(t *testing.T) {
	t.Parallel()
	c := newShell(t)
	missing, held := c.failed(purge.ReasonFilesMissing, 2), c.failed(purge.ReasonHeld, 1)
	accepters := func(users ...string) (by []string) {
		for _, user := range users {
			id, err := strconv.Atoi(user)
			if err != nil {
				t.Fatal(err)
			}
			by = append(by, c.requestsOf(id)[0].AcceptMissingBy)
		}
		return by
	}
	for _, args := range [][]string{{"--all"}, {"--reason", "held"}, {"--user", missing[0]}} {
		_, errs := c.run(cli.ExitUsage, append([]string{"requeue", "--accept-missing", "--execute"}, args...)...)
		if !strings.Contains(errs, "--reason files_missing") {
			t.Errorf("%v: got %q", args, errs)
		}
	}
	c.run(cli.ExitOK, "requeue", "--reason", "files_missing", "--accept-missing")
	if by := accepters(missing...); by[0]+by[1] != "" {
		t.Errorf("the dry run changed something: %q", by)
	}
	c.run(cli.ExitOK, "requeue", "--reason", "files_missing", "--accept-missing", "--execute")
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	by := accepters(missing[0], missing[1], held[0])
	if account, at, found := strings.Cut(by[0], "@"); !found || account == "" || at != host || by[1] != by[0] ||
		by[2] != "" {
		t.Errorf("got %q, want account@%s for those that missed files only", by, host)
	}
	c.run(cli.ExitOK, "enqueue", held[0], "--accept-missing")
	if by := accepters(held[0]); by[0] == "" {
		t.Error("enqueue --accept-missing did not accept")
	}
	// Done, but with files missing, is told apart by everything that sums up.
	user, err := strconv.Atoi(missing[0])
	if err != nil {
		t.Fatal(err)
	}
	c.end(user, purge.Report{State: purge.Done, Reason: purge.ReasonFilesMissing, Evidence: []purge.Evidence{{
		CertificateID: 7, Table: purge.Live, Outcome: purge.MissingAccepted, AcceptedBy: "alice@ops",
		Generation: purge.Generation{Directory: purge.Directory{Bucket: "certs", Prefix: "cert/x/"}, Name: "cert/x/"},
	}}})
	if out, _ := c.run(cli.ExitOK, "status", missing[0]); !strings.Contains(out, "done (files_missing)") ||
		!strings.Contains(out, "directories with files missing 1") {
		t.Errorf("status: got %q", out)
	}
	out, _ := c.run(cli.ExitOK, "report", "--user", missing[0])
	rows, err := csv.NewReader(strings.NewReader(out)).ReadAll()
	if err != nil || len(rows) != 2 || rows[1][2] != "missing_accepted" || rows[0][16] != "accepted_by" ||
		rows[1][16] != "alice@ops" {
		t.Errorf("report: got %q, %v", rows, err)
	}
}

func TestCoverage(t *testing.T) {
	t.Parallel()
	c := newShell(t)
	if out, _ := c.run(cli.ExitOK, "coverage"); out != "no retiring user has a link left\n" {
		t.Errorf("empty: got %q", out)
	}
	add := func(name, state string, download string) int {
		user := c.db.AddRetiringUser(t, name, state)
		c.db.AddCertificate(t, sandboxtest.Certificate{UserID: user, DownloadUUID: download, VerifyUUID: "v"})
		return user
	}
	id := "0123456789abcdef0123456789abcdef"
	never, failed := add("never", "COMPLETE", id), add("failed", "LMS_COMPLETE", id)
	add("pending", "PENDING", id)
	add("web", "COMPLETE", "")
	done := add("done", "COMPLETE", "")
	historyOnly := c.db.AddUser(t, "history")
	c.db.AddRetirementRequest(t, historyOnly) // its status row is cleaned up
	c.db.AddHistory(t, sandboxtest.HistoryRow{
		Certificate:   sandboxtest.Certificate{UserID: historyOnly, DownloadUUID: id},
		CertificateID: 99,
	})
	bystander := c.db.AddUser(t, "bystander")
	c.db.AddCertificate(t, sandboxtest.Certificate{UserID: bystander, DownloadUUID: id})
	c.run(cli.ExitOK, "enqueue", strconv.Itoa(failed), strconv.Itoa(done))
	c.end(failed, purge.Report{State: purge.Failed, Reason: purge.ReasonHeld})
	c.end(done, purge.Report{State: purge.Done})
	// A link to another service that its purge has kept, and one of which more is there than was kept.
	kept, back := add("kept", "COMPLETE", id), add("back", "COMPLETE", id)
	c.db.AddHistory(t, sandboxtest.HistoryRow{Certificate: sandboxtest.Certificate{UserID: back, DownloadUUID: id}, CertificateID: 98})
	c.run(cli.ExitOK, "enqueue", strconv.Itoa(kept), strconv.Itoa(back))
	for _, user := range []int{kept, back} {
		if _, err := c.db.Root.ExecContext(t.Context(), "UPDATE "+c.db.Ledger+".requests SET state = 'done',"+
			" ended_as = 'done:', finished_at = opened_at, references_kept = 1 WHERE user_id = ?", user); err != nil {
			t.Fatal(err)
		}
	}

	out, said := c.run(cli.ExitNotDone, "coverage", "-o", "json")
	want := `{"by_state":[{"state":"done","users":1},{"state":"failed","reason":"held","users":1},{"state":"never_requested","users":2}],"users_left":4}` + "\n"
	if out != want || !strings.Contains(said, "4 retiring users still have links") {
		t.Errorf("got %s and %q, want %s", out, said, want)
	}
	out, _ = c.run(cli.ExitNotDone, "coverage", "--list")
	for _, line := range []string{
		fmt.Sprintf("%d\tnever_requested", never),
		fmt.Sprintf("%d\tnever_requested", historyOnly), fmt.Sprintf("%d\tfailed\theld", failed),
		fmt.Sprintf("%d\tdone", back),
	} {
		if !strings.Contains(out, line) {
			t.Errorf("list: got %q, want a line %q", out, line)
		}
	}
	if strings.Count(out, "\n") != 5 {
		t.Errorf("list: got %q, want a header and four lines", out)
	}
}

func TestReport(t *testing.T) {
	t.Parallel()
	c := newShell(t)
	user := c.db.AddRetiringUser(t, "alice", "COMPLETE")
	id := "0123456789abcdef0123456789abcdef"
	certificate := purge.CertificateID(c.db.AddCertificate(t, sandboxtest.Certificate{UserID: user, DownloadUUID: id}))
	c.run(cli.ExitOK, "enqueue", strconv.Itoa(user))
	dir := purge.Directory{Bucket: "certs", Prefix: "downloads/" + id + "/"}
	c.end(user, purge.Report{
		State: purge.Done,
		Clear: []purge.Clearing{{CertificateID: certificate, Table: purge.Live, References: []purge.Reference{
			{Table: purge.Live, RowID: int64(certificate), CertificateID: certificate, DownloadUUID: id},
		}}},
		Evidence: []purge.Evidence{{
			CertificateID: certificate, Table: purge.Live, Outcome: purge.Erased,
			Generation: purge.Generation{Directory: dir, Name: dir.Prefix + "Certificate.pdf", Number: 123, Size: 456},
		}},
	})
	for _, args := range [][]string{
		{"--user", strconv.Itoa(user)},
		{"--since", time.Now().UTC().Add(-24 * time.Hour).Format(time.DateOnly)},
	} {
		out, _ := c.run(cli.ExitOK, append([]string{"report"}, args...)...)
		rows, err := csv.NewReader(strings.NewReader(out)).ReadAll()
		if err != nil || len(rows) != 3 {
			t.Fatalf("%v: got %q, %v", args, out, err)
		}
		object, links := rows[1], rows[2]
		if object[0] != "object" || object[2] != "erased" || object[9] != dir.Prefix+"Certificate.pdf" ||
			object[10] != "123" || object[11] != "456" {
			t.Errorf("%v: object: got %q", args, object)
		}
		if links[0] != "links" || links[2] != "cleared" || links[4] != strconv.Itoa(int(certificate)) || links[14] != "1" ||
			links[1] == "" {
			t.Errorf("%v: links: got %q", args, links)
		}
		if strings.Contains(out, "alice") {
			t.Errorf("the report holds a user name")
		}
	}
	out, _ := c.run(cli.ExitOK, "report", "--user", strconv.Itoa(user), "-o", "json")
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if len(lines) != 2 || !json.Valid([]byte(lines[0])) || !json.Valid([]byte(lines[1])) {
		t.Errorf("json: got %q", out)
	}
	if out, _ := c.run(cli.ExitOK, "report", "--until", "2020-01-01"); strings.Count(out, "\n") != 1 {
		t.Errorf("an old period: got %q", out)
	}
	for _, args := range [][]string{
		{},
		{"--user", "x"},
		{"--since", "yesterday"},
		{"--until", "2026-13-01"},
		{"--since", "2026-02-01", "--until", "2026-01-01"},
		{"--user", "1", "--since", "2026-01-01T00:00:01Z", "--until", "2026-01-01"},
		{"--since", "2026-01-01", "--until", "2026-01-01"},
	} {
		c.run(cli.ExitUsage, append([]string{"report"}, args...)...)
	}
}

// TestNothingToShowIsNoSuccess: an ID that was mistyped, one that was never requested, and one that has nothing, are
// three answers, each with an exit code of its own.
func TestNothingToShowIsNoSuccess(t *testing.T) {
	t.Parallel()
	c := newShell(t)
	never, done := c.db.AddRetiringUser(t, "never", "RETIRING_LMS"), c.db.AddRetiringUser(t, "done", "RETIRING_LMS")
	failed := c.failed(purge.ReasonHeld, 1)[0]
	c.run(cli.ExitOK, "enqueue", strconv.Itoa(done))
	c.end(done, purge.Report{State: purge.Done, Reason: purge.ReasonNothingToPurge})
	gone := c.db.AddRetiringUser(t, "gone", "COMPLETE")
	c.run(cli.ExitOK, "enqueue", strconv.Itoa(gone))
	c.end(gone, purge.Report{State: purge.Done})
	for _, table := range []string{"user_api_userretirementstatus", "user_api_userretirementrequest"} {
		c.exec("DELETE FROM "+c.db.LMS+"."+table+" WHERE user_id = ?", gone)
	}
	c.exec("DELETE FROM "+c.db.LMS+".auth_user WHERE id = ?", gone)

	users := map[string]struct {
		id   string
		code int
		says string
	}{
		"mistyped":        {"2000000000", cli.ExitUsage, "the LMS has no user 2000000000"},
		"never requested": {strconv.Itoa(never), cli.ExitNotKnown, fmt.Sprintf("user %d: no request was ever made", never)},
		"done":            {strconv.Itoa(done), cli.ExitNothing, "request 2 is done (nothing_to_purge)"},
		"no longer there": {strconv.Itoa(gone), cli.ExitNothing, "request 3 is done"}, // the ledger still knows
	}
	commands := map[string][]string{
		"report as CSV":       {"report", "--user"},
		"report as JSON":      {"report", "-o", "json", "--user"},
		"report as text":      {"report", "-o", "text", "--user"},
		"report of a period":  {"report", "--since", "2020-01-01", "--user"},
		"failures":            {"failures", "--user"},
		"failures as JSON":    {"failures", "-o", "json", "--user"},
		"failures as CSV":     {"failures", "-o", "csv", "--user"},
		"failures, counted":   {"failures", "--by-reason", "--user"},
		"requeue":             {"requeue", "--user"},
		"requeue, executed":   {"requeue", "--execute", "--user"},
		"requeue as JSON":     {"requeue", "-o", "json", "--user"},
		"requeue of a reason": {"requeue", "--reason", "held", "--user"},
		"status":              {"status"},
		"status as JSON":      {"status", "-o", "json"},
	}
	if out, _ := c.run(cli.ExitNothing, "report", "-o", "text", "--user", strconv.Itoa(done)); !strings.Contains(out,
		"ended as done (nothing_to_purge)\n\nWhat was deleted\n  Nothing: ") || strings.Contains(out, "recovered") {
		t.Errorf("report as text, done: got %q", out)
	}
	for _, name := range []string{"mistyped", "never requested"} {
		if out, _ := c.run(users[name].code, "report", "-o", "documents", "--user", users[name].id); out != "" {
			t.Errorf("documents, %s: got %q", name, out)
		}
	}
	for command, args := range commands {
		for name, user := range users {
			code, says := user.code, user.says
			if args[0] == "status" && code == cli.ExitNothing {
				code, says = cli.ExitOK, "" // the request itself is shown
			}
			out, said := c.run(code, append(slices.Clone(args), user.id)...)
			if !strings.Contains(said, says) || code == cli.ExitOK && out == "" {
				t.Errorf("%s, %s: got %q and %q, want %q", command, name, out, said, says)
			}
		}
	}
	_, said := c.run(cli.ExitNothing, "report", "--user", failed)
	if !strings.Contains(said, "no evidence of an erasure; request 1 is failed (held)") {
		t.Errorf("report of a failed one: got %q", said)
	}

	for name, tc := range map[string]struct {
		args      []string
		code      int
		out, says string
	}{
		"unknown to the ledger": {[]string{"999", "1"}, cli.ExitNotKnown, "", "no request 999; nothing was changed"},
		"some did not fail":     {[]string{"1", "2"}, cli.ExitNothing, "1 requests would be", "request 2 is done"},
		"none failed":           {[]string{"2", "--execute"}, cli.ExitNothing, "0 requests queued", "request 2 is done"},
		"too young":             {[]string{"1", "--older-than", "1h"}, cli.ExitNothing, "0 requests", "ended that long ago"},
	} {
		out, said := c.run(tc.code, append([]string{"requeue"}, tc.args...)...)
		if !strings.Contains(out, tc.out) || !strings.Contains(said, tc.says) || tc.out == "" && out != "" {
			t.Errorf("requeue, %s: got %q and %q, want %q and %q", name, out, said, tc.out, tc.says)
		}
	}
	if out, _ := c.run(cli.ExitNothing, "requeue", "1", "2", "--execute"); out != "1 requests queued again\n" {
		t.Errorf("requeue, executed: got %q", out)
	}
}

func (c *shell) exec(statement string, args ...any) {
	c.t.Helper()
	if _, err := c.db.Root.ExecContext(c.t.Context(), statement, args...); err != nil {
		c.t.Fatalf("%s: %v", statement, err)
	}
}

// TestStatusWhileATaskIsBroken takes away a task's hash, at which asynq's own statistics die. Status is what one looks
// at then.
func TestStatusWhileATaskIsBroken(t *testing.T) {
	t.Parallel()
	c := newShell(t)
	user := c.db.AddRetiringUser(t, "Ada", "RETIRING_LMS")
	c.run(cli.ExitOK, "enqueue", strconv.Itoa(user))
	if n, err := c.redis().Del(t.Context(), "asynq:{purge}:t:purge:"+strconv.Itoa(user)).Result(); n != 1 || err != nil {
		t.Fatalf("got %d, %v", n, err)
	}
	out, _ := c.run(cli.ExitOK, "status")
	if !regexp.MustCompile(`(?m)^purge +1 +0 `).MatchString(out) || !strings.Contains(out, "workers that pull tasks: 0") {
		t.Errorf("it says\n%s", out)
	}
	if out, _ := c.run(cli.ExitNotDone, "doctor"); !strings.Contains(out, "id_without_task") {
		t.Errorf("the doctor says\n%s", out)
	}
}

// TestCommandsObeyThePasswordOfRedis gives a wrong one beside the URL: every command that opens Redis must use it.
func TestCommandsObeyThePasswordOfRedis(t *testing.T) {
	t.Parallel()
	c := newShell(t)
	user := strconv.Itoa(c.db.AddRetiringUser(t, "Ada", "RETIRING_LMS"))
	c.environ = append(c.environ, "CERTPURGE_REDIS_USERNAME=unknown", "CERTPURGE_REDIS_PASSWORD=wrong")
	for _, args := range [][]string{{"enqueue", user}, {"reconcile"}, {"requeue", user, "--execute"}, {"doctor"}} {
		c.run(cli.ExitConfiguration, args...)
	}
}
