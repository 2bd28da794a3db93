package purgetest

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/certpurge/certpurge/internal/purge"
)

func testErasedIsFinal(t *testing.T, s StoreUnderTest) {
	t.Helper()
	slow := begun(t, s)
	fast := must[purge.Attempt](t)(s.Begin(t.Context(), slow.Task))
	must[purge.Intended](t)(s.Intend(t.Context(), fast, []purge.Evidence{seen("a", 1, purge.Listed)}, nil))
	must[purge.Recorded](t)(s.Record(t.Context(), fast,
		purge.Report{State: purge.Done, Proven: []purge.Directory{directory(DownloadID)}}))
	must[purge.Intended](t)(s.Intend(t.Context(), slow, []purge.Evidence{seen("a", 1, purge.Listed)}, nil))
	got := must[purge.Recorded](t)(s.Record(t.Context(), slow, purge.Report{
		State: purge.Queued, Reason: purge.ReasonTransient, Evidence: []purge.Evidence{seen("a", 1, purge.NotProven)},
	}))
	if got.State != purge.Done || got.Counts.ObjectsErased != 1 {
		t.Errorf("got %+v, want it done with its object erased", got)
	}
}

func testEvidenceOfTheUser(t *testing.T, s StoreUnderTest) {
	t.Helper()
	killed := begun(t, s)
	must[purge.Intended](t)(s.Intend(t.Context(), killed, []purge.Evidence{seen("a", 1, purge.Listed)}, nil))
	must[purge.Recorded](t)(s.Record(t.Context(), killed, purge.Report{State: purge.Failed, Reason: purge.ReasonHeld}))
	other := accept(t, s, purge.Submission{User: killed.User, Key: "ticket-1", Source: purge.SourceAPI})
	attempt := purge.Attempt{Task: purge.Task{Request: other.Request, User: killed.User}}
	got := must[purge.Recorded](t)(s.Record(t.Context(), attempt, purge.Report{
		State: purge.Done, Proven: []purge.Directory{directory(DownloadID)},
		Evidence: []purge.Evidence{seen("", 0, purge.Absent)},
	}))
	if got.State != purge.Done || got.Counts.ObjectsAbsent != 0 {
		t.Errorf("got %+v, want done without an empty directory", got)
	}
	if a := must[purge.Attempt](t)(s.Begin(t.Context(), killed.Task)); a.State != purge.Failed ||
		a.Counts.ObjectsErased != 1 {
		t.Errorf("the other request: got %+v, want it failed with its object erased", a)
	}
}

func testNeighbours(t *testing.T, s StoreUnderTest) {
	t.Helper()
	var attempts []purge.Attempt
	for range 32 {
		attempts = append(attempts, begun(t, s))
	}
	var wg sync.WaitGroup
	for _, a := range attempts {
		wg.Go(func() {
			d := purge.Directory{Bucket: Bucket, Prefix: fmt.Sprintf("cert/%032x/", int64(a.User))}
			absent := purge.Evidence{
				CertificateID: 1, Table: purge.Live, Outcome: purge.Absent,
				Generation: purge.Generation{Directory: d, Name: d.Prefix},
			}
			if _, err := s.Intend(t.Context(), a, []purge.Evidence{seen("a", 1, purge.Listed)}, nil); err != nil {
				t.Errorf("user %d: %v", a.User, err)
			}
			got, err := s.Record(t.Context(), a, purge.Report{
				State:    purge.Done,
				Proven:   []purge.Directory{d, directory(DownloadID)},
				Evidence: []purge.Evidence{seen("a", 1, purge.Erased), absent},
			})
			if err != nil || got.Counts.ObjectsErased != 1 || got.Counts.ObjectsAbsent != 1 {
				t.Errorf("user %d: got %+v, %v", a.User, got, err)
			}
		})
	}
	wg.Wait()
}

func testIntents(t *testing.T, s StoreUnderTest) {
	t.Helper()
	killed := begun(t, s)
	must[purge.Intended](t)(s.Intend(t.Context(), killed,
		[]purge.Evidence{seen("a", 1, purge.Listed), seen("b", 1, purge.Listed)}, nil))
	attempt := must[purge.Attempt](t)(s.Begin(t.Context(), killed.Task))
	for range 2 { // one object is still there, and is about to be deleted once more
		must[purge.Intended](t)(s.Intend(t.Context(), attempt, []purge.Evidence{seen("b", 1, purge.Listed)}, nil))
	}
	absent := seen("", 0, purge.Absent)
	got := must[purge.Recorded](t)(s.Record(t.Context(), attempt, purge.Report{
		State: purge.Done, Proven: []purge.Directory{directory(DownloadID)}, Evidence: []purge.Evidence{absent},
	}))
	if got.Counts.ObjectsErased != 2 || got.Counts.ObjectsAbsent != 0 {
		t.Errorf("got %+v, want the killed attempt's 2 objects erased and no empty directory", got.Counts)
	}
}

func testHeldThenErased(t *testing.T, s StoreUnderTest) {
	t.Helper()
	attempt := begun(t, s)
	until := time.Now().Add(time.Hour).UTC().Truncate(time.Microsecond)
	soft := seen("c", 3, purge.SoftDeleted)
	soft.Until = until
	got := must[purge.Recorded](t)(s.Record(t.Context(), attempt, purge.Report{
		State: purge.Queued, Reason: purge.ReasonSoftDeleted, NotBefore: until,
		Proven:   []purge.Directory{directory(VerifyID)},
		Evidence: []purge.Evidence{seen("a", 1, purge.HeldBack), seen("b", 2, purge.Erased), soft},
	}))
	if diff := cmp.Diff(purge.Counts{Certificates: 1, ObjectsErased: 1, ObjectsSoftDeleted: 1}, got.Counts); diff != "" {
		t.Errorf("counts (-want +got):\n%s", diff)
	}
	// The directory is empty now, and nothing lists what is soft-deleted; but its date has not come.
	attempt = must[purge.Attempt](t)(s.Begin(t.Context(), attempt.Task))
	must[purge.Intended](t)(s.Intend(t.Context(), attempt, []purge.Evidence{seen("a", 1, purge.Listed)}, nil)) // released
	proven := purge.Report{
		State: purge.Queued, Reason: purge.ReasonTransient,
		Proven: []purge.Directory{directory(DownloadID)},
	}
	got = must[purge.Recorded](t)(s.Record(t.Context(), attempt, proven))
	if diff := cmp.Diff(purge.Counts{Certificates: 1, ObjectsErased: 2, ObjectsSoftDeleted: 1}, got.Counts); diff != "" {
		t.Errorf("before the date, counts (-want +got):\n%s", diff)
	}
	soft.Until = time.Now().Add(-time.Hour)
	proven.State, proven.Evidence = purge.Done, []purge.Evidence{soft}
	attempt = must[purge.Attempt](t)(s.Begin(t.Context(), attempt.Task))
	got = must[purge.Recorded](t)(s.Record(t.Context(), attempt, proven))
	if diff := cmp.Diff(purge.Counts{Certificates: 1, ObjectsErased: 3}, got.Counts); diff != "" {
		t.Errorf("after the date, counts (-want +got):\n%s", diff)
	}
}

func testFailures(t *testing.T, s StoreUnderTest) {
	t.Helper()
	attempt := begun(t, s)
	for n := range 3 {
		if attempt.Failures != n {
			t.Errorf("attempt %d: got %d failures, want %d", attempt.Number, attempt.Failures, n)
		}
		must[purge.Recorded](t)(s.Record(t.Context(), attempt,
			purge.Report{State: purge.Queued, Reason: purge.ReasonTransient, Counted: true, Detail: "größer"}))
		attempt = must[purge.Attempt](t)(s.Begin(t.Context(), attempt.Task))
		must[purge.Recorded](t)(s.Record(t.Context(), attempt,
			purge.Report{State: purge.Queued, Reason: purge.ReasonThrottled}))
		attempt = must[purge.Attempt](t)(s.Begin(t.Context(), attempt.Task))
	}
	must[purge.Recorded](t)(s.Record(t.Context(), attempt,
		purge.Report{State: purge.Failed, Reason: purge.ReasonGaveUp, Counted: true}))
	accept(t, s, submission(attempt.User))
	again := must[purge.Attempt](t)(s.Begin(t.Context(), attempt.Task))
	if again.Failures != 0 || again.Number <= attempt.Number {
		t.Errorf("got %+v, want no failures and a higher attempt number than %d", again, attempt.Number)
	}
}

// testReason lets one attempt clear everything without ending the request, and the next find nothing.
func testReason(t *testing.T, s StoreUnderTest) {
	t.Helper()
	accepted := seen("", 0, purge.MissingAccepted)
	accepted.AcceptedBy = "alice@ops"
	for _, tc := range []struct {
		evidence purge.Evidence
		want     purge.Reason
	}{{seen("a", 1, purge.Erased), purge.ReasonNone}, {accepted, purge.ReasonFilesMissing}} {
		attempt := begun(t, s)
		ref := s.NewReference(attempt.User, purge.Live, DownloadID, VerifyID, someURL)
		report := purge.Report{
			State: purge.Queued, Reason: purge.ReasonTransient, Clear: clearing(ref),
			Evidence: []purge.Evidence{tc.evidence},
		}
		must[purge.Recorded](t)(s.Record(t.Context(), attempt, report))
		attempt = must[purge.Attempt](t)(s.Begin(t.Context(), attempt.Task))
		got := must[purge.Recorded](t)(s.Record(t.Context(), attempt,
			purge.Report{State: purge.Done, Reason: purge.ReasonNothingToPurge}))
		if got.State != purge.Done || got.Reason != tc.want {
			t.Errorf("%s: got %s: %s, want done: %s", tc.evidence.Outcome, got.State, got.Reason, tc.want)
		}
	}
	attempt := begun(t, s)
	got := must[purge.Recorded](t)(s.Record(t.Context(), attempt,
		purge.Report{State: purge.Done, Reason: purge.ReasonNothingToPurge}))
	if got.Reason != purge.ReasonNothingToPurge {
		t.Errorf("nothing at all: got %s", got.Reason)
	}
}

// testLapsed lets workers die: only a claim whose lease has run out counts, however many claim at the same time.
func testLapsed(t *testing.T, s StoreUnderTest) {
	t.Helper()
	before := time.Now().Add(-time.Minute)
	attempt := begun(t, s)
	for n := range 3 {
		for range 3 { // duplicates of the task, while the attempt is at work
			attempt = must[purge.Attempt](t)(s.Begin(t.Context(), attempt.Task))
		}
		if attempt.Lapsed != n || attempt.OpenedAt.Before(before) || attempt.OpenedAt.After(time.Now().Add(time.Minute)) {
			t.Errorf("after %d deaths: got %+v", n, attempt)
		}
		s.LapseLease(attempt.Request)
		attempt = must[purge.Attempt](t)(s.Begin(t.Context(), attempt.Task))
	}
	must[purge.Recorded](t)(s.Record(t.Context(), attempt,
		purge.Report{State: purge.Queued, Reason: purge.ReasonThrottled}))
	s.LapseLease(attempt.Request) // a lease of before means nothing for a request that waits
	if attempt = must[purge.Attempt](t)(s.Begin(t.Context(), attempt.Task)); attempt.Lapsed != 0 {
		t.Errorf("after a record: got %d lapsed, want none", attempt.Lapsed)
	}
}

func testExtend(t *testing.T, s StoreUnderTest) {
	t.Helper()
	old := begun(t, s)
	s.LapseLease(old.Request)
	if err := s.Extend(t.Context(), old); err != nil {
		t.Fatal(err)
	}
	attempt := must[purge.Attempt](t)(s.Begin(t.Context(), old.Task))
	if attempt.Lapsed != 0 {
		t.Errorf("extended: got %d lapsed, want none", attempt.Lapsed)
	}
	s.LapseLease(attempt.Request)
	if err := s.Extend(t.Context(), old); err != nil { // a newer attempt has claimed the request
		t.Fatal(err)
	}
	if attempt = must[purge.Attempt](t)(s.Begin(t.Context(), attempt.Task)); attempt.Lapsed != 1 {
		t.Errorf("extended by an overtaken attempt: got %d lapsed, want 1", attempt.Lapsed)
	}
}

func testRecordTwice(t *testing.T, s StoreUnderTest) {
	t.Helper()
	attempt := begun(t, s)
	ref := s.NewReference(attempt.User, purge.Live, DownloadID, VerifyID, someURL)
	must[purge.Intended](t)(s.Intend(t.Context(), attempt, []purge.Evidence{seen("a", 1, purge.Listed)}, nil))
	report := purge.Report{
		State: purge.Done, Certificates: 1, Clear: clearing(ref),
		Proven: []purge.Directory{directory(DownloadID)},
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if _, err := s.Record(t.Context(), attempt, report); err != nil && purge.ClassOf(err) != purge.Transient {
				t.Errorf("got %v", err)
			}
		})
	}
	wg.Wait()
	got := must[purge.Recorded](t)(s.Record(t.Context(), attempt, report))
	want := purge.Recorded{State: purge.Done, Counts: purge.Counts{
		Certificates: 1, ObjectsErased: 1,
		ReferencesCleared: 1,
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("recorded (-want +got):\n%s", diff)
	}
}
