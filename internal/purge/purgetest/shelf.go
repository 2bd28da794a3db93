package purgetest

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/certpurge/certpurge/internal/purge"
)

// Shelf is a pair of databases under test, with back doors into the LMS's.
type Shelf interface {
	purge.Users
	purge.Ledger
	purge.Requests
	NewUser(r purge.Retirement) purge.UserID // r.UserExists must be true
	NewReference(user purge.UserID, table purge.Table, download, verify, url string) purge.Reference
	ReplaceURL(ref purge.Reference, url string) // as somebody else would
	ReplaceVerify(ref purge.Reference, verify string)
}

// NewUser implements Shelf.
func (b *Books) NewUser(r purge.Retirement) purge.UserID {
	b.mu.Lock()
	defer b.mu.Unlock()
	id := purge.UserID(len(b.users) + 1)
	b.users[id] = r
	return id
}

// NewReference implements Shelf.
func (b *Books) NewReference(user purge.UserID, table purge.Table, download, verify, url string) purge.Reference {
	b.mu.Lock()
	n := len(b.rows) + 1
	b.mu.Unlock()
	ref := purge.Reference{Table: table, RowID: int64(n), CertificateID: purge.CertificateID(n), DownloadUUID: download, VerifyUUID: verify, DownloadURL: url}
	b.AddReference(user, ref)
	return ref
}

// ReplaceURL implements Shelf.
func (b *Books) ReplaceURL(ref purge.Reference, url string) {
	b.replace(ref, func(r *purge.Reference) { r.DownloadURL = url })
}

// ReplaceVerify implements Shelf.
func (b *Books) ReplaceVerify(ref purge.Reference, verify string) {
	b.replace(ref, func(r *purge.Reference) { r.VerifyUUID = verify })
}

func (b *Books) replace(ref purge.Reference, change func(*purge.Reference)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, r := range b.rows {
		if r.ref.Table == ref.Table && r.ref.RowID == ref.RowID {
			change(&r.ref)
		}
	}
}

// Retiring is a user past the cancellable stage.
var Retiring = purge.Retirement{UserExists: true, Requested: true, State: "LMS_COMPLETE"}

const someURL = "https://s3.amazonaws.com/verify.example.org/downloads/" + DownloadID + "/Certificate.pdf"

// Shelves runs the conformance suite of databases, on a fresh shelf each.
func Shelves(t *testing.T, open func(t *testing.T) Shelf) {
	t.Helper()
	for name, test := range map[string]func(*testing.T, Shelf){
		"reads retirements":                               testRetirements,
		"reads references exactly, live first":            testReferences,
		"accepts by the idempotency rules":                testAccept,
		"accepts many at once, also twice":                testAcceptMany,
		"answers a replay with the request as it stands":  testReplay,
		"refuses a key of another user":                   testKeyTaken,
		"goes as far as it was asked to":                  testScope,
		"a verdict on one certificate is not the user's":  testScopeVerdict,
		"refuses a key of another certificate":            testScopeKey,
		"claims with a number of its own":                 testBegin,
		"refuses tasks of unknown requests":               testUnknown,
		"clears and ends":                                 testRecordDone,
		"keeps a reference that changed meanwhile":        testChanged,
		"is not done while a reference is left":           testNotDone,
		"an overtaken attempt may not fail the request":   testOvertaken,
		"takes the user's other requests along":           testOthers,
		"old attempts do not end what was opened again":   testReopened,
		"erased is final":                                 testErasedIsFinal,
		"settles evidence of the user's other requests":   testEvidenceOfTheUser,
		"neighbours do not block each other":              testNeighbours,
		"keeps intents of attempts that recorded nothing": testIntents,
		"settles held objects later":                      testHeldThenErased,
		"counts failures until opened again":              testFailures,
		"counts claims that recorded nothing":             testUnfinished,
		"judges a request by all of its attempts":         testReason,
		"records twice with the same counts":              testRecordTwice,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, open(t))
		})
	}
}

func must[T any](t *testing.T) func(T, error) T {
	t.Helper()
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func wish(user purge.UserID) purge.Wish {
	return purge.Wish{User: user, Key: purge.DefaultKey(user), Source: purge.SourceCLI}
}

func accept(t *testing.T, s Shelf, w purge.Wish) purge.Accepted {
	t.Helper()
	return must[[]purge.Accepted](t)(s.Accept(t.Context(), []purge.Wish{w}))[0]
}

// begun accepts a wish for a new retiring user and claims it.
func begun(t *testing.T, s Shelf) purge.Attempt {
	t.Helper()
	user := s.NewUser(Retiring)
	a := accept(t, s, wish(user))
	return must[purge.Attempt](t)(s.Begin(t.Context(), purge.Task{Request: a.Request, User: user}))
}

func clearing(refs ...purge.Reference) []purge.Clearing {
	var all []purge.Clearing
	for _, r := range refs {
		all = append(all, purge.Clearing{CertificateID: r.CertificateID, Table: r.Table, References: []purge.Reference{r}})
	}
	return all
}

func left(t *testing.T, s Shelf, user purge.UserID) int {
	t.Helper()
	return len(must[purge.User](t)(s.User(t.Context(), user)).References)
}

func testRetirements(t *testing.T, s Shelf) {
	t.Helper()
	for _, want := range []purge.Retirement{
		{UserExists: true},
		{UserExists: true, Requested: true},
		{UserExists: true, Requested: true, State: "PENDING"},
		Retiring,
	} {
		user := s.NewUser(want)
		if diff := cmp.Diff(purge.User{Retirement: want}, must[purge.User](t)(s.User(t.Context(), user))); diff != "" {
			t.Errorf("user (-want +got):\n%s", diff)
		}
	}
	if diff := cmp.Diff(purge.User{}, must[purge.User](t)(s.User(t.Context(), 2_000_000_000))); diff != "" {
		t.Errorf("a user who does not exist (-want +got):\n%s", diff)
	}
}

func testReferences(t *testing.T, s Shelf) {
	t.Helper()
	user, other := s.NewUser(Retiring), s.NewUser(Retiring)
	history := s.NewReference(user, purge.History, DownloadID, VerifyID, someURL)
	both := s.NewReference(user, purge.Live, DownloadID, "No Verification", someURL)
	onlyURL := s.NewReference(user, purge.Live, "", "", "HTTP://Example.org/Größe x")
	onlyID := s.NewReference(user, purge.Live, "ABCdef ", VerifyID, "")
	s.NewReference(user, purge.Live, "", VerifyID, "") // a web certificate
	s.NewReference(user, purge.History, "", VerifyID, "")
	s.NewReference(other, purge.Live, DownloadID, VerifyID, someURL)
	got := must[purge.User](t)(s.User(t.Context(), user)).References
	if diff := cmp.Diff([]purge.Reference{both, onlyURL, onlyID, history}, got, cmp.Transformer("fields", func(r purge.Reference) [6]any {
		return [6]any{r.Table, r.RowID, r.CertificateID, r.DownloadUUID, r.VerifyUUID, r.DownloadURL}
	})); diff != "" {
		t.Errorf("references (-want +got):\n%s", diff)
	}
}

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

func testBegin(t *testing.T, s Shelf) {
	t.Helper()
	user := s.NewUser(Retiring)
	task := purge.Task{Request: accept(t, s, wish(user)).Request, User: user}
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

func testUnknown(t *testing.T, s Shelf) {
	t.Helper()
	attempt := begun(t, s)
	for _, task := range []purge.Task{{Request: attempt.Request + 1000, User: attempt.User}, {Request: attempt.Request, User: attempt.User + 1}} {
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

func testRecordDone(t *testing.T, s Shelf) {
	t.Helper()
	attempt := begun(t, s)
	live := s.NewReference(attempt.User, purge.Live, DownloadID, VerifyID, someURL)
	old := s.NewReference(attempt.User, purge.History, DownloadID, VerifyID, someURL)
	other := s.NewUser(Retiring)
	s.NewReference(other, purge.Live, DownloadID, VerifyID, someURL)
	retirement := must[purge.Retirement](t)(s.Intend(t.Context(), attempt, []purge.Evidence{seen("a", 1, purge.Listed), seen("a", 2, purge.Listed)}))
	if retirement != Retiring {
		t.Errorf("got %+v, want %+v", retirement, Retiring)
	}
	empty := purge.Evidence{CertificateID: 7, Table: purge.Live, Outcome: purge.Absent, Generation: purge.Generation{Directory: directory(VerifyID), Name: directory(VerifyID).Prefix}}
	got := must[purge.Recorded](t)(s.Record(t.Context(), attempt, purge.Report{
		State: purge.Done, Certificates: 2, Clear: clearing(live, old),
		Proven: []purge.Directory{directory(DownloadID), directory(VerifyID)}, Evidence: []purge.Evidence{empty},
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

func testChanged(t *testing.T, s Shelf) {
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
	if got := must[purge.Recorded](t)(s.Record(t.Context(), attempt, purge.Report{State: purge.Done, Clear: clearing(ref)})); got.Counts.ReferencesCleared != 0 {
		t.Errorf("a reference was cleared although it names other files now")
	}
	s.ReplaceVerify(ref, VerifyID)
	// Letter case alone makes another value, whatever the column's collation says.
	s.ReplaceURL(ref, "https://s3.amazonaws.com/verify.example.org/downloads/"+DownloadID+"/CERTIFICATE.PDF")
	if got := must[purge.Recorded](t)(s.Record(t.Context(), attempt, purge.Report{State: purge.Done, Clear: clearing(ref)})); got.Counts.ReferencesCleared != 0 {
		t.Errorf("a value that differs in case was cleared")
	}
}

func testNotDone(t *testing.T, s Shelf) {
	t.Helper()
	attempt := begun(t, s)
	ref := s.NewReference(attempt.User, purge.Live, DownloadID, VerifyID, someURL)
	s.NewReference(attempt.User, purge.History, DownloadID, VerifyID, someURL)
	got := must[purge.Recorded](t)(s.Record(t.Context(), attempt, purge.Report{State: purge.Done, Clear: clearing(ref)}))
	if got.State != purge.Running || left(t, s, attempt.User) != 1 {
		t.Errorf("got %+v; want still running, because a history row is left", got)
	}
}

func testOvertaken(t *testing.T, s Shelf) {
	t.Helper()
	first := begun(t, s)
	second := must[purge.Attempt](t)(s.Begin(t.Context(), first.Task))
	got := must[purge.Recorded](t)(s.Record(t.Context(), first, purge.Report{State: purge.Failed, Reason: purge.ReasonHeld, Counted: true}))
	if got.State != purge.Running {
		t.Errorf("got %+v, want the newer attempt to decide", got)
	}
	got = must[purge.Recorded](t)(s.Record(t.Context(), second, purge.Report{State: purge.Done}))
	if got.State != purge.Done {
		t.Errorf("got %+v, want done", got)
	}
	got = must[purge.Recorded](t)(s.Record(t.Context(), first, purge.Report{State: purge.Queued, Reason: purge.ReasonTransient}))
	if got.State != purge.Done {
		t.Errorf("got %+v, want it to stay done", got)
	}
}

func testOthers(t *testing.T, s Shelf) {
	t.Helper()
	first := begun(t, s)
	other := accept(t, s, purge.Wish{User: first.User, Key: "ticket-1", Source: purge.SourceAPI})
	stranger := begun(t, s)
	got := must[purge.Recorded](t)(s.Record(t.Context(), first, purge.Report{State: purge.Refused, Reason: purge.ReasonNotRetiring}))
	if got.State != purge.Refused || !got.More {
		t.Errorf("got %+v, want refused, and word of the other request", got)
	}
	// The verdict was about the first request's moment. The first task goes on with the other request.
	second := must[purge.Attempt](t)(s.Begin(t.Context(), first.Task))
	if second.Request != other.Request || second.State != purge.Running || second.Number != 1 {
		t.Errorf("got %+v, want the other request claimed", second)
	}
	third := accept(t, s, purge.Wish{User: first.User, Key: "ticket-2", Source: purge.SourceAPI})
	got = must[purge.Recorded](t)(s.Record(t.Context(), second, purge.Report{State: purge.Done}))
	if got.State != purge.Done || got.More {
		t.Errorf("got %+v, want done for all of the user's", got)
	}
	if a := must[purge.Attempt](t)(s.Begin(t.Context(), purge.Task{Request: third.Request, User: first.User})); a.State != purge.Done {
		t.Errorf("got %+v, want the third request done with the second", a)
	}
	if a := must[purge.Attempt](t)(s.Begin(t.Context(), first.Task)); a.State != purge.Refused || a.Request != first.Request {
		t.Errorf("got %+v, want the refused one to stay", a)
	}
	if a := must[purge.Attempt](t)(s.Begin(t.Context(), stranger.Task)); a.State.Ended() {
		t.Errorf("another user's request ended: %+v", a)
	}
}

func testReopened(t *testing.T, s Shelf) {
	t.Helper()
	stale := begun(t, s)
	current := must[purge.Attempt](t)(s.Begin(t.Context(), stale.Task))
	must[purge.Recorded](t)(s.Record(t.Context(), current, purge.Report{State: purge.Failed, Reason: purge.ReasonHeld}))
	accept(t, s, wish(stale.User))
	for _, attempt := range []purge.Attempt{stale, current} {
		got := must[purge.Recorded](t)(s.Record(t.Context(), attempt, purge.Report{State: purge.Failed, Reason: purge.ReasonGaveUp}))
		if got.State != purge.Queued {
			t.Errorf("attempt %d from before the end: got %+v, want it still queued", attempt.Number, got)
		}
	}
}

func testErasedIsFinal(t *testing.T, s Shelf) {
	t.Helper()
	slow := begun(t, s)
	fast := must[purge.Attempt](t)(s.Begin(t.Context(), slow.Task))
	must[purge.Retirement](t)(s.Intend(t.Context(), fast, []purge.Evidence{seen("a", 1, purge.Listed)}))
	must[purge.Recorded](t)(s.Record(t.Context(), fast, purge.Report{State: purge.Done, Proven: []purge.Directory{directory(DownloadID)}}))
	must[purge.Retirement](t)(s.Intend(t.Context(), slow, []purge.Evidence{seen("a", 1, purge.Listed)}))
	got := must[purge.Recorded](t)(s.Record(t.Context(), slow, purge.Report{
		State: purge.Queued, Reason: purge.ReasonTransient, Evidence: []purge.Evidence{seen("a", 1, purge.NotProven)},
	}))
	if got.State != purge.Done || got.Counts.ObjectsErased != 1 {
		t.Errorf("got %+v, want it done with its object erased", got)
	}
}

func testEvidenceOfTheUser(t *testing.T, s Shelf) {
	t.Helper()
	killed := begun(t, s)
	must[purge.Retirement](t)(s.Intend(t.Context(), killed, []purge.Evidence{seen("a", 1, purge.Listed)}))
	other := accept(t, s, purge.Wish{User: killed.User, Key: "ticket-1", Source: purge.SourceAPI})
	attempt := purge.Attempt{Task: purge.Task{Request: other.Request, User: killed.User}}
	got := must[purge.Recorded](t)(s.Record(t.Context(), attempt, purge.Report{
		State: purge.Done, Proven: []purge.Directory{directory(DownloadID)}, Evidence: []purge.Evidence{seen("", 0, purge.Absent)},
	}))
	if got.State != purge.Done || got.Counts.ObjectsAbsent != 0 {
		t.Errorf("the other request: got %+v, want done without an empty directory", got)
	}
	if a := must[purge.Attempt](t)(s.Begin(t.Context(), killed.Task)); a.State != purge.Done || a.Counts.ObjectsErased != 1 {
		t.Errorf("the killed request: got %+v, want done with its object erased", a)
	}
}

func testNeighbours(t *testing.T, s Shelf) {
	t.Helper()
	var attempts []purge.Attempt
	for range 32 {
		attempts = append(attempts, begun(t, s))
	}
	var wg sync.WaitGroup
	for _, a := range attempts {
		wg.Go(func() {
			d := purge.Directory{Bucket: Bucket, Prefix: fmt.Sprintf("cert/%032x/", int64(a.User))}
			absent := purge.Evidence{CertificateID: 1, Table: purge.Live, Outcome: purge.Absent, Generation: purge.Generation{Directory: d, Name: d.Prefix}}
			if _, err := s.Intend(t.Context(), a, []purge.Evidence{seen("a", 1, purge.Listed)}); err != nil {
				t.Errorf("user %d: %v", a.User, err)
			}
			got, err := s.Record(t.Context(), a, purge.Report{State: purge.Done, Proven: []purge.Directory{d, directory(DownloadID)}, Evidence: []purge.Evidence{absent}})
			if err != nil || got.Counts.ObjectsErased != 1 || got.Counts.ObjectsAbsent != 1 {
				t.Errorf("user %d: got %+v, %v", a.User, got, err)
			}
		})
	}
	wg.Wait()
}

func testIntents(t *testing.T, s Shelf) {
	t.Helper()
	killed := begun(t, s)
	must[purge.Retirement](t)(s.Intend(t.Context(), killed, []purge.Evidence{seen("a", 1, purge.Listed), seen("b", 1, purge.Listed)}))
	attempt := must[purge.Attempt](t)(s.Begin(t.Context(), killed.Task))
	for range 2 { // one object is still there, and is about to be deleted once more
		must[purge.Retirement](t)(s.Intend(t.Context(), attempt, []purge.Evidence{seen("b", 1, purge.Listed)}))
	}
	absent := seen("", 0, purge.Absent)
	got := must[purge.Recorded](t)(s.Record(t.Context(), attempt, purge.Report{
		State: purge.Done, Proven: []purge.Directory{directory(DownloadID)}, Evidence: []purge.Evidence{absent},
	}))
	if got.Counts.ObjectsErased != 2 || got.Counts.ObjectsAbsent != 0 {
		t.Errorf("got %+v, want the killed attempt's 2 objects erased and no empty directory", got.Counts)
	}
}

func testHeldThenErased(t *testing.T, s Shelf) {
	t.Helper()
	attempt := begun(t, s)
	until := time.Now().Add(time.Hour).UTC().Truncate(time.Microsecond)
	soft := seen("c", 3, purge.SoftDeleted)
	soft.Until = until
	got := must[purge.Recorded](t)(s.Record(t.Context(), attempt, purge.Report{
		State: purge.Queued, Reason: purge.ReasonSoftDeleted, NotBefore: until, Proven: []purge.Directory{directory(VerifyID)},
		Evidence: []purge.Evidence{seen("a", 1, purge.HeldBack), seen("b", 2, purge.Erased), soft},
	}))
	if diff := cmp.Diff(purge.Counts{ObjectsErased: 1, ObjectsSoftDeleted: 1}, got.Counts); diff != "" {
		t.Errorf("counts (-want +got):\n%s", diff)
	}
	// The directory is empty now, and nothing lists what is soft-deleted; but its date has not come.
	attempt = must[purge.Attempt](t)(s.Begin(t.Context(), attempt.Task))
	proven := purge.Report{State: purge.Queued, Reason: purge.ReasonTransient, Proven: []purge.Directory{directory(DownloadID)}}
	got = must[purge.Recorded](t)(s.Record(t.Context(), attempt, proven))
	if diff := cmp.Diff(purge.Counts{ObjectsErased: 2, ObjectsSoftDeleted: 1}, got.Counts); diff != "" {
		t.Errorf("before the date, counts (-want +got):\n%s", diff)
	}
	soft.Until = time.Now().Add(-time.Hour)
	proven.State, proven.Evidence = purge.Done, []purge.Evidence{soft}
	attempt = must[purge.Attempt](t)(s.Begin(t.Context(), attempt.Task))
	got = must[purge.Recorded](t)(s.Record(t.Context(), attempt, proven))
	if diff := cmp.Diff(purge.Counts{ObjectsErased: 3}, got.Counts); diff != "" {
		t.Errorf("after the date, counts (-want +got):\n%s", diff)
	}
}

func testFailures(t *testing.T, s Shelf) {
	t.Helper()
	attempt := begun(t, s)
	for n := range 3 {
		if attempt.Failures != n {
			t.Errorf("attempt %d: got %d failures, want %d", attempt.Number, attempt.Failures, n)
		}
		must[purge.Recorded](t)(s.Record(t.Context(), attempt, purge.Report{State: purge.Queued, Reason: purge.ReasonTransient, Counted: true, Detail: "größer"}))
		attempt = must[purge.Attempt](t)(s.Begin(t.Context(), attempt.Task))
		must[purge.Recorded](t)(s.Record(t.Context(), attempt, purge.Report{State: purge.Queued, Reason: purge.ReasonThrottled}))
		attempt = must[purge.Attempt](t)(s.Begin(t.Context(), attempt.Task))
	}
	must[purge.Recorded](t)(s.Record(t.Context(), attempt, purge.Report{State: purge.Failed, Reason: purge.ReasonGaveUp, Counted: true}))
	accept(t, s, wish(attempt.User))
	again := must[purge.Attempt](t)(s.Begin(t.Context(), attempt.Task))
	if again.Failures != 0 || again.Number <= attempt.Number {
		t.Errorf("got %+v, want no failures and a higher attempt number than %d", again, attempt.Number)
	}
}

// testReason lets one attempt clear everything without ending the request, and the next find nothing.
func testReason(t *testing.T, s Shelf) {
	t.Helper()
	for _, tc := range []struct {
		erased bool
		want   purge.Reason
	}{{true, purge.ReasonNone}, {false, purge.ReasonFilesAbsent}} {
		attempt := begun(t, s)
		ref := s.NewReference(attempt.User, purge.Live, DownloadID, VerifyID, someURL)
		report := purge.Report{State: purge.Queued, Reason: purge.ReasonTransient, Clear: clearing(ref)}
		if tc.erased {
			report.Evidence = []purge.Evidence{seen("a", 1, purge.Erased)}
		}
		must[purge.Recorded](t)(s.Record(t.Context(), attempt, report))
		attempt = must[purge.Attempt](t)(s.Begin(t.Context(), attempt.Task))
		got := must[purge.Recorded](t)(s.Record(t.Context(), attempt, purge.Report{State: purge.Done, Reason: purge.ReasonNothingToPurge}))
		if got.State != purge.Done || got.Reason != tc.want {
			t.Errorf("erased %v: got %s: %s, want done: %s", tc.erased, got.State, got.Reason, tc.want)
		}
	}
	attempt := begun(t, s)
	got := must[purge.Recorded](t)(s.Record(t.Context(), attempt, purge.Report{State: purge.Done, Reason: purge.ReasonNothingToPurge}))
	if got.Reason != purge.ReasonNothingToPurge {
		t.Errorf("nothing at all: got %s", got.Reason)
	}
}

func testUnfinished(t *testing.T, s Shelf) {
	t.Helper()
	before := time.Now().Add(-time.Minute)
	attempt := begun(t, s)
	for n := 1; n <= 3; n++ {
		if attempt.Unfinished != n || attempt.OpenedAt.Before(before) || attempt.OpenedAt.After(time.Now().Add(time.Minute)) {
			t.Errorf("claim %d: got %+v", n, attempt)
		}
		attempt = must[purge.Attempt](t)(s.Begin(t.Context(), attempt.Task))
	}
	must[purge.Recorded](t)(s.Record(t.Context(), attempt, purge.Report{State: purge.Queued, Reason: purge.ReasonThrottled}))
	if attempt = must[purge.Attempt](t)(s.Begin(t.Context(), attempt.Task)); attempt.Unfinished != 1 {
		t.Errorf("after a record: got %d unfinished, want this one only", attempt.Unfinished)
	}
}

func testRecordTwice(t *testing.T, s Shelf) {
	t.Helper()
	attempt := begun(t, s)
	ref := s.NewReference(attempt.User, purge.Live, DownloadID, VerifyID, someURL)
	must[purge.Retirement](t)(s.Intend(t.Context(), attempt, []purge.Evidence{seen("a", 1, purge.Listed)}))
	report := purge.Report{State: purge.Done, Certificates: 1, Clear: clearing(ref), Proven: []purge.Directory{directory(DownloadID)}}
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
	want := purge.Recorded{State: purge.Done, Counts: purge.Counts{Certificates: 1, ObjectsErased: 1, ReferencesCleared: 1}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("recorded (-want +got):\n%s", diff)
	}
}
