package mysql_test

import (
	"strings"
	"testing"
	"time"

	"github.com/certpurge/certpurge/internal/evidence"
	"github.com/certpurge/certpurge/internal/mysql"
	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/sandbox/lms"
)

// anchored anchors all documents, as if that had been a year ago.
func (f *fixture) anchored() {
	f.t.Helper()
	last, err := f.LastDocument(f.t.Context())
	if err != nil {
		f.t.Fatal(err)
	}
	if _, err := f.AddAnchor(f.t.Context(), last); err != nil {
		f.t.Fatal(err)
	}
	f.exec("UPDATE " + f.db.Ledger + ".anchors SET at = at - INTERVAL 1 YEAR")
}

// purged purges a user with one certificate.
func (f *fixture) purged(i int) mysql.Call {
	f.t.Helper()
	c := f.purgeable(i)
	c.Attempt = f.BeginAll(f.t.Context(), c)[0].Value
	f.IntendAll(f.t.Context(), c)
	if a := f.RecordAll(f.t.Context(), c)[0]; a.Err != nil || a.Value.State != purge.Done {
		f.t.Fatalf("got %+v", a)
	}
	return c
}

// troubles are what verifying finds.
func (f *fixture) troubles() (v mysql.Verified, troubles []evidence.Trouble) {
	f.t.Helper()
	v, err := f.Verify(f.t.Context(), nil, func(trouble evidence.Trouble) error {
		troubles = append(troubles, trouble)
		return nil
	})
	if err != nil {
		f.t.Fatal(err)
	}
	return v, troubles
}

func TestPruneRemovesOldEvidence(t *testing.T) {
	t.Parallel()
	f := newFixture(t, lms.UTF8MB4)
	migrator := f.open(f.migrateDSN())
	old := f.purged(1)
	open := f.purgeable(2) // its attempt has written what it is about to delete
	open.Attempt = f.BeginAll(t.Context(), open)[0].Value
	f.IntendAll(t.Context(), open)
	again := f.purged(3) // and goes on after the evidence was removed
	f.anchored()
	if _, err := f.Reopen(t.Context(), []purge.RequestID{old.Task.Request}, purge.Reopening{By: "x"}); err != nil {
		t.Fatal(err)
	}
	f.exec("UPDATE "+f.db.Ledger+".requests SET state = 'done', ended_as = 'done:', finished_at = NOW(6) - INTERVAL 1 YEAR "+
		"WHERE id IN (?, ?)", old.Task.Request, again.Task.Request)
	f.exec("UPDATE " + f.db.Ledger + ".events SET at = at - INTERVAL 1 YEAR")
	f.purged(4)
	if v, troubles := f.troubles(); v.Documents != 7 || v.Unanchored != 2 || len(troubles) > 0 {
		t.Fatalf("before: got %+v, %v", v, troubles)
	}
	before := time.Now().AddDate(0, -1, 0)
	want := mysql.Pruned{Documents: 4, Events: 1}
	if got, err := migrator.Prune(t.Context(), before, "alice@ops", false); err != nil || got != want {
		t.Errorf("without execute: got %+v, %v; want %+v", got, err, want)
	}
	if _, err := f.Prune(t.Context(), before, "alice@ops", true); purge.ClassOf(err) != purge.Misconfigured {
		t.Errorf("as the worker: got %v, want that it may not", err)
	}
	if v, troubles := f.troubles(); v.Documents != 7 || v.PrunedUpTo != 0 || len(troubles) > 0 {
		t.Errorf("before it is executed: got %+v, %v", v, troubles)
	}
	if got, err := migrator.Prune(t.Context(), before, "alice@ops", true); err != nil || got != want {
		t.Errorf("got %+v, %v; want %+v", got, err, want)
	}
	if v, troubles := f.troubles(); v.Documents != 3 || v.Anchors != 1 || v.PrunedUpTo == 0 || len(troubles) > 0 {
		t.Errorf("after: got %+v, %v; want the intents of the open request and the two of the latest user", v, troubles)
	}
	emptied, err := f.Emptied(t.Context(), open.Task.User, open.Report.Proven)
	if err != nil || len(emptied) != 2 {
		t.Errorf("the open request: got %v, %v; want it still known what its attempt was about to delete", emptied, err)
	}
	rows := f.db.DumpTable(t, f.db.Ledger+".prunings")
	if len(rows) != 1 || rows[0]["actor"] != "alice@ops" {
		t.Errorf("got prunings %v", rows)
	}
	if n := len(f.db.DumpTable(t, f.db.Ledger+".requests")); n != 4 {
		t.Errorf("got %d requests, want all", n)
	}
	f.anchored()
	if v, troubles := f.troubles(); v.Anchors != 2 || v.Unanchored != 0 || len(troubles) > 0 {
		t.Errorf("the next anchor: got %+v, %v", v, troubles)
	}
	if v, _ := f.troubles(); len(v.Prunings) != 1 || v.Prunings[0].By != "alice@ops" {
		t.Errorf("got prunings %+v", v.Prunings)
	}
	if _, err := migrator.Prune(t.Context(), time.Now().AddDate(0, 0, -29), "alice@ops", true); err == nil {
		t.Error("evidence of 29 days may be removed")
	}
	// Without the entry of who removed it, it is missing.
	f.exec("DELETE FROM " + f.db.Ledger + ".prunings")
	if _, troubles := f.troubles(); len(troubles) < 4 {
		t.Errorf("removed without an entry: got %v", troubles)
	}
}

// TestAForgedPruningHidesNothing removes evidence by hand, and writes that it was pruned.
func TestAForgedPruningHidesNothing(t *testing.T) {
	t.Parallel()
	for name, entry := range map[string]string{
		"of young evidence":                 "NOW(6), NOW(6), 1, 2",
		"of an anchor that was made later":  "NOW(6), NOW(6) - INTERVAL 60 DAY, 1, 2",
		"of more than the anchor holds":     "NOW(6), NOW(6) - INTERVAL 60 DAY, 1, 99",
		"of an anchor that there never was": "NOW(6), NOW(6) - INTERVAL 60 DAY, 99, 99",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, lms.UTF8MB4)
			f.purged(1)
			last, err := f.LastDocument(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if _, err := f.AddAnchor(t.Context(), last); err != nil {
				t.Fatal(err)
			}
			f.exec("DELETE FROM " + f.db.Ledger + ".evidence_documents")
			f.exec("INSERT INTO " + f.db.Ledger + ".prunings (at, written_before, anchor_id, last_id, actor) VALUES (" + entry +
				", 'mallory')")
			v, troubles := f.troubles()
			if len(troubles) < 3 || !strings.Contains(troubles[0].Text, "entry 1 of prunings") || len(v.Prunings) != 1 {
				t.Errorf("got %+v, %+v", v, troubles)
			}
		})
	}
}

// TestARequestThatWasChangedIsFound changes what the row of a request says, and its documents say otherwise.
func TestARequestThatWasChangedIsFound(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]string{
		"who asked": "UPDATE LEDGER.requests SET requested_by = 'cli, mallory@ops'",
		"ticket":    "UPDATE LEDGER.requests SET ticket = 'FAKE-1'",
		"when":      "UPDATE LEDGER.requests SET requested_at = '2020-01-01'",
		"source":    "UPDATE LEDGER.requests SET source = 'api'",
		"user":      "UPDATE LEDGER.requests SET user_id = 99",
		"all of it": "DELETE FROM LEDGER.requests",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, lms.UTF8MB4)
			f.purged(1)
			f.exec(strings.ReplaceAll(change, "LEDGER", f.db.Ledger))
			_, troubles := f.troubles()
			if len(troubles) != 1 || troubles[0].Request != 1 || !strings.Contains(troubles[0].Text, "request 1 is") {
				t.Errorf("got %+v", troubles)
			}
			if ids, err := f.ChangedEvidence(t.Context(), false); err != nil || len(ids) != 1 {
				t.Errorf("doctor: got %v, %v", ids, err)
			}
		})
	}
}
