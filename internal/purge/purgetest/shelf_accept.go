package purgetest

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/certpurge/certpurge/internal/purge"
)

func testAccept(t *testing.T, s Shelf) {
	t.Helper()
	user := s.NewUser(Retiring)
	first := accept(t, s, wish(user))
	if first.Found != purge.FoundNew || !first.Open || first.Request <= 0 || first.User != user {
		t.Fatalf("new: got %+v", first)
	}
	attempts := 0
	again := func(want purge.Found, open bool) {
		t.Helper()
		got := accept(t, s, wish(user))
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
	other := accept(t, s, purge.Wish{User: user, Key: "ticket-1", Source: purge.SourceAPI})
	if other.Found != purge.FoundNew || other.Request == first.Request {
		t.Errorf("another key: got %+v, want a request of its own", other)
	}
}

func testAcceptMany(t *testing.T, s Shelf) {
	t.Helper()
	var wishes []purge.Wish
	for n := range 1200 {
		wishes = append(wishes, wish(purge.UserID(n+1)))
	}
	wishes = append(wishes, wishes[0]) // the same user twice in one call
	first := must[[]purge.Accepted](t)(s.Accept(t.Context(), wishes))
	second := must[[]purge.Accepted](t)(s.Accept(t.Context(), wishes))
	ids := map[purge.RequestID]bool{}
	for i, a := range first {
		found := purge.FoundNew
		if ids[a.Request] {
			found = "queued"
		}
		if a.User != wishes[i].User || !a.Open || a.Found != found || second[i].Request != a.Request || second[i].Found != "queued" {
			t.Fatalf("wish %d: got %+v, then %+v", i, a, second[i])
		}
		ids[a.Request] = true
	}
	if len(ids) != 1200 {
		t.Errorf("got %d requests, want 1200", len(ids))
	}
}

func testReplay(t *testing.T, s Shelf) {
	t.Helper()
	user := s.NewUser(Retiring)
	ref := s.NewReference(user, purge.Live, DownloadID, VerifyID, someURL)
	replay := wish(user)
	replay.Replay = true
	first := accept(t, s, replay)
	if first.Found != purge.FoundNew || !first.Open {
		t.Fatalf("the call before was never heard of: got %+v, want a new request", first)
	}
	expect := func(w purge.Wish, want purge.Found, open bool) {
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
	got := must[[]purge.Accepted](t)(s.Accept(t.Context(), []purge.Wish{replay, wish(user), replay, wish(user)}))
	for i, want := range []purge.Accepted{{Found: "failed"}, {Found: "failed", Open: true}, {Found: "queued", Open: true}, {Found: "queued", Open: true}} {
		if got[i].Request != first.Request || got[i].Found != want.Found || got[i].Open != want.Open {
			t.Errorf("wish %d of four: got %+v, want it found %s, open: %v", i+1, got[i], want.Found, want.Open)
		}
	}
	expect(replay, "queued", true)
	end(purge.Report{State: purge.Refused, Reason: purge.ReasonNotRetiring})
	expect(replay, "refused", false)
	expect(wish(user), "refused", true)
	end(purge.Report{State: purge.Done, Clear: clearing(ref)})
	s.NewReference(user, purge.Live, DownloadID, VerifyID, someURL)
	expect(replay, "done", false) // references are back, but nobody asks anew
	expect(wish(user), "done", true)
}

func testKeyTaken(t *testing.T, s Shelf) {
	t.Helper()
	accept(t, s, purge.Wish{User: 1, Key: "ticket-1", Source: purge.SourceAPI})
	_, err := s.Accept(t.Context(), []purge.Wish{{User: 3, Key: "ticket-3", Source: purge.SourceAPI}, {User: 2, Key: "ticket-1", Source: purge.SourceAPI}})
	if !errors.Is(err, purge.ErrKeyTaken) {
		t.Errorf("got %v, want ErrKeyTaken", err)
	}
	_, err = s.Accept(t.Context(), []purge.Wish{{User: 3, Key: "ticket-3", Source: purge.SourceAPI}, {User: 4, Key: "ticket-3", Source: purge.SourceAPI}})
	if !errors.Is(err, purge.ErrKeyTaken) {
		t.Errorf("two users in one call: got %v, want ErrKeyTaken", err)
	}
	if a := accept(t, s, purge.Wish{User: 3, Key: "ticket-3", Source: purge.SourceAPI}); a.Found != purge.FoundNew {
		t.Errorf("the refused call accepted a part: %+v", a)
	}
}
