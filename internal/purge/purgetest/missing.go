package purgetest

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/certpurge/certpurge/internal/purge"
)

// emptyDirectory is the evidence of a directory that held nothing.
func emptyDirectory(id string, outcome purge.Outcome) purge.Evidence {
	e := seen("", 0, outcome)
	e.Generation.Directory = directory(id)
	e.Generation.Name = e.Generation.Directory.Prefix
	if outcome == purge.MissingAccepted {
		e.AcceptedBy = "alice@ops"
	}
	return e
}

// testEmptied asks about directories of which the evidence holds every outcome.
func testEmptied(t *testing.T, s StoreUnderTest) {
	t.Helper()
	attempt := begun(t, s)
	seenIn := func(id string, outcome purge.Outcome) purge.Evidence {
		e := seen("a", 1, outcome)
		e.Generation.Directory = directory(id)
		e.Generation.Name = e.Generation.Directory.Prefix + "a"
		return e
	}
	other := func(id string, outcome purge.Outcome) purge.Evidence { // a second file of the directory
		e := seenIn(id, outcome)
		e.Generation.Name += "b"
		return e
	}
	id := func(c string) string { return c + DownloadID[1:] }
	placeholder := func(id string, outcome purge.Outcome) purge.Evidence { // no file
		e := seenIn(id, outcome)
		e.Generation.Name = e.Generation.Directory.Prefix
		return e
	}
	must[purge.Intended](t)(s.Intend(t.Context(), attempt, []purge.Evidence{
		seenIn(id("1"), purge.Listed), placeholder(id("a"), purge.Listed),
	}, nil))
	must[purge.Recorded](t)(s.Record(t.Context(), attempt, purge.Report{
		State: purge.Failed, Reason: purge.ReasonFilesMissing, Evidence: []purge.Evidence{
			seenIn(id("2"), purge.Erased), seenIn(id("3"), purge.HeldBack), seenIn(id("9"), purge.Erased),
			other(id("9"), purge.HeldBack), seenIn(id("4"), purge.NotProven),
			emptyDirectory(id("5"), purge.Missing), emptyDirectory(id("6"), purge.MissingAccepted),
			emptyDirectory(id("7"), purge.Absent), placeholder(id("b"), purge.Erased),
		},
	}))
	stranger := begun(t, s)
	must[purge.Intended](t)(s.Intend(t.Context(), stranger, []purge.Evidence{seenIn(id("8"), purge.Listed)}, nil))

	var empty, want []purge.Directory
	for _, c := range []string{"0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "a", "b"} {
		empty = append(empty, directory(id(c)))
		if c == "1" || c == "2" || c == "4" { // what a hold protected may have been moved
			want = append(want, directory(id(c)))
		}
	}
	// A request of its own sees what an earlier one of the same user has seen.
	later := accept(t, s, purge.Submission{User: attempt.User, Key: "ticket-1", Source: purge.SourceAPI})
	attempt = must[purge.Attempt](t)(s.Begin(t.Context(), purge.Task{Request: later.Request, User: attempt.User}))
	got := must[purge.Intended](t)(s.Intend(t.Context(), attempt, nil, empty))
	if diff := cmp.Diff(want, got.Emptied); diff != "" || got.Retirement != Retiring {
		t.Errorf("emptied before (-want +got):\n%s\nretirement %+v", diff, got.Retirement)
	}
}

// testMissing lets a directory be missing, then accepted; and another be missing, then found elsewhere.
func testMissing(t *testing.T, s StoreUnderTest) {
	t.Helper()
	attempt := begun(t, s)
	ref := s.NewReference(attempt.User, purge.Live, DownloadID, VerifyID, someURL)
	missing := purge.Report{
		State: purge.Failed, Reason: purge.ReasonFilesMissing, Proven: []purge.Directory{directory(DownloadID)},
		Evidence: []purge.Evidence{emptyDirectory(DownloadID, purge.Missing)},
	}
	got := must[purge.Recorded](t)(s.Record(t.Context(), attempt, missing))
	if got.State != purge.Failed || got.Reason != purge.ReasonFilesMissing || got.Counts.DirectoriesMissing != 1 ||
		got.Counts.ObjectsErased != 0 {
		t.Errorf("missing: got %+v, want failed: files_missing with one directory", got)
	}
	wishing := submission(attempt.User)
	wishing.AcceptMissing = "alice@ops"
	accept(t, s, wishing)
	attempt = must[purge.Attempt](t)(s.Begin(t.Context(), attempt.Task))
	got = must[purge.Recorded](t)(s.Record(t.Context(), attempt, purge.Report{
		State: purge.Done, Reason: purge.ReasonFilesMissing, Clear: clearing(ref),
		Proven:   []purge.Directory{directory(DownloadID)},
		Evidence: []purge.Evidence{emptyDirectory(DownloadID, purge.MissingAccepted)},
	}))
	want := purge.Counts{Certificates: 1, DirectoriesMissing: 1, ReferencesCleared: 1}
	if diff := cmp.Diff(want, got.Counts); diff != "" || got.State != purge.Done ||
		got.Reason != purge.ReasonFilesMissing {
		t.Errorf("accepted: got %s: %s, want done: files_missing; counts (-want +got):\n%s", got.State, got.Reason, diff)
	}

	attempt = begun(t, s)
	ref = s.NewReference(attempt.User, purge.Live, DownloadID, VerifyID, someURL)
	missing.Evidence[0].CertificateID = ref.CertificateID
	must[purge.Recorded](t)(s.Record(t.Context(), attempt, missing))
	accept(t, s, submission(attempt.User))
	attempt = must[purge.Attempt](t)(s.Begin(t.Context(), attempt.Task))
	elsewhere := seen("a", 1, purge.Erased)
	elsewhere.CertificateID = ref.CertificateID
	elsewhere.Generation.Directory = directory(VerifyID)
	elsewhere.Generation.Name = directory(VerifyID).Prefix + "a"
	got = must[purge.Recorded](t)(s.Record(t.Context(), attempt, purge.Report{
		State: purge.Done, Clear: clearing(ref), Evidence: []purge.Evidence{elsewhere},
	}))
	want = purge.Counts{Certificates: 1, ObjectsErased: 1, ObjectsAbsent: 1, ReferencesCleared: 1}
	if diff := cmp.Diff(want, got.Counts); diff != "" || got.State != purge.Done || got.Reason != purge.ReasonNone {
		t.Errorf("found elsewhere: got %s: %q, want done; counts (-want +got):\n%s", got.State, got.Reason, diff)
	}

	attempt = begun(t, s)
	must[purge.Recorded](t)(s.Record(t.Context(), attempt, missing))
	accept(t, s, submission(attempt.User))
	attempt = must[purge.Attempt](t)(s.Begin(t.Context(), attempt.Task))
	got = must[purge.Recorded](t)(s.Record(t.Context(), attempt,
		purge.Report{State: purge.Done, Reason: purge.ReasonNothingToPurge}))
	if got.State != purge.Done || got.Reason != purge.ReasonFilesMissing || got.Counts.DirectoriesMissing != 1 {
		t.Errorf("cleared by another program: got %+v, want done: files_missing", got)
	}
}

func testAcceptMissing(t *testing.T, s StoreUnderTest) {
	t.Helper()
	user := s.NewUser(Retiring)
	s.NewReference(user, purge.Live, DownloadID, VerifyID, someURL)
	task := purge.Task{Request: accept(t, s, submission(user)).Request, User: user}
	accepting := submission(user)
	accepting.AcceptMissing = "alice@ops"
	begin := func(want string) purge.Attempt {
		t.Helper()
		attempt := must[purge.Attempt](t)(s.Begin(t.Context(), task))
		if attempt.AcceptMissing != want {
			t.Errorf("attempt %d: accepted by %q, want %q", attempt.Number, attempt.AcceptMissing, want)
		}
		return attempt
	}
	begin("")
	accept(t, s, accepting) // while it is open
	begin("alice@ops")
	accept(t, s, submission(user)) // says nothing of it
	attempt := begin("alice@ops")
	must[purge.Recorded](t)(s.Record(t.Context(), attempt, purge.Report{State: purge.Failed, Reason: purge.ReasonHeld}))
	accept(t, s, submission(user)) // a decision is for one run
	attempt = begin("")
	must[purge.Recorded](t)(s.Record(t.Context(), attempt,
		purge.Report{State: purge.Failed, Reason: purge.ReasonFilesMissing}))
	accept(t, s, accepting)
	begin("alice@ops")
	// Accepted while an attempt that does not know of it is at work: it may not end the request.
	late := s.NewUser(Retiring)
	task = purge.Task{Request: accept(t, s, submission(late)).Request, User: late}
	attempt = begin("")
	accepting = submission(late)
	accepting.AcceptMissing = "carol@ops"
	accept(t, s, accepting)
	got := must[purge.Recorded](t)(s.Record(t.Context(), attempt,
		purge.Report{State: purge.Failed, Reason: purge.ReasonFilesMissing}))
	if got.State.Ended() {
		t.Errorf("got %+v, want it still open for the attempt that knows of the acceptance", got)
	}
	begin("carol@ops")
	other := s.NewUser(Retiring)
	accepting = submission(other)
	accepting.AcceptMissing = "bob@ops"
	task = purge.Task{Request: accept(t, s, accepting).Request, User: other}
	begin("bob@ops")
}

// testDoneAfterGivingUp lets the newest attempt give up while an older one is still at work and then proves everything.
func testDoneAfterGivingUp(t *testing.T, s StoreUnderTest) {
	t.Helper()
	slow := begun(t, s)
	ref := s.NewReference(slow.User, purge.Live, DownloadID, VerifyID, someURL)
	must[purge.Intended](t)(s.Intend(t.Context(), slow, []purge.Evidence{seen("a", 1, purge.Listed)}, nil))
	newest := must[purge.Attempt](t)(s.Begin(t.Context(), slow.Task))
	got := must[purge.Recorded](t)(s.Record(t.Context(), newest,
		purge.Report{State: purge.Failed, Reason: purge.ReasonGaveUp}))
	if got.State != purge.Failed || got.Counts.Certificates != 1 {
		t.Errorf("given up: got %+v, want failed, and the certificate of its evidence counted", got)
	}
	got = must[purge.Recorded](t)(s.Record(t.Context(), slow,
		purge.Report{State: purge.Done, Certificates: 1, Proven: []purge.Directory{directory(DownloadID)}}))
	if got.State != purge.Failed {
		t.Errorf("a reference is left: got %+v, want it to stay failed", got)
	}
	got = must[purge.Recorded](t)(s.Record(t.Context(), slow, purge.Report{
		State: purge.Done, Certificates: 1, Clear: clearing(ref), Proven: []purge.Directory{directory(DownloadID)},
	}))
	want := purge.Recorded{State: purge.Done, Counts: purge.Counts{
		Certificates: 1, ObjectsErased: 1,
		ReferencesCleared: 1,
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("proven (-want +got):\n%s", diff)
	}
	refused := begun(t, s)
	newest = must[purge.Attempt](t)(s.Begin(t.Context(), refused.Task))
	must[purge.Recorded](t)(s.Record(t.Context(), newest,
		purge.Report{State: purge.Refused, Reason: purge.ReasonNotRetiring}))
	if got := must[purge.Recorded](t)(s.Record(t.Context(), refused,
		purge.Report{State: purge.Done})); got.State != purge.Refused {
		t.Errorf("refused meanwhile: got %+v, want it to stay refused", got)
	}
}

func testKeep(t *testing.T, s StoreUnderTest) {
	t.Helper()
	attempt := begun(t, s)
	ref := s.NewReference(attempt.User, purge.Live, DownloadID, VerifyID, someURL)
	external := s.NewReference(attempt.User, purge.Live, "", "", "https://credentials.example.net/0f3c")
	old := s.NewReference(attempt.User, purge.History, "", "", "https://credentials.example.net/0f3c")
	report := purge.Report{State: purge.Done, Keep: []purge.Reference{external, old}, Evidence: []purge.Evidence{{
		CertificateID: external.CertificateID, Table: purge.Live, Outcome: purge.External,
		Generation: purge.Generation{Name: "link"},
	}}}
	if got := must[purge.Recorded](t)(s.Record(t.Context(), attempt, report)); got.State != purge.Running {
		t.Errorf("another reference is left: got %+v, want it still running", got)
	}
	report.Clear = clearing(ref)
	s.ReplaceURL(external, "https://credentials.example.net/0f3d")
	if got := must[purge.Recorded](t)(s.Record(t.Context(), attempt, report)); got.State != purge.Running {
		t.Errorf("the link changed meanwhile: got %+v, want it still running", got)
	}
	s.ReplaceURL(external, external.DownloadURL)
	got := must[purge.Recorded](t)(s.Record(t.Context(), attempt, report))
	if got.State != purge.Done || got.Reason != purge.ReasonNone || got.Counts.ReferencesCleared != 1 ||
		left(t, s, attempt.User) != 2 {
		t.Errorf("got %+v and %d references, want done with the external links left", got, left(t, s, attempt.User))
	}
}

func testAttemptNumbers(t *testing.T, s StoreUnderTest) {
	t.Helper()
	attempt := begun(t, s)
	fence := attempt.Fence
	for n := 1; n <= 3; n++ {
		if attempt.Number != n {
			t.Errorf("got attempt %d, want %d", attempt.Number, n)
		}
		must[purge.Recorded](t)(s.Record(t.Context(), attempt, purge.Report{State: purge.Failed, Reason: purge.ReasonHeld}))
		again := accept(t, s, submission(attempt.User))
		if again.Attempts != n {
			t.Errorf("asked again after %d attempts: got %d", n, again.Attempts)
		}
		attempt = must[purge.Attempt](t)(s.Begin(t.Context(), attempt.Task))
		if attempt.Fence <= fence {
			t.Errorf("got fence %d after %d, want a larger one", attempt.Fence, fence)
		}
		fence = attempt.Fence
	}
}
