package notify_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/certpurge/certpurge/internal/config"
	"github.com/certpurge/certpurge/internal/mysql"
	"github.com/certpurge/certpurge/internal/purge"
)

func TestEachEndIsNotifiedOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	before := w.ended(1)[0]
	n := w.begun()
	requests := w.submit(4)
	w.end(purge.Report{State: purge.Done, Certificates: 3, Evidence: []purge.Evidence{{
		CertificateID: 1, Table: purge.Live, Outcome: purge.Erased, Generation: purge.Generation{
			Directory: purge.Directory{Bucket: "certs", Prefix: "downloads/"}, Name: "downloads/x", Number: 1, Size: 2,
		},
	}}}, requests[0])
	w.end(purge.Report{State: purge.Failed, Reason: purge.ReasonHeld, Detail: "certs/downloads/x is held"}, requests[1])
	w.end(purge.Report{State: purge.Refused, Reason: purge.ReasonNotRetiring}, requests[2])
	if sum := w.once(n); sum.Found != 3 || sum.Delivered != 3 || sum.Failed != 0 || !sum.Led {
		t.Errorf("got %+v, want 3 found and delivered", sum)
	}
	for range 3 {
		w.advance(10 * time.Minute) // looks again at all of the last hour
		if sum := w.once(n); sum.Found != 0 {
			t.Errorf("later: got %+v, want nothing", sum)
		}
	}
	want := map[string]int{}
	for _, r := range requests[:3] {
		want[fmt.Sprintf("requests/%d", r)] = 1
	}
	if got := w.receiver.subjects(); !maps.Equal(got, want) || len(w.receiver.all()) != 3 {
		t.Fatalf("got %v, want %v: neither %d, which ended before, nor one that is open", got, want, before)
	}
	for _, e := range w.receiver.all() {
		if e.SpecVersion != "1.0" || e.Type != "io.github.certpurge.request.ended" || e.Source != "certpurge" ||
			e.DataContentType != "application/json" || e.ID == "" || e.ID != e.Header.Get("webhook-id") ||
			e.Header.Get("Content-Type") != "application/cloudevents+json; charset=utf-8" ||
			e.Header.Get("User-Agent") != "certpurge/v0" || e.Time != e.Data["finished_at"] {
			t.Errorf("got %+v", e)
		}
		for _, unwanted := range []string{"secret-name", "learner", "user:", "downloads/", "is held"} {
			if strings.Contains(e.Body, unwanted) {
				t.Errorf("%q is in %s", unwanted, e.Body)
			}
		}
		if e.Data["ticket"] != "PRIV-7" || e.Data["source"] != "api" || e.Data["user_id"] == 0.0 {
			t.Errorf("got %s", e.Body)
		}
		switch e.Subject {
		case fmt.Sprintf("requests/%d", requests[0]):
			if e.Data["state"] != "done" || e.Data["objects_erased"] != 1.0 || e.Data["attempts"] != 1.0 {
				t.Errorf("got %s", e.Body)
			}
		case fmt.Sprintf("requests/%d", requests[1]):
			if e.Data["state"] != "failed" || e.Data["reason"] != "held" {
				t.Errorf("got %s", e.Body)
			}
		}
	}
}

// TestTheBodyKeepsItsKeys: programs of others read it.
func TestTheBodyKeepsItsKeys(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	n := w.begun()
	w.ended(1)
	w.once(n)
	var body map[string]any
	if err := json.Unmarshal([]byte(w.receiver.all()[0].Body), &body); err != nil {
		t.Fatal(err)
	}
	data, _ := body["data"].(map[string]any)
	for object, want := range map[string][]string{
		"event": {"specversion", "id", "source", "type", "subject", "time", "datacontenttype", "data"},
		"data": {
			"request_id", "user_id", "source", "ticket", "state", "attempts", "certificates", "objects_erased", "objects_absent",
			"objects_soft_deleted", "directories_missing", "references_cleared", "references_kept", "requested_at", "finished_at",
		},
	} {
		got := map[string]map[string]any{"event": body, "data": data}[object]
		for _, key := range want {
			if _, ok := got[key]; !ok {
				t.Errorf("%s has no %s", object, key)
			}
		}
		if len(got) != len(want) {
			t.Errorf("%s: got %v, want the keys %v", object, got, want)
		}
	}
}

func TestAReopenedRequestIsNotifiedAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	n := w.begun()
	request := w.submit(1)
	w.end(purge.Report{State: purge.Failed, Reason: purge.ReasonHeld}, request...)
	w.once(n)
	if _, err := w.enqueuer.Reopen(t.Context(), request, purge.Reopening{By: "test"}); err != nil {
		t.Fatal(err)
	}
	w.once(n)
	w.end(purge.Report{State: purge.Done}, request...)
	w.once(n)
	all := w.receiver.all()
	if len(all) != 2 || all[0].ID == all[1].ID || all[0].Data["state"] != "failed" || all[1].Data["state"] != "done" {
		t.Errorf("got %+v, want each end with an id of its own", all)
	}
}

// TestTwoLeadersTellAnEndOnce: the connection with the lock of one broke, and both look at the same time.
func TestTwoLeadersTellAnEndOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	n, other := w.begun(), w.notifier()
	other.Ledger = stale{other.Ledger}
	w.ended(3)
	w.once(n)
	w.once(other)
	if got := w.receiver.subjects(); len(got) != 3 || len(w.receiver.all()) != 3 {
		t.Errorf("got %v, want each of three once", got)
	}
}

// TestAnEndThatIsCommittedLateIsNotified moves ends to before what has been told.
func TestAnEndThatIsCommittedLateIsNotified(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.advance(-2 * time.Hour)
	n := w.begun() // two hours ago
	w.advance(2 * time.Hour)
	requests := w.ended(3)
	w.finishedAt(requests[1], w.Now().Add(-48*time.Hour)) // not seen yet
	w.finishedAt(requests[2], w.Now().Add(-48*time.Hour))
	if sum := w.once(n); sum.Found != 1 {
		t.Fatalf("got %+v", sum)
	}
	w.finishedAt(requests[1], w.Now().Add(-20*time.Second))
	if sum := w.once(n); sum.Found != 1 {
		t.Errorf("20 seconds late: got %+v, want it told by the next look", sum)
	}
	w.finishedAt(requests[2], w.Now().Add(-70*time.Minute))
	if sum := w.once(n); sum.Found != 0 {
		t.Errorf("an hour late: got %+v; does every look go back so far?", sum)
	}
	w.advance(10 * time.Minute)
	w.finishedAt(requests[2], w.Now().Add(-70*time.Minute))
	if sum := w.once(n); sum.Found != 1 {
		t.Errorf("an hour late: got %+v, want it told within ten minutes", sum)
	}
	again := w.notifier() // another process goes back as well
	if sum := w.once(again); sum.Found != 0 || len(w.receiver.subjects()) != 3 {
		t.Errorf("got %+v and %v", sum, w.receiver.subjects())
	}
}

// TestAClockThatIsAheadHidesNothing has a worker end a request a day from now.
func TestAClockThatIsAheadHidesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	n := w.begun()
	w.finishedAt(w.ended(1)[0], w.Now().Add(24*time.Hour))
	w.once(n)
	w.ended(1)
	w.once(n)
	if got := w.receiver.subjects(); len(got) != 2 {
		t.Errorf("got %v, want both", got)
	}
	w.rounds(n, time.Hour)
	if got := len(w.receiver.all()); got != 2 {
		t.Errorf("got %d events, want each once", got)
	}
}

func TestWhatEndedWhileNoProcessRanIsNotified(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.advance(-10 * 24 * time.Hour)
	w.begun()
	w.advance(10 * 24 * time.Hour)
	requests := w.ended(3)
	w.finishedAt(requests[0], w.Now().Add(-maxAge-time.Hour))
	w.finishedAt(requests[1], w.Now().Add(-maxAge+time.Hour))
	w.once(w.notifier())
	if got := w.receiver.subjects(); len(got) != 2 || got[fmt.Sprintf("requests/%d", requests[0])] != 0 {
		t.Errorf("got %v, want those of the last seven days", got)
	}
}

func TestOnlyTheEventsOfTheSettingsAreNotified(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	verdicts := func(c *config.Notify) { c.Events = []string{mysql.KindVerdictChanged} }
	n := w.begun(verdicts)
	w.ended(1)
	w.rounds(n, 3*time.Minute)
	w.once(w.notifier())
	if got := w.receiver.all(); len(got) != 0 {
		t.Errorf("got %+v: it ended while ends were not to be told", got)
	}
}

func TestASteadyVerdictIsNotified(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	n := w.begun()
	level, known := "ok", true
	n.Verdict = verdictOf(&level, &known)
	looks := func(l string, times int) {
		level = l
		for range times {
			w.advance(30 * time.Second)
			w.once(n)
		}
	}
	looks("ok", 5)
	looks("bad", 2)
	looks("ok", 1)
	looks("bad", 2)
	looks("warn", 2)
	known = false
	looks("warn", 1)
	known = true
	looks("warn", 2)
	if got := w.receiver.all(); len(got) != 0 {
		t.Errorf("got %+v; want no level told that was not there in three looks in a row", got)
	}
	looks("warn", 3)
	looks("bad", 3)
	w.once(n) // at once
	w.once(n)
	other := w.notifier() // another process knows what was told
	other.Verdict = n.Verdict
	n = other
	looks("bad", 5)
	looks("ok", 3)
	var got []string
	for _, e := range w.receiver.all() {
		got = append(got, fmt.Sprint(e.Type, " ", e.Data["was"], " ", e.Data["level"], " ", e.Data["title"], e.Subject))
	}
	const kind = "io.github.certpurge.verdict.changed "
	want := kind + "ok warn it is warn," + kind + "warn bad it is bad," + kind + "bad ok it is ok"
	if strings.Join(got, ",") != want {
		t.Errorf("got %v\nwant %v", got, want)
	}
}
