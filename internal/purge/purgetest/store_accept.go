package purgetest

import (
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/certpurge/certpurge/internal/purge"
)

func testAccept(t *testing.T, s StoreUnderTest) {
	t.Helper()
	user := s.NewUser(Retiring)
	first := accept(t, s, submission(user))
	if first.Found != purge.FoundNew || !first.Open || first.Request <= 0 || first.User != user {
		t.Fatalf("new: got %+v", first)
	}
	attempts := 0
	again := func(want purge.Found, open bool) {
		t.Helper()
		got := accept(t, s, submission(user))
		if got.Attempts < attempts {
			t.Errorf("%s: attempts went back from %d to %d", want, attempts, got.Attempts)
		}
		attempts, got.Attempts = got.Attempts, 0
		if diff := cmp.Diff(purge.Accepted{Request: first.Request, User: user, Found: want, Open: open}, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
	end := func(report purge.Report) {
		t.Helper()
		attempt := must[purge.Attempt](t)(s.Begin(t.Context(), purge.Task{Request: first.Request, User: user}))
		must[purge.Recorded](t)(s.Record(t.Context(), attempt, report))
	}
	again("queued", true)
	must[purge.Attempt](t)(s.Begin(t.Context(), purge.Task{Request: first.Request, User: user}))
	again("running", true)
	end(purge.Report{State: purge.Refused, Reason: purge.ReasonNotRetiring})
	again("refused", true)
	end(purge.Report{State: purge.Failed, Reason: purge.ReasonHeld})
	again("failed", true)
	end(purge.Report{State: purge.Done})
	again("done", false)
	s.NewReference(user, purge.Live, DownloadID, VerifyID, someURL)
	again("done", true)
	again("queued", true)

	// The ticket is that of the submission that made the request, whatever the later ones say.
	ticketed := submission(s.NewUser(Retiring))
	for _, ticketed.Ticket = range []string{"PRIV-1", "PRIV-2", ""} {
		if got := accept(t, s, ticketed); got.Ticket != "PRIV-1" {
			t.Errorf("submitted with ticket %q: got ticket %q, want PRIV-1", ticketed.Ticket, got.Ticket)
		}
	}
}

// testOneOpen asks with several keys, one after the other and in one call.
func testOneOpen(t *testing.T, s StoreUnderTest) {
	t.Helper()
	user := s.NewUser(Retiring)
	key := func(name string) purge.Submission {
		return purge.Submission{User: user, Key: name, Source: purge.SourceAPI}
	}
	expect := func(w purge.Submission, request purge.RequestID, found purge.Found) {
		t.Helper()
		if got := accept(t, s, w); got.Request != request || got.Found != found || !got.Open {
			t.Errorf("key %s: got %+v, want request %d found %s", w.Key, got, request, found)
		}
	}
	got := must[[]purge.Accepted](t)(s.Accept(t.Context(),
		[]purge.Submission{submission(user), key("one"), submission(user), key("two")}))
	first := got[0].Request
	for i, found := range []purge.Found{purge.FoundNew, "queued", "queued", "queued"} {
		if got[i].Request != first || got[i].Found != found || !got[i].Open {
			t.Errorf("%d of one call: got %+v, want request %d found %s", i+1, got[i], first, found)
		}
	}
	expect(key("three"), first, "queued")
	fail := func(request purge.RequestID) {
		t.Helper()
		attempt := must[purge.Attempt](t)(s.Begin(t.Context(), purge.Task{Request: request, User: user}))
		must[purge.Recorded](t)(s.Record(t.Context(), attempt, purge.Report{State: purge.Failed, Reason: purge.ReasonHeld}))
	}
	fail(first)
	expect(key("two"), first, "failed") // its key has led here since, and opens it again
	expect(key("three"), first, "queued")
	fail(first)

	// A key that is new after the end makes a request of its own; the older keys lead to it while it is open.
	second := accept(t, s, key("later"))
	if second.Found != purge.FoundNew || second.Request == first {
		t.Fatalf("after the end: got %+v, want a new request", second)
	}
	expect(submission(user), second.Request, "queued")
	replay := key("one")
	replay.Replay = true
	if got := accept(t, s, replay); got.Request != first || got.Open || got.Found != "failed" {
		t.Errorf("a replay: got %+v, want the request as it stands", got)
	}
	fail(second.Request)
	expect(submission(user), first, "failed")
	expect(key("later"), first, "queued")
	if got := must[purge.Attempt](t)(s.Begin(t.Context(),
		purge.Task{Request: second.Request, User: user})); got.State != purge.Failed {
		t.Errorf("a task of the ended request: got %+v, want it as it stands", got)
	}
	if _, err := s.Accept(t.Context(), []purge.Submission{{
		User: user + 1, Key: "three",
		Source: purge.SourceAPI,
	}}); !errors.Is(err, purge.ErrKeyTaken) {
		t.Errorf("a key that leads to another user's request: got %v, want ErrKeyTaken", err)
	}
}

// testKeysAreBounded gives an open request as many keys as it may have, and more.
func testKeysAreBounded(t *testing.T, s StoreUnderTest) {
	t.Helper()
	user, other := s.NewUser(Retiring), s.NewUser(Retiring)
	var submissions []purge.Submission
	for n := range purge.MaxKeys + 2 {
		submissions = append(submissions, purge.Submission{User: user, Key: fmt.Sprintf("k%d", n), Source: purge.SourceAPI})
	}
	first := must[[]purge.Accepted](t)(s.Accept(t.Context(), submissions[:10]))[0]
	must[[]purge.Accepted](t)(s.Accept(t.Context(), submissions[10:purge.MaxKeys+1]))
	_, err := s.Accept(t.Context(), []purge.Submission{submission(other), submissions[purge.MaxKeys+1]})
	if !errors.Is(err, purge.ErrTooManyKeys) {
		t.Fatalf("one key too many: got %v, want ErrTooManyKeys", err)
	}
	if got := accept(t, s, submission(other)); got.Found != purge.FoundNew {
		t.Errorf("the refused call accepted a part: %+v", got)
	}
	if got := accept(t, s, submission(user)); got.Request != first.Request {
		t.Errorf("without a key of the caller's: got %+v, want request %d, whatever keys other callers have used up", got,
			first.Request)
	}
	if got := accept(t, s, submissions[purge.MaxKeys]); got.Request != first.Request || got.Found != "queued" {
		t.Errorf("a key that is known: got %+v, want request %d", got, first.Request)
	}
}

func testAcceptMany(t *testing.T, s StoreUnderTest) {
	t.Helper()
	var submissions []purge.Submission
	for n := range 1200 {
		submissions = append(submissions, submission(purge.UserID(n+1)))
	}
	submissions = append(submissions, submissions[0]) // the same user twice in one call
	first := must[[]purge.Accepted](t)(s.Accept(t.Context(), submissions))
	second := must[[]purge.Accepted](t)(s.Accept(t.Context(), submissions))
	ids := map[purge.RequestID]bool{}
	for i, a := range first {
		found := purge.FoundNew
		if ids[a.Request] {
			found = "queued"
		}
		if a.User != submissions[i].User || !a.Open || a.Found != found || second[i].Request != a.Request ||
			second[i].Found != "queued" {
			t.Fatalf("submission %d: got %+v, then %+v", i, a, second[i])
		}
		ids[a.Request] = true
	}
	if len(ids) != 1200 {
		t.Errorf("got %d requests, want 1200", len(ids))
	}
}

func testReplay(t *testing.T, s StoreUnderTest) {
	t.Helper()
	user := s.NewUser(Retiring)
	ref := s.NewReference(user, purge.Live, DownloadID, VerifyID, someURL)
	replay := submission(user)
	replay.Replay = true
	first := accept(t, s, replay)
	if first.Found != purge.FoundNew || !first.Open {
		t.Fatalf("the call before was never heard of: got %+v, want a new request", first)
	}
	expect := func(w purge.Submission, want purge.Found, open bool) {
		t.Helper()
		if got := accept(t, s, w); got.Request != first.Request || got.Found != want || got.Open != open {
			t.Errorf("got %+v, want request %d found %s, open: %v", got, first.Request, want, open)
		}
	}
	end := func(report purge.Report) {
		t.Helper()
		attempt := must[purge.Attempt](t)(s.Begin(t.Context(), purge.Task{Request: first.Request, User: user}))
		if attempt.State != purge.Running {
			t.Fatalf("got the state %s, want the request claimed", attempt.State)
		}
		must[purge.Recorded](t)(s.Record(t.Context(), attempt, report))
	}
	expect(replay, "queued", true)
	end(purge.Report{State: purge.Failed, Reason: purge.ReasonHeld})
	expect(replay, "failed", false)
	expect(replay, "failed", false)
	// In one call as one after the other: the second of these opens it again.
	got := must[[]purge.Accepted](t)(s.Accept(t.Context(),
		[]purge.Submission{replay, submission(user), replay, submission(user)}))
	for i, want := range []purge.Accepted{
		{Found: "failed"},
		{Found: "failed", Open: true},
		{Found: "queued", Open: true},
		{Found: "queued", Open: true},
	} {
		if got[i].Request != first.Request || got[i].Found != want.Found || got[i].Open != want.Open {
			t.Errorf("submission %d of four: got %+v, want it found %s, open: %v", i+1, got[i], want.Found, want.Open)
		}
	}
	expect(replay, "queued", true)
	end(purge.Report{State: purge.Refused, Reason: purge.ReasonNotRetiring})
	expect(replay, "refused", false)
	expect(submission(user), "refused", true)
	end(purge.Report{State: purge.Done, Clear: clearing(ref)})
	s.NewReference(user, purge.Live, DownloadID, VerifyID, someURL)
	expect(replay, "done", false) // references are back, but no caller requests it again
	expect(submission(user), "done", true)
}

func testKeyTaken(t *testing.T, s StoreUnderTest) {
	t.Helper()
	accept(t, s, purge.Submission{User: 1, Key: "ticket-1", Source: purge.SourceAPI})
	_, err := s.Accept(t.Context(), []purge.Submission{
		{User: 3, Key: "ticket-3", Source: purge.SourceAPI},
		{User: 2, Key: "ticket-1", Source: purge.SourceAPI},
	})
	if !errors.Is(err, purge.ErrKeyTaken) {
		t.Errorf("got %v, want ErrKeyTaken", err)
	}
	_, err = s.Accept(t.Context(), []purge.Submission{
		{User: 3, Key: "ticket-3", Source: purge.SourceAPI},
		{User: 4, Key: "ticket-3", Source: purge.SourceAPI},
	})
	if !errors.Is(err, purge.ErrKeyTaken) {
		t.Errorf("two users in one call: got %v, want ErrKeyTaken", err)
	}
	if a := accept(t, s, purge.Submission{User: 3, Key: "ticket-3", Source: purge.SourceAPI}); a.Found != purge.FoundNew {
		t.Errorf("the refused call accepted a part: %+v", a)
	}
}
