package purgetest

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/certpurge/certpurge/internal/purge"
)

func submissionFor(ref purge.Reference, user purge.UserID) purge.Submission {
	return purge.Submission{
		User: user, Certificate: ref.CertificateID, Key: purge.CertificateKey(ref.CertificateID),
		Source: purge.SourceBackfill,
	}
}

// testScope requests the purge of one of two certificates, then of all.
func testScope(t *testing.T, s StoreUnderTest) {
	t.Helper()
	user := s.NewUser(Retiring)
	first := s.NewReference(user, purge.Live, DownloadID, VerifyID, someURL)
	second := s.NewReference(user, purge.Live, VerifyID, DownloadID, someURL)
	asked := accept(t, s, submissionFor(first, user))
	if asked.Found != purge.FoundNew || asked.Certificate != first.CertificateID {
		t.Fatalf("got %+v", asked)
	}
	all := accept(t, s, submission(user))
	other := accept(t, s, submissionFor(second, user))
	if all.Found != purge.FoundNew || all.Certificate != 0 || all.Request == asked.Request ||
		other.Found != purge.FoundNew {
		t.Fatalf("got %+v and %+v, want requests of their own", all, other)
	}

	// How far an attempt goes is what the ledger says.
	attempt := must[purge.Attempt](t)(s.Begin(t.Context(), purge.Task{Request: asked.Request, User: user}))
	if attempt.Certificate != first.CertificateID {
		t.Fatalf("got %+v, want an attempt at certificate %d", attempt, first.CertificateID)
	}
	done := purge.Report{State: purge.Done}
	if got := must[purge.Recorded](t)(s.Record(t.Context(), attempt, done)); got.State != purge.Running {
		t.Errorf("got %+v, want it not done while the certificate has links", got)
	}
	done.Clear = clearing(first)
	if got := must[purge.Recorded](t)(s.Record(t.Context(), attempt, done)); got.State != purge.Done {
		t.Errorf("got %+v, want it done whatever is left of the user", got)
	}
	if left(t, s, user) != 1 {
		t.Errorf("got %d references, want the second certificate's", left(t, s, user))
	}
	// The others are about more, or about another one: they stay as they are.
	if got := must[purge.Attempt](t)(s.Begin(t.Context(), attempt.Task)); got.State != purge.Done ||
		got.Request != asked.Request {
		t.Errorf("begun again: got %+v, want the ended request", got)
	}
	if again := accept(t, s, submissionFor(first, user)); again.Open || again.Found != purge.Found(purge.Done) ||
		again.Request != asked.Request {
		t.Errorf("asked again: got %+v, want done with nothing left", again)
	}
	// another one: the user has links, the first certificate none
	first = s.NewReference(user, purge.Live, DownloadID, VerifyID, someURL)
	if again := accept(t, s, submission(user)); !again.Open || again.Found != purge.Found(purge.Queued) {
		t.Errorf("the whole user: got %+v, want still queued", again)
	}

	whole := must[purge.Attempt](t)(s.Begin(t.Context(), taskOf(all)))
	if whole.Certificate != 0 {
		t.Fatalf("got %+v, want an attempt at the whole user", whole)
	}
	done.Clear = clearing(first, second)
	if got := must[purge.Recorded](t)(s.Record(t.Context(), whole, done)); got.State != purge.Done {
		t.Errorf("got %+v, want done", got)
	}
	if got := must[purge.Attempt](t)(s.Begin(t.Context(), taskOf(other))); got.State != purge.Running {
		t.Errorf("got %+v, want the other certificate's request to end by its own attempt", got)
	}
}

func taskOf(a purge.Accepted) purge.Task {
	return purge.Task{Request: a.Request, User: a.User, Certificate: a.Certificate}
}

// testScopeVerdict refuses one certificate's request: that is no word about the user's.
func testScopeVerdict(t *testing.T, s StoreUnderTest) {
	t.Helper()
	user := s.NewUser(Retiring)
	ref := s.NewReference(user, purge.Live, DownloadID, VerifyID, someURL)
	one, all := accept(t, s, submissionFor(ref, user)), accept(t, s, submission(user))
	attempt := must[purge.Attempt](t)(s.Begin(t.Context(), taskOf(one)))
	got := must[purge.Recorded](t)(s.Record(t.Context(), attempt,
		purge.Report{State: purge.Refused, Reason: purge.ReasonNotRetiring}))
	if diff := cmp.Diff(purge.Recorded{State: purge.Refused, Reason: purge.ReasonNotRetiring}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := must[purge.Attempt](t)(s.Begin(t.Context(), taskOf(all))); got.State != purge.Running || got.Number != 1 {
		t.Errorf("got %+v, want the user's request untouched", got)
	}
}

// testScopeKey uses a key for another certificate, and for all of the same user's.
func testScopeKey(t *testing.T, s StoreUnderTest) {
	t.Helper()
	user := s.NewUser(Retiring)
	w := purge.Submission{User: user, Certificate: 7, Key: "ticket-1", Source: purge.SourceAPI}
	accept(t, s, w)
	for _, certificate := range []purge.CertificateID{0, 8} {
		w.Certificate = certificate
		if _, err := s.Accept(t.Context(), []purge.Submission{w}); !errors.Is(err, purge.ErrKeyTaken) {
			t.Errorf("certificate %d: got %v, want ErrKeyTaken", certificate, err)
		}
	}
	two := []purge.Submission{
		{User: user, Certificate: 7, Key: "ticket-2", Source: purge.SourceAPI},
		{User: user, Certificate: 8, Key: "ticket-2", Source: purge.SourceAPI},
	}
	if _, err := s.Accept(t.Context(), two); !errors.Is(err, purge.ErrKeyTaken) {
		t.Errorf("in one call: got %v, want ErrKeyTaken", err)
	}
}
