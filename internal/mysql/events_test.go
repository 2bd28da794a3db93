package mysql_test

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/certpurge/certpurge/internal/mysql"
	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/purge/purgetest"
	"github.com/certpurge/certpurge/internal/sandbox/lms"
)

// events are those of a request, as "kind actor ticket".
func (f *fixture) events(request purge.RequestID) (lines []string) {
	f.t.Helper()
	rows, err := f.db.Root.QueryContext(f.t.Context(), "SELECT CONCAT_WS(' ', kind, actor, ticket), at > UTC_TIMESTAMP() - "+
		"INTERVAL 5 MINUTE FROM "+f.db.Ledger+".events WHERE request_id = ? ORDER BY id", request)
	if err != nil {
		f.t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var line string
		var now bool
		if err := rows.Scan(&line, &now); err != nil {
			f.t.Fatal(err)
		}
		if !now {
			f.t.Errorf("%s is not of now", line)
		}
		lines = append(lines, strings.TrimSpace(line))
	}
	return lines
}

func (f *fixture) wantEvents(request purge.RequestID, want ...string) {
	f.t.Helper()
	if diff := cmp.Diff(want, f.events(request)); diff != "" {
		f.t.Errorf("events of request %d (-want +got):\n%s", request, diff)
	}
}

func (f *fixture) submit(w purge.Submission) purge.Accepted {
	f.t.Helper()
	if w.Key == "" {
		w.Key = purge.DefaultKey(w.User)
	}
	accepted, err := f.Accept(f.t.Context(), []purge.Submission{w})
	if err != nil {
		f.t.Fatal(err)
	}
	return accepted[0]
}

func (f *fixture) end(a purge.Accepted, report purge.Report) {
	f.t.Helper()
	attempt, err := f.Begin(f.t.Context(), purge.Task{Request: a.Request, User: a.User})
	if err != nil {
		f.t.Fatal(err)
	}
	if _, err := f.Record(f.t.Context(), attempt, report); err != nil {
		f.t.Fatal(err)
	}
}

func TestEventsOfARequest(t *testing.T) {
	t.Parallel()
	f := newFixture(t, lms.UTF8MB4)
	user := f.NewUser(purgetest.Retiring)
	by := func(by, ticket string) purge.Submission { return purge.Submission{User: user, By: by, Ticket: ticket} }
	first := f.submit(by("cli, alice@ops", "PRIV-1"))
	f.wantEvents(first.Request)
	f.submit(by("cli, alice@ops", "PRIV-1"))
	f.submit(by("cli, bob@ops", ""))
	f.wantEvents(first.Request) // polls of an open request
	f.submit(by("cli, bob@ops", "PRIV-2"))
	f.submit(by("cli, bob@ops", "PRIV-2"))
	want := []string{"resubmitted cli, bob@ops PRIV-2"} // a ticket that the request does not have
	f.wantEvents(first.Request, want...)

	f.end(first, purge.Report{State: purge.Failed, Reason: purge.ReasonHeld})
	replay := by("token portal", "PRIV-3")
	replay.Replay = true
	f.submit(replay)
	f.wantEvents(first.Request, want...)
	f.submit(by("token portal", "PRIV-3"))
	want = append(want, "reopened token portal PRIV-3")
	f.wantEvents(first.Request, want...)

	f.end(first, purge.Report{State: purge.Done})
	f.submit(replay)
	f.wantEvents(first.Request, want...)
	for range 3 {
		f.submit(by("driver", "PRIV-4"))
	}
	both := []purge.Submission{by("driver", ""), by("cli, alice@ops", ""), by("cli, alice@ops", "")}
	for i := range both {
		both[i].Key = purge.DefaultKey(user)
	}
	if _, err := f.Accept(t.Context(), both); err != nil {
		t.Fatal(err)
	}
	want = append(want, "resubmitted driver PRIV-4", "resubmitted cli, alice@ops")
	f.wantEvents(first.Request, want...)

	// An hour later it is written again.
	f.exec("UPDATE " + f.db.Ledger + ".events SET at = at - INTERVAL 61 MINUTE")
	f.submit(by("driver", "PRIV-5"))
	f.exec("UPDATE " + f.db.Ledger + ".events SET at = UTC_TIMESTAMP(6)")
	f.wantEvents(first.Request, append(want, "resubmitted driver PRIV-5")...)

	for n := range 30 { // a caller that names another one each time
		f.submit(by(fmt.Sprintf("token portal for %d", n), ""))
	}
	if got := len(f.events(first.Request)); got > 25 {
		t.Errorf("got %d events within an hour", got)
	}
}

func TestReopeningsAndAcceptancesAreEvents(t *testing.T) {
	t.Parallel()
	f := newFixture(t, lms.UTF8MB4)
	user := f.NewUser(purgetest.Retiring)
	w := purge.Submission{User: user, By: "cli, alice@ops", AcceptMissing: "alice@ops", Ticket: "T1"}
	first := f.submit(w)
	want := []string{"accepted_missing cli, alice@ops T1"} // of a new request, too: it keeps that until its end only
	f.wantEvents(first.Request, want...)
	f.submit(w)
	f.wantEvents(first.Request, want...) // said before
	w.AcceptShared, w.By = "bob@ops", "cli, bob@ops"
	f.submit(w)
	want = append(want, "accepted_shared cli, bob@ops T1")
	f.wantEvents(first.Request, want...)

	f.end(first, purge.Report{State: purge.Failed, Reason: purge.ReasonHeld})
	w.AcceptMissing = "bob@ops"
	f.submit(w)
	want = append(want, "reopened cli, bob@ops T1", "accepted_missing cli, bob@ops T1", "accepted_shared cli, bob@ops T1")
	f.wantEvents(first.Request, want...)

	// Of what is opened again, only that which really is has an event: not what is open, and not what cannot be opened.
	f.end(first, purge.Report{State: purge.Failed, Reason: purge.ReasonHeld})
	second := f.submit(purge.Submission{User: user, Key: "another"}) // open, of the same scope
	other := f.submit(purge.Submission{User: f.NewUser(purgetest.Retiring)})
	f.end(other, purge.Report{State: purge.Refused, Reason: purge.ReasonNotRetiring})
	ids := []purge.RequestID{first.Request, second.Request, other.Request, 999}
	n, err := f.Reopen(t.Context(), ids, purge.Reopening{By: "cli, carol@ops", Ticket: "T2", AcceptShared: "carol@ops"})
	if n != 1 || err != nil {
		t.Errorf("got %d, %v", n, err)
	}
	f.wantEvents(first.Request, want...)
	f.wantEvents(second.Request)
	f.wantEvents(other.Request, "reopened cli, carol@ops T2", "accepted_shared cli, carol@ops T2")
}

// TestAReopeningIsOneEventHoweverManyAsk: callers who open the same requests at the same time.
func TestAReopeningIsOneEventHoweverManyAsk(t *testing.T) {
	t.Parallel()
	f := newFixture(t, lms.UTF8MB4)
	const requests, callers = 20, 8
	var ids []purge.RequestID
	for range requests {
		a := f.submit(purge.Submission{User: f.NewUser(purgetest.Retiring)})
		f.end(a, purge.Report{State: purge.Failed, Reason: purge.ReasonHeld})
		ids = append(ids, a.Request)
	}
	var all sync.WaitGroup
	var reopened atomic.Int64
	for caller := range callers {
		own := slices.Clone(ids)
		if caller%2 == 1 {
			slices.Reverse(own)
		}
		all.Go(func() {
			n, err := f.Reopen(t.Context(), own, purge.Reopening{By: "cli"})
			if err != nil {
				t.Error(err)
			}
			reopened.Add(int64(n))
		})
	}
	all.Wait()
	if got := reopened.Load(); got != requests {
		t.Errorf("callers were told of %d requests, want %d", got, requests)
	}
	for _, id := range ids {
		f.wantEvents(id, "reopened cli")
	}
}

// TestAReopeningOutlastsADeadlock: the server ends its transaction, and the next try finds all as it was.
func TestAReopeningOutlastsADeadlock(t *testing.T) {
	t.Parallel()
	f := newFixture(t, lms.UTF8MB4)
	var ids []purge.RequestID
	for range 2 {
		a := f.submit(purge.Submission{User: f.NewUser(purgetest.Retiring)})
		f.end(a, purge.Report{State: purge.Failed, Reason: purge.ReasonHeld})
		ids = append(ids, a.Request)
	}
	tx, err := f.db.Root.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback() //nolint:errcheck // committed or dead by then
	touch := "UPDATE " + f.db.Ledger + ".requests SET updated_at = NOW(6) WHERE id = ?"
	if _, err := tx.ExecContext(t.Context(), touch, ids[1]); err != nil {
		t.Fatal(err)
	}
	for n := range 50 { // more work than the store's, so that the server picks the store as its victim
		if _, err := tx.ExecContext(t.Context(), "INSERT INTO "+f.db.Ledger+
			".events (request_id, at, kind) VALUES (?, NOW(), 'x')", 1000+n); err != nil {
			t.Fatal(err)
		}
	}
	reopened := make(chan error, 1)
	go func() {
		n, err := f.Reopen(t.Context(), ids, purge.Reopening{By: "cli"})
		if n != len(ids) && err == nil {
			err = fmt.Errorf("opened %d again", n)
		}
		reopened <- err
	}()
	f.waitForLock()
	if _, err := tx.ExecContext(t.Context(), touch, ids[0]); err != nil {
		t.Fatalf("the test's own session was the victim: %v", err)
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	if err := <-reopened; err != nil {
		t.Error(err)
	}
	for _, id := range ids {
		f.wantEvents(id, "reopened cli")
	}
}

// TestNoReopeningWithoutItsEvent takes the right to write events away.
func TestNoReopeningWithoutItsEvent(t *testing.T) {
	t.Parallel()
	f := newFixture(t, lms.UTF8MB4)
	user := f.NewUser(purgetest.Retiring)
	first := f.submit(purge.Submission{User: user})
	f.end(first, purge.Report{State: purge.Failed, Reason: purge.ReasonHeld})
	f.exec("RENAME TABLE " + f.db.Ledger + ".events TO " + f.db.Ledger + ".away")
	if n, err := f.Reopen(t.Context(), []purge.RequestID{first.Request}, purge.Reopening{By: "x"}); n != 0 || err == nil {
		t.Errorf("opened again: got %d, %v, want an error", n, err)
	}
	accepting := purge.Submission{User: f.NewUser(purgetest.Retiring), Key: "k", AcceptMissing: "x"}
	if accepted, err := f.Accept(t.Context(), []purge.Submission{accepting}); err == nil {
		t.Errorf("accepted: got %+v, want an error", accepted)
	}
	f.exec("RENAME TABLE " + f.db.Ledger + ".away TO " + f.db.Ledger + ".events")
	if rows := must(f.Requests(t.Context(), []purge.RequestID{first.Request, first.Request + 1})); len(rows) != 1 ||
		rows[0].State != purge.Failed {
		t.Errorf("got %+v, want what there was", rows)
	}
	if n, err := f.Reopen(t.Context(), []purge.RequestID{first.Request}, purge.Reopening{By: "x"}); n != 1 || err != nil {
		t.Errorf("opened again: got %d, %v", n, err)
	}
}

// TestAPlainSubmissionTakesTwoRoundTrips counts what is written to the server: a look-up and an INSERT.
func TestAPlainSubmissionTakesTwoRoundTrips(t *testing.T) {
	t.Parallel()
	f := newFixture(t, lms.UTF8MB4)
	var writes atomic.Int64
	f.enqueuer = f.open(f.db.LedgerDSN(f.accounts.Enqueuer), func(c *mysql.Config) {
		c.MaxOpenConnections = 1
		c.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := new(net.Dialer).DialContext(ctx, network, address)
			return countingConn{conn, &writes}, err
		}
	})
	f.submit(purge.Submission{User: f.NewUser(purgetest.Retiring)})
	writes.Store(0)
	w := purge.Submission{User: f.NewUser(purgetest.Retiring), By: "cli, alice@ops", Ticket: "T1"}
	f.submit(w)
	if got := writes.Load(); got != 2 {
		t.Errorf("a new one: got %d round trips", got)
	}
	writes.Store(0)
	f.submit(w)
	if got := writes.Load(); got != 1 {
		t.Errorf("one that is open: got %d round trips", got)
	}
}

func TestTimeline(t *testing.T) {
	t.Parallel()
	f := newFixture(t, lms.UTF8MB4)
	f.Writer.Worker, f.Writer.Software = "host:1", "certpurge 1.2.3"
	user := f.NewUser(purgetest.Retiring)
	f.NewReference(user, purge.Live, idD, idV, "")
	first := f.submit(purge.Submission{User: user, By: "cli, alice@ops for bob", Ticket: "PRIV-1"})
	f.submit(purge.Submission{User: user, Key: "k2", By: "token portal"})
	task := purge.Task{Request: first.Request, User: user}
	attempt, err := f.Begin(t.Context(), task)
	if err != nil {
		t.Fatal(err)
	}
	dir := purge.Directory{Bucket: "certs", Prefix: "downloads/" + idD + "/"}
	_, err = f.Intend(t.Context(), attempt, []purge.Evidence{{
		CertificateID: 1, Table: purge.Live, Outcome: purge.Listed,
		Generation: purge.Generation{Directory: dir, Name: dir.Prefix + "Certificate.pdf", Number: 1},
	}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	f.wantTimeline(user, "requested cli, alice@ops for bob PRIV-1", "key token portal", "attempt 1 host:1 certpurge 1.2.3 running")
	f.LapseLease(first.Request)
	if attempt, err = f.Begin(t.Context(), task); err != nil {
		t.Fatal(err)
	}
	f.wantTimeline(user, "requested cli, alice@ops for bob PRIV-1", "key token portal", "attempt 1 host:1 certpurge 1.2.3 died")
	if _, err := f.Record(t.Context(), attempt, purge.Report{State: purge.Failed, Reason: purge.ReasonHeld}); err != nil {
		t.Fatal(err)
	}
	f.submit(purge.Submission{User: user, By: "cli, carol@ops", Ticket: "PRIV-2"})
	if result := f.purgeUser(user); result.State != purge.Done {
		t.Fatalf("got %+v", result)
	}
	f.submit(purge.Submission{User: user, By: "driver"})
	entries := f.wantTimeline(user,
		"requested cli, alice@ops for bob PRIV-1", "key token portal", "attempt 1 host:1 certpurge 1.2.3 died",
		"attempt 2 host:1 certpurge 1.2.3 failed held", "reopened cli, carol@ops PRIV-2",
		"attempt 3 host:1 certpurge 1.2.3 done cleared 1", "ended done", "resubmitted driver")
	if e := entries[5]; e.Ended == nil || e.Ended.Before(e.At) || len(e.Documents) != 2 || time.Since(e.At) > time.Minute {
		t.Errorf("got %+v", e)
	}
	unasked := f.NewUser(purgetest.Retiring)
	f.wantTimeline(unasked)
}

func (f *fixture) wantTimeline(user purge.UserID, want ...string) []mysql.TimelineEntry {
	f.t.Helper()
	rows, err := f.RequestsAfter(f.t.Context(), mysql.Filter{User: user}, 0, 10)
	if err != nil {
		f.t.Fatal(err)
	}
	entries, err := f.enqueuer.Timeline(f.t.Context(), rows)
	if err != nil {
		f.t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		parts := []string{e.Kind}
		if e.Attempt > 0 {
			parts = append(parts, strconv.Itoa(e.Attempt))
		}
		parts = append(parts, e.Actor, e.Ticket, e.Worker, e.Software, string(e.State), string(e.Reason))
		for text, is := range map[string]bool{"running": e.Running, "died": e.Died} {
			if is {
				parts = append(parts, text)
			}
		}
		if e.Cleared > 0 {
			parts = append(parts, fmt.Sprint("cleared ", e.Cleared))
		}
		got = append(got, strings.Join(strings.Fields(strings.Join(parts, " ")), " "))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		f.t.Errorf("timeline (-want +got):\n%s", diff)
	}
	return entries
}

// TestEvidenceSaysWhoAskedAndWhatProvesIt reads what a real purge leaves, of a user and of a period.
func TestEvidenceSaysWhoAskedAndWhatProvesIt(t *testing.T) {
	t.Parallel()
	f := newFixture(t, lms.UTF8MB4)
	user := f.NewUser(purgetest.Retiring)
	f.NewReference(user, purge.Live, idD, idV, "")
	f.submit(purge.Submission{User: user, By: "cli, alice@ops", Ticket: "PRIV-1"})
	settings := purge.BucketSettings{Bucket: "certs", Versioning: true, SoftDelete: 7 * 24 * time.Hour}
	f.purgeWith(user, settings)
	for name, filter := range map[string]mysql.EvidenceFilter{
		"user": {User: user}, "period": {Since: time.Now().Add(-time.Hour)},
	} {
		objects, links := 0, 0
		err := f.enqueuer.EachEvidence(t.Context(), filter, func(r mysql.EvidenceRecord) error {
			if r.RequestedBy != "cli, alice@ops" || r.Ticket != "PRIV-1" {
				t.Errorf("%s: got %+v", name, r)
			}
			if r.Kind == "links" {
				links++
				if r.Listings != nil || r.Settings != nil {
					t.Errorf("%s: links have a directory: %+v", name, r)
				}
				return nil
			}
			objects++
			last := len(r.Listings) - 1
			if last != 1 || r.Listings[0].Generations == 0 || r.Listings[last].Generations != 0 ||
				r.Listings[last].Ended.Before(r.Listings[0].Began) {
				t.Errorf("%s: got the listings %+v", name, r.Listings)
			}
			if r.Settings == nil || !r.Settings.Versioning || r.Settings.SoftDelete != 604800 || r.Settings.Name != "certs" {
				t.Errorf("%s: got the settings %+v", name, r.Settings)
			}
			return nil
		})
		if err != nil || objects != 4 || links != 1 {
			t.Errorf("%s: got %d objects, %d links, %v", name, objects, links, err)
		}
	}
	n := 0
	// Evidence of an earlier version has no proof, but its request says who asked.
	f.exec("INSERT INTO " + f.db.Ledger + ".evidence_objects (request_id, user_id, " +
		"certificate_id, source_table, attempt, bucket, directory, name, generation, size, outcome, listed_at, settled_at, " +
		"object_key) SELECT id, user_id, 7, 'live', 1, 'certs', 'cert/x/', 'cert/x/', 0, 0, 'absent', NOW(6), NOW(6), " +
		"REPEAT('x', 32) FROM " + f.db.Ledger + ".requests")
	err := f.enqueuer.EachEvidence(t.Context(), mysql.EvidenceFilter{Since: time.Now().Add(-24 * time.Hour)},
		func(r mysql.EvidenceRecord) error {
			if n++; r.RequestedBy != "cli, alice@ops" || r.Name == "cert/x/" && r.Listings != nil {
				t.Errorf("got %+v", r)
			}
			return nil
		})
	if err != nil || n != 6 {
		t.Errorf("got %d lines, %v", n, err)
	}
}

// TestOperationsAreWrittenDown writes two under the rights of the enqueuer, one of them larger than the columns.
func TestOperationsAreWrittenDown(t *testing.T) {
	t.Parallel()
	f := newFixture(t, lms.UTF8MB4)
	first := mysql.Operation{Kind: mysql.OperationDashboard, Subject: "purge: pause", By: "dashboard, bob"}
	second := mysql.Operation{
		Kind: mysql.OperationResumed, Subject: strings.Repeat("x", 100), By: strings.Repeat("ü", 200), Ticket: "OPS-7",
	}
	for _, o := range []mysql.Operation{first, second} {
		if err := f.enqueuer.NoteOperation(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	got, err := f.Operations(t.Context(), 10)
	if err != nil || len(got) != 2 || time.Since(got[0].At).Abs() > time.Hour {
		t.Fatalf("got %+v, %v", got, err)
	}
	if o := got[0]; o.Kind != second.Kind || len(o.Subject) > 64 || o.Subject == "" || !strings.HasPrefix(o.By, "üüü") || o.Ticket != "OPS-7" {
		t.Errorf("got %+v", o)
	}
	got[1].At = time.Time{}
	if got[1] != first {
		t.Errorf("got %+v, want %+v", got[1], first)
	}
	if last, err := f.Operations(t.Context(), 1); err != nil || len(last) != 1 || last[0].Kind != second.Kind {
		t.Errorf("got %+v, %v", last, err)
	}
}
