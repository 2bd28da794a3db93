package main

import (
	"crypto/sha256"
	"encoding/csv"
	"encoding/hex"
	"encoding/json"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/certpurge/certpurge/internal/cli"
	"github.com/certpurge/certpurge/internal/evidence"
	"github.com/certpurge/certpurge/internal/mysql"
	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/purge/purgetest"
	"github.com/certpurge/certpurge/internal/sandbox/sandboxtest"
)

// purged is a user whose only certificate a real purge has erased, in a fake bucket with 7 days of soft delete and
// without, by request of alice on behalf of the privacy office.
func (c *shell) purged(name string, settings purge.BucketSettings) (user int) {
	c.t.Helper()
	user = c.requested(name)
	cloud := purgetest.NewCloud()
	cloud.AcceptSoftDelete = true
	cloud.SoftDelete(settings.SoftDelete)
	for _, file := range purgetest.FourFiles() {
		cloud.Put(file)
	}
	if state := c.purge(user, cloud, settings); state != purge.Done {
		c.t.Fatalf("got %s", state)
	}
	return user
}

// requested is a retiring user with one certificate, and a request that waits for a worker.
func (c *shell) requested(name string) (user int) {
	c.t.Helper()
	user = c.db.AddRetiringUser(c.t, name, "COMPLETE")
	c.db.AddCertificate(c.t, sandboxtest.Certificate{
		UserID: user, DownloadUUID: purgetest.DownloadID, VerifyUUID: purgetest.VerifyID,
	})
	c.run(cli.ExitOK, "enqueue", strconv.Itoa(user), "--ticket", "PRIV-7", "--requested-by", "privacy office")
	return user
}

// purge makes one attempt at the user's first request.
func (c *shell) purge(user int, cloud *purgetest.Cloud, settings purge.BucketSettings) purge.State {
	c.t.Helper()
	c.store.Writer = evidence.Writer{Worker: "worker-1:7", Software: "certpurge 1.2.3"}
	purger := &purge.Purger{
		Users: c.store, Ledger: c.store, Objects: cloud, Locations: purgetest.OneLocation(c.t),
		Settings: func() []purge.BucketSettings { return []purge.BucketSettings{settings} },
		Policy: purge.Policy{
			ExcludedStates: []string{"PENDING"}, ClearHistory: true, AcceptShared: true, AcceptSoftDelete: true, MaxAttempts: 3,
		},
	}
	result, err := purger.Purge(c.t.Context(), purge.Task{Request: c.requestsOf(user)[0].ID, User: purge.UserID(user)})
	if err != nil {
		c.t.Fatalf("got %+v, %v", result, err)
	}
	return result.State
}

func (c *shell) anchor() mysql.Anchored {
	c.t.Helper()
	last, err := c.store.LastDocument(c.t.Context())
	if err != nil {
		c.t.Fatal(err)
	}
	made, err := c.store.AddAnchor(c.t.Context(), last)
	if err != nil {
		c.t.Fatal(err)
	}
	return made
}

// TestReportTellsTheWholeStory asks the questions of an auditor, of a user and of nothing else.
func TestReportTellsTheWholeStory(t *testing.T) {
	t.Parallel()
	c := newShell(t)
	user := c.purged("alice", purge.BucketSettings{Bucket: "certs", Versioning: true})
	out, _ := c.run(cli.ExitOK, "report", "--user", strconv.Itoa(user), "-o", "text")
	if !strings.Contains(out, "document 1, 2: in no anchor yet") {
		t.Errorf("before the anchor: got\n%s", out)
	}
	c.anchor()
	c.run(cli.ExitOK, "enqueue", strconv.Itoa(user), "--ticket", "PRIV-8")
	out, _ = c.run(cli.ExitOK, "report", "--user", strconv.Itoa(user), "-o", "text")
	const at = `\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ`
	const span = `listed \d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} to \d\d:\d\d:\d\d\.\d{3}: `
	for _, want := range []string{
		`^Certificate of erasure: user ` + strconv.Itoa(user) + `\nMade at ` + at + `, from the ledger and the LMS`,
		`Who asked, and when\n  request 1 \(cli\)\n    ` + at + `  requested by cli, \S+@\S+ for privacy office, ticket PRIV-7\n    ` +
			at + `  ended as done\n    ` + at + `  submitted again by cli, \S+@\S+, ticket PRIV-8; nothing changed\n`,
		`What was deleted\n  LMS certificate 1\n    gs://certs/downloads/` + purgetest.DownloadID +
			`/\n      Certificate\.pdf, generation \d, 1 byte: erased ` + at + `\n`,
		`link cleared in 1 row of the table of certificates, ` + at,
		`How it is proven\n  gs://certs/downloads/` + purgetest.DownloadID + `/\n    ` + span + `1 generation\n    ` + span +
			`nothing\n`,
		`attempt 1 began \(worker-1:7, certpurge 1\.2\.3\); ended ` + at + ` as done, links cleared 1\n` +
			`    document 1, 2: in anchor 1 of ` + at + `\n`,
		`Bucket settings, as read for the attempt\n  certs: versioning on, soft delete off, retention none \(`,
		`until when\n  Nothing in the directories above`, `cannot know\n  Copies that were made`,
	} {
		if !regexp.MustCompile(want).MatchString(out) {
			t.Errorf("got\n%s\nwant %s", out, want)
		}
	}
	if lines := strings.Count(out, "\n"); lines > 51 || strings.Contains(out, "alice") {
		t.Errorf("got %d lines, want one screen, without the learner's name:\n%s", lines, out)
	}

	soft := c.purged("bob", purge.BucketSettings{Bucket: "certs", SoftDelete: 7 * 24 * time.Hour, Retention: time.Hour})
	out, _ = c.run(cli.ExitOK, "report", "--user", strconv.Itoa(soft), "-o", "text")
	for _, want := range []string{
		`: deleted ` + at + `, can be restored until ` + at + `\n`, `certs: versioning off, soft delete 7d, retention 1h`,
		`until when\n  4 objects, by soft delete, until ` + time.Now().UTC().AddDate(0, 0, 7).Format(`2006-01-`),
	} {
		if !regexp.MustCompile(want).MatchString(out) {
			t.Errorf("soft delete: got\n%s\nwant %s", out, want)
		}
	}
	for _, args := range [][]string{
		{"-o", "text", "--since", "2026-01-01"}, {"--user", "1", "--until", "2026-01-01", "-o", "documents"},
	} {
		if _, said := c.run(cli.ExitUsage, append([]string{"report"}, args...)...); !strings.Contains(said, "about one user") {
			t.Errorf("%v: got %q", args, said)
		}
	}
}

// TestReportColumnsOfTheProof: they stand behind those that were there before.
func TestReportColumnsOfTheProof(t *testing.T) {
	t.Parallel()
	c := newShell(t)
	user := strconv.Itoa(c.purged("alice", purge.BucketSettings{Bucket: "certs", SoftDelete: 7 * 24 * time.Hour}))
	out, _ := c.run(cli.ExitOK, "report", "--user", user)
	rows, err := csv.NewReader(strings.NewReader(out)).ReadAll()
	if err != nil || len(rows) != 6 || strings.Join(rows[0][15:], " ") !=
		"listed_at accepted_by requested_by ticket listings bucket_settings" {
		t.Fatalf("got %q, %v", rows, err)
	}
	var listings []evidence.Listing
	var settings evidence.Bucket
	object, links := rows[1], rows[5]
	if err := json.Unmarshal([]byte(object[19]), &listings); err != nil || len(listings) != 2 || listings[1].Generations != 0 {
		t.Errorf("listings: got %q, %v", object[19], err)
	}
	if err := json.Unmarshal([]byte(object[20]), &settings); err != nil || settings.SoftDelete != 604800 {
		t.Errorf("settings: got %q, %v", object[20], err)
	}
	for _, row := range rows[1:] {
		if !strings.HasSuffix(row[17], " for privacy office") || row[18] != "PRIV-7" {
			t.Errorf("got %q", row)
		}
	}
	if links[0] != "links" || links[19]+links[20] != "" {
		t.Errorf("links: got %q", links)
	}
	out, _ = c.run(cli.ExitOK, "report", "--user", user, "-o", "json")
	if strings.Count(out, `"ticket":"PRIV-7"`) != 5 || strings.Count(out, `"bucket_settings":{"bucket":"certs"`) != 4 {
		t.Errorf("json: got %s", out)
	}
}

// TestDocumentsCanBeVerifiedWithoutUs computes the chain from what the command prints.
func TestDocumentsCanBeVerifiedWithoutUs(t *testing.T) {
	t.Parallel()
	c := newShell(t)
	user := c.purged("alice", purge.BucketSettings{Bucket: "certs"})
	out, _ := c.run(cli.ExitOK, "report", "--user", strconv.Itoa(user), "-o", "documents")
	var previous [sha256.Size]byte
	for i, line := range strings.Split(strings.TrimSuffix(out, "\n"), "\n") {
		cells := strings.Split(line, "\t")
		if len(cells) != 5 || cells[0] != strconv.Itoa(i+1) || cells[1] != "1" || cells[2] != strconv.Itoa(i+1) ||
			!json.Valid([]byte(cells[4])) {
			t.Fatalf("got %q", line)
		}
		sum := sha256.Sum256(append(previous[:], cells[4]...))
		if hex.EncodeToString(sum[:]) != cells[3] {
			t.Errorf("line %d: got the hash %s, want %x", i+1, cells[3], sum)
		}
		previous = sum
	}
	if strings.Count(out, "\n") != 2 {
		t.Errorf("got %q", out)
	}
}

func TestStatusShowsTheTimeline(t *testing.T) {
	t.Parallel()
	c := newShell(t)
	user := strconv.Itoa(c.purged("alice", purge.BucketSettings{Bucket: "certs"}))
	const at = `\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ`
	out, _ := c.run(cli.ExitOK, "status", user)
	if want := `links cleared 1\n  ` + at + `  requested by cli, \S+@\S+ for privacy office, ticket PRIV-7\n  ` + at +
		`  attempt 1 began \(worker-1:7, certpurge 1\.2\.3\); ended ` + at + ` as done, links cleared 1\n  ` + at +
		`  ended as done\n$`; !regexp.MustCompile(want).MatchString(out) {
		t.Errorf("got %q, want %s", out, want)
	}
	out, _ = c.run(cli.ExitOK, "status", user, "-o", "json")
	var answer struct {
		Requests []mysql.Request
		Timeline []mysql.TimelineEntry
	}
	if err := json.Unmarshal([]byte(out), &answer); err != nil || len(answer.Requests) != 1 || len(answer.Timeline) != 3 ||
		answer.Requests[0].Ticket != "PRIV-7" || answer.Timeline[0].Ticket != "PRIV-7" || answer.Timeline[1].Attempt != 1 {
		t.Errorf("got %s, %v", out, err)
	}
	out, _ = c.run(cli.ExitOK, "status", user, "-o", "csv")
	rows, err := csv.NewReader(strings.NewReader(out)).ReadAll()
	if err != nil || len(rows) != 2 || rows[0][11] != "ticket" || rows[1][11] != "PRIV-7" {
		t.Errorf("csv: got %q, %v", rows, err)
	}

	// A worker that died after it had written what it was about to delete.
	dead := c.db.AddRetiringUser(t, "dead", "COMPLETE")
	c.run(cli.ExitOK, "enqueue", strconv.Itoa(dead))
	attempt, err := c.store.Begin(t.Context(), purge.Task{Request: c.requestsOf(dead)[0].ID, User: purge.UserID(dead)})
	if err != nil {
		t.Fatal(err)
	}
	dir := purge.Directory{Bucket: "certs", Prefix: "downloads/x/"}
	if _, err := c.store.Intend(t.Context(), attempt, []purge.Evidence{{
		CertificateID: 9, Table: purge.Live, Outcome: purge.Listed,
		Generation: purge.Generation{Directory: dir, Name: dir.Prefix + "y", Number: 1},
	}}, nil); err != nil {
		t.Fatal(err)
	}
	if out, _ = c.run(cli.ExitOK, "status", strconv.Itoa(dead)); !strings.Contains(out, "intents written, it is running\n") {
		t.Errorf("got %q", out)
	}
	c.end(dead, purge.Report{State: purge.Failed, Reason: purge.ReasonHeld})
	if out, _ = c.run(cli.ExitOK, "status", strconv.Itoa(dead)); !strings.Contains(out,
		"attempt 1 began (worker-1:7, certpurge 1.2.3); intents written, no record: the worker died\n") {
		t.Errorf("got %q", out)
	}
	c.run(cli.ExitOK, "requeue", "--user", strconv.Itoa(dead), "--execute", "--ticket", "PRIV-9", "--requested-by", "bob")
	if out, _ = c.run(cli.ExitOK, "status", strconv.Itoa(dead)); !regexp.MustCompile(
		`opened again by cli, \S+@\S+ for bob, ticket PRIV-9\n$`).MatchString(out) {
		t.Errorf("got %q", out)
	}
}

func TestTicketsAndNamesAreBounded(t *testing.T) {
	t.Parallel()
	c := newShell(t)
	user := strconv.Itoa(c.db.AddRetiringUser(t, "alice", "COMPLETE"))
	long := strings.Repeat("é", 64)
	out, _ := c.run(cli.ExitOK, "enqueue", user, "--ticket", long, "-o", "csv")
	if !strings.HasPrefix(out, "user_id,request_id,found,open,reason,ticket\n") || !strings.Contains(out, ","+long+"\n") {
		t.Errorf("got %q", out)
	}
	for _, command := range [][]string{
		{"enqueue", user}, {"requeue", "--all"}, {"backfill", "--retired", "--execute"},
	} {
		for flag, tc := range map[string]struct{ given, want string }{
			"--ticket":       {long + "x", "--ticket: expected at most 64 printable characters, got 65: \"éé"},
			"--requested-by": {strings.Repeat("b", 65), "--requested-by: expected a name of at most 64 bytes, all of them printable"},
		} {
			for _, given := range []string{tc.given, "a\nb", "\u202eb", "\xff"} {
				_, said := c.run(cli.ExitUsage, append(command, flag, given)...)
				if want, _, _ := strings.Cut(tc.want, ", got"); !strings.Contains(said, want) ||
					given == tc.given && !strings.Contains(said, tc.want) {
					t.Errorf("%v %s: got %q, want %q", command, flag, said, tc.want)
				}
			}
		}
	}
	c.db.AddCertificate(t, sandboxtest.Certificate{
		UserID: c.db.AddRetiringUser(t, "bob", "COMPLETE"), DownloadUUID: purgetest.DownloadID,
	})
	c.run(cli.ExitOK, "backfill", "--retired", "--execute", "--ticket", "PRIV-1", "--requested-by", "the office")
	if row := c.requestsOf(2)[0]; row.Ticket != "PRIV-1" || !strings.HasPrefix(row.RequestedBy, "backfill, ") ||
		!strings.HasSuffix(row.RequestedBy, " for the office") {
		t.Errorf("got %+v", row)
	}
}

func TestVerify(t *testing.T) {
	t.Parallel()
	c := newShell(t)
	c.purged("alice", purge.BucketSettings{Bucket: "certs"})
	anchor := hex.EncodeToString(func() []byte { h := c.anchor().Hash; return h[:] }())
	c.purged("bob", purge.BucketSettings{Bucket: "certs"})
	written := regexp.MustCompile(`20\d\d-[-0-9T:.]+Z`) // when the oldest of them was
	const sum = "2 requests, 4 documents, 1 anchor; not anchored yet: 2 documents, the oldest of WRITTEN\n"
	for _, args := range [][]string{{}, {"--anchor", anchor}, {"--anchor", strings.ToUpper(anchor)}} {
		if out, _ := c.run(cli.ExitOK, append([]string{"verify"}, args...)...); written.ReplaceAllString(out,
			"WRITTEN") != sum {
			t.Errorf("%v: got %q", args, out)
		}
	}
	if out, _ := c.run(cli.ExitOK, "verify", "-o", "json"); written.ReplaceAllString(out, "WRITTEN") !=
		`{"requests":2,"documents":4,"anchors":1,"unanchored":2,"last_anchor":1,"unanchored_since":"WRITTEN",`+
			`"troubles":[],"trouble_count":0}`+"\n" {
		t.Errorf("got %q", out)
	}
	for _, bad := range []string{"x", anchor[2:], anchor + "00"} {
		if _, said := c.run(cli.ExitUsage, "verify", "--anchor", bad); !strings.Contains(said, bad) ||
			!strings.Contains(said, "64 hexadecimal digits") {
			t.Errorf("%s: got %q", bad, said)
		}
	}
	c.exec("UPDATE " + c.db.Ledger + ".evidence_documents SET document = REPLACE(document, '\"size\":1', '\"size\":2') WHERE id = 3")
	c.exec("DELETE FROM " + c.db.Ledger + ".evidence_documents WHERE id = 2")
	out, said := c.run(cli.ExitNotDone, "verify")
	if want := "request 1 is done, but the record of that is missing\n" +
		"document 1 of request 2 was changed, or the one before it (number 3 in the ledger)\n" +
		"document 2, which anchor 1 holds, is missing\n" +
		"2 requests, 3 documents, 1 anchor; not anchored yet: 2 documents, the oldest of WRITTEN\n"; written.ReplaceAllString(
		out, "WRITTEN") != want ||
		!strings.Contains(said, "the evidence is not as it was written: 3 troubles") {
		t.Errorf("got %q and %q, want %q", out, said, want)
	}
	out, _ = c.run(cli.ExitNotDone, "verify", "--anchor", strings.Repeat("0", 64), "-o", "json")
	if !strings.Contains(out, `"trouble_count":4`) || !strings.Contains(out, `{"document":2,"anchor":1,"text":"document 2, which`) ||
		!strings.Contains(out, "there is no anchor 0000") {
		t.Errorf("got %q", out)
	}
}

// TestPrune removes the evidence of a user, by hand as the account that migrates.
func TestPrune(t *testing.T) {
	t.Parallel()
	c := newShell(t)
	user := strconv.Itoa(c.purged("alice", purge.BucketSettings{Bucket: "certs"}))
	c.anchor()
	c.db.Exec(t, "UPDATE "+c.db.Ledger+".anchors SET at = at - INTERVAL 2 YEAR")
	c.db.Exec(t, "UPDATE "+c.db.Ledger+".requests SET finished_at = finished_at - INTERVAL 2 YEAR")
	for _, age := range []string{"29d", "1h", "0s", "-40d", "10 years"} {
		if _, said := c.run(cli.ExitUsage, "prune", "--execute", "--older-than", age); !strings.Contains(said, "--older-than") {
			t.Errorf("%s: got %q", age, said)
		}
	}
	if out, _ := c.run(cli.ExitOK, "prune", "--older-than", "365d"); out !=
		"would remove 2 documents, 0 events and 0 rows of earlier versions\n" {
		t.Errorf("got %q", out)
	}
	if _, said := c.run(cli.ExitConfiguration, "prune", "--older-than", "365d", "--execute"); !strings.Contains(said,
		"certpurge_migrate") {
		t.Errorf("as the enqueuer: got %q", said)
	}
	c.run(cli.ExitOK, "report", "--user", user)
	own := c.environ[0]
	c.environ[0] = "CERTPURGE_MYSQL_DSN=" + c.db.LedgerDSN(c.accounts.Migrate)
	out, _ := c.run(cli.ExitOK, "prune", "--older-than", "365d", "--execute", "--requested-by", "privacy office",
		"-o", "json")
	var got struct {
		Documents int
		Executed  bool
	}
	if err := json.Unmarshal([]byte(out), &got); err != nil || got.Documents != 2 || !got.Executed {
		t.Errorf("got %s, %v", out, err)
	}
	c.environ[0] = own
	rows := c.db.DumpTable(t, c.db.Ledger+".prunings")
	if len(rows) != 1 || !strings.HasSuffix(rows[0]["actor"], " for privacy office") {
		t.Errorf("got prunings %v", rows)
	}
	c.run(cli.ExitNothing, "report", "--user", user) // a request, and no evidence
	c.run(cli.ExitOK, "verify")
	c.run(cli.ExitOK, "status", user)
}

// TestReportSaysWhatWasNotErased is of a user who has a link that nothing could be named from.
func TestReportSaysWhatWasNotErased(t *testing.T) {
	t.Parallel()
	c := newShell(t)
	user := strconv.Itoa(c.purged("alice", purge.BucketSettings{Bucket: "certs"}))
	out, _ := c.run(cli.ExitOK, "report", "--user", user, "-o", "text")
	if strings.Contains(out, "not erased") {
		t.Errorf("all was erased: got\n%s", out)
	}
	c.db.Exec(t, "UPDATE "+c.db.Ledger+".requests SET state = 'failed', reason = 'unrecognised_reference', ended_as = "+
		"'failed:unrecognised_reference', detail = 'certificate 7: no artifact can be named'")
	out, _ = c.run(cli.ExitOK, "report", "--user", user, "-o", "text")
	if !strings.Contains(out, "What was not erased, and why\n  request 1 is failed (unrecognised_reference): certificate 7: "+
		"no artifact can be named\n    links of certificates that are not in the list") {
		t.Errorf("got\n%s", out)
	}
}
