package purgetest

import (
	"errors"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/certpurge/certpurge/internal/purge"
)

func testBegin(t *testing.T, s StoreUnderTest) {
	t.Helper()
	user := s.NewUser(Retiring)
	task := purge.Task{Request: accept(t, s, submission(user)).Request, User: user}
	const workers = 8
	numbers := make(chan int, workers)
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			attempt, err := s.Begin(t.Context(), task)
			if err != nil || attempt.State != purge.Running || attempt.Task != task {
				t.Errorf("got %+v, %v", attempt, err)
			}
			numbers <- attempt.Number
		})
	}
	wg.Wait()
	close(numbers)
	seen := map[int]bool{}
	for n := range numbers {
		seen[n] = true
	}
	if len(seen) != workers || !seen[1] || !seen[workers] {
		t.Errorf("got attempt numbers %v, want 1 to %d", seen, workers)
	}
}

func testUnknown(t *testing.T, s StoreUnderTest) {
	t.Helper()
	attempt := begun(t, s)
	for _, task := range []purge.Task{
		{Request: attempt.Request + 1000, User: attempt.User},
		{Request: attempt.Request, User: attempt.User + 1},
	} {
		if got, err := s.Begin(t.Context(), task); !errors.Is(err, purge.ErrUnknownRequest) {
			t.Errorf("%+v: got %+v, %v; want ErrUnknownRequest", task, got, err)
		}
	}
}

func directory(id string) purge.Directory {
	return purge.Directory{Bucket: Bucket, Prefix: "downloads/" + id + "/"}
}

func seen(name string, number int64, outcome purge.Outcome) purge.Evidence {
	d := directory(DownloadID)
	return purge.Evidence{
		CertificateID: 7, Table: purge.Live, Outcome: outcome,
		Generation: purge.Generation{Directory: d, Name: d.Prefix + name, Number: number, Size: 10, CacheControl: "public"},
	}
}

func testRecordDone(t *testing.T, s StoreUnderTest) {
	t.Helper()
	attempt := begun(t, s)
	live := s.NewReference(attempt.User, purge.Live, DownloadID, VerifyID, someURL)
	old := s.NewReference(attempt.User, purge.History, DownloadID, VerifyID, someURL)
	other := s.NewUser(Retiring)
	s.NewReference(other, purge.Live, DownloadID, VerifyID, someURL)
	intended := must[purge.Intended](t)(s.Intend(t.Context(), attempt,
		[]purge.Evidence{seen("a", 1, purge.Listed), seen("a", 2, purge.Listed)}, nil))
	if intended.Retirement != Retiring {
		t.Errorf("got %+v, want %+v", intended.Retirement, Retiring)
	}
	empty := purge.Evidence{
		CertificateID: 7, Table: purge.Live, Outcome: purge.Absent,
		Generation: purge.Generation{Directory: directory(VerifyID), Name: directory(VerifyID).Prefix},
	}
	got := must[purge.Recorded](t)(s.Record(t.Context(), attempt, purge.Report{
		State: purge.Done, Certificates: 2, Clear: clearing(live, old),
		Proven:   []purge.Directory{directory(DownloadID), directory(VerifyID)},
		Evidence: []purge.Evidence{seen("a", 1, purge.Erased), seen("a", 2, purge.Erased), empty},
	}))
	counts := purge.Counts{Certificates: 2, ObjectsErased: 2, ObjectsAbsent: 1, ReferencesCleared: 2}
	if diff := cmp.Diff(purge.Recorded{State: purge.Done, Counts: counts}, got); diff != "" {
		t.Errorf("recorded (-want +got):\n%s", diff)
	}
	if left(t, s, attempt.User) != 0 || left(t, s, other) != 1 {
		t.Errorf("got %d and %d references, want 0 and the other user's 1", left(t, s, attempt.User), left(t, s, other))
	}
	ended := must[purge.Attempt](t)(s.Begin(t.Context(), attempt.Task))
	if ended.State != purge.Done || ended.Counts != counts || ended.Number != 0 {
		t.Errorf("begun again: got %+v", ended)
	}
}

func testChanged(t *testing.T, s StoreUnderTest) {
	t.Helper()
	attempt := begun(t, s)
	ref := s.NewReference(attempt.User, purge.Live, DownloadID, VerifyID, someURL)
	s.ReplaceURL(ref, someURL+"2")
	got := must[purge.Recorded](t)(s.Record(t.Context(), attempt, purge.Report{State: purge.Done, Clear: clearing(ref)}))
	if got.State != purge.Running || got.Counts.ReferencesCleared != 0 || left(t, s, attempt.User) != 1 {
		t.Errorf("got %+v, %d references; want still running, nothing cleared", got, left(t, s, attempt.User))
	}
	s.ReplaceURL(ref, someURL)
	s.ReplaceVerify(ref, DownloadID)
	if got := must[purge.Recorded](t)(s.Record(t.Context(), attempt,
		purge.Report{State: purge.Done, Clear: clearing(ref)})); got.Counts.ReferencesCleared != 0 {
		t.Errorf("a reference was cleared although it names other files now")
	}
	s.ReplaceVerify(ref, VerifyID)
	// So does a space at the end, which a comparison that pads would not see.
	s.ReplaceURL(ref, someURL+" ")
	if got := must[purge.Recorded](t)(s.Record(t.Context(), attempt,
		purge.Report{State: purge.Done, Clear: clearing(ref)})); got.Counts.ReferencesCleared != 0 {
		t.Errorf("a value that differs in a space at its end was cleared")
	}
	// Letter case alone makes another value, whatever the column's collation says.
	s.ReplaceURL(ref, "https://s3.amazonaws.com/verify.example.org/downloads/"+DownloadID+"/CERTIFICATE.PDF")
	if got := must[purge.Recorded](t)(s.Record(t.Context(), attempt,
		purge.Report{State: purge.Done, Clear: clearing(ref)})); got.Counts.ReferencesCleared != 0 {
		t.Errorf("a value that differs in case was cleared")
	}
}

func testNotDone(t *testing.T, s StoreUnderTest) {
	t.Helper()
	attempt := begun(t, s)
	ref := s.NewReference(attempt.User, purge.Live, DownloadID, VerifyID, someURL)
	s.NewReference(attempt.User, purge.History, DownloadID, VerifyID, someURL)
	got := must[purge.Recorded](t)(s.Record(t.Context(), attempt, purge.Report{State: purge.Done, Clear: clearing(ref)}))
	if got.State != purge.Running || left(t, s, attempt.User) != 1 {
		t.Errorf("got %+v; want still running, because a history row is left", got)
	}
}

func testOvertaken(t *testing.T, s StoreUnderTest) {
	t.Helper()
	first := begun(t, s)
	second := must[purge.Attempt](t)(s.Begin(t.Context(), first.Task))
	got := must[purge.Recorded](t)(s.Record(t.Context(), first,
		purge.Report{State: purge.Failed, Reason: purge.ReasonHeld, Counted: true}))
	if got.State != purge.Running {
		t.Errorf("got %+v, want the newer attempt to decide", got)
	}
	got = must[purge.Recorded](t)(s.Record(t.Context(), second, purge.Report{State: purge.Done}))
	if got.State != purge.Done {
		t.Errorf("got %+v, want done", got)
	}
	got = must[purge.Recorded](t)(s.Record(t.Context(), first,
		purge.Report{State: purge.Queued, Reason: purge.ReasonTransient}))
	if got.State != purge.Done {
		t.Errorf("got %+v, want it to stay done", got)
	}
}

func testReopened(t *testing.T, s StoreUnderTest) {
	t.Helper()
	stale := begun(t, s)
	current := must[purge.Attempt](t)(s.Begin(t.Context(), stale.Task))
	must[purge.Recorded](t)(s.Record(t.Context(), current, purge.Report{State: purge.Failed, Reason: purge.ReasonHeld}))
	accept(t, s, submission(stale.User))
	for _, attempt := range []purge.Attempt{stale, current} {
		got := must[purge.Recorded](t)(s.Record(t.Context(), attempt,
			purge.Report{State: purge.Failed, Reason: purge.ReasonGaveUp}))
		if got.State != purge.Queued {
			t.Errorf("attempt %d from before the end: got %+v, want it still queued", attempt.Number, got)
		}
	}
}
