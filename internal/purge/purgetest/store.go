package purgetest

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/certpurge/certpurge/internal/purge"
)

// StoreUnderTest is a pair of databases under test, with back doors into the LMS's.
type StoreUnderTest interface {
	purge.Users
	purge.Ledger
	purge.Requests
	NewUser(r purge.Retirement) purge.UserID // r.UserExists must be true
	NewReference(user purge.UserID, table purge.Table, download, verify, url string) purge.Reference
	ReplaceURL(ref purge.Reference, url string) // as another program would
	ReplaceVerify(ref purge.Reference, verify string)
	ReplaceDownload(ref purge.Reference, download string) // in the row; what certpurge has read of it stays
	// reads whose directories there are, as a worker does from time to time
	ReadOwners()
	LapseLease(request purge.RequestID) // as if the newest attempt's worker had died long ago
}

// NewUser implements StoreUnderTest.
func (b *FakeStore) NewUser(r purge.Retirement) purge.UserID {
	b.mu.Lock()
	defer b.mu.Unlock()
	id := purge.UserID(len(b.users) + 1)
	b.users[id] = r
	return id
}

// NewReference implements StoreUnderTest.
func (b *FakeStore) NewReference(user purge.UserID, table purge.Table, download, verify, url string) purge.Reference {
	b.mu.Lock()
	n := len(b.rows) + 1
	b.mu.Unlock()
	ref := purge.Reference{
		Table: table, RowID: int64(n), CertificateID: purge.CertificateID(n), DownloadUUID: download,
		VerifyUUID: verify, DownloadURL: url,
	}
	b.AddReference(user, ref)
	return ref
}

// ReplaceURL implements StoreUnderTest.
func (b *FakeStore) ReplaceURL(ref purge.Reference, url string) {
	b.replace(ref, func(r *purge.Reference) { r.DownloadURL = url })
}

// ReplaceVerify implements StoreUnderTest.
func (b *FakeStore) ReplaceVerify(ref purge.Reference, verify string) {
	b.replace(ref, func(r *purge.Reference) { r.VerifyUUID = verify })
}

// ReplaceDownload implements StoreUnderTest.
func (b *FakeStore) ReplaceDownload(ref purge.Reference, download string) {
	b.replace(ref, func(r *purge.Reference) { r.DownloadUUID = download })
}

// ReadOwners implements StoreUnderTest.
func (b *FakeStore) ReadOwners() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, r := range b.rows {
		b.remember(r.user, r.ref)
	}
}

// LapseLease implements StoreUnderTest.
func (b *FakeStore) LapseLease(request purge.RequestID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.find(request).leased = b.Now().Add(-time.Second)
}

func (b *FakeStore) replace(ref purge.Reference, change func(*purge.Reference)) {
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

// Conformance runs the conformance suite of databases, each test on a fresh store.
func Conformance(t *testing.T, open func(t *testing.T) StoreUnderTest) {
	t.Helper()
	for name, test := range map[string]func(*testing.T, StoreUnderTest){
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
		"one request is open, whatever the keys":          testOneOpen,
		"bounds the keys of a request":                    testKeysAreBounded,
		"knows who else names a directory":                testSharing,
		"old attempts do not end what was opened again":   testReopened,
		"erased is final":                                 testErasedIsFinal,
		"settles evidence of the user's other requests":   testEvidenceOfTheUser,
		"neighbours do not block each other":              testNeighbours,
		"keeps intents of attempts that recorded nothing": testIntents,
		"settles held objects later":                      testHeldThenErased,
		"counts failures until opened again":              testFailures,
		"counts claims whose lease has run out":           testLapsed,
		"an extended lease does not run out":              testExtend,
		"judges a request by all of its attempts":         testReason,
		"knows which directories were emptied before":     testEmptied,
		"keeps what is missing apart":                     testMissing,
		"notes who accepts that files are missing":        testAcceptMissing,
		"done is true also after another attempt gave up": testDoneAfterGivingUp,
		"is done beside links that stay":                  testKeep,
		"counts attempts, not fences":                     testAttemptNumbers,
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

func submission(user purge.UserID) purge.Submission {
	return purge.Submission{User: user, Key: purge.DefaultKey(user), Source: purge.SourceCLI}
}

func accept(t *testing.T, s StoreUnderTest, w purge.Submission) purge.Accepted {
	t.Helper()
	return must[[]purge.Accepted](t)(s.Accept(t.Context(), []purge.Submission{w}))[0]
}

// begun accepts a submission for a new retiring user and claims it.
func begun(t *testing.T, s StoreUnderTest) purge.Attempt {
	t.Helper()
	user := s.NewUser(Retiring)
	a := accept(t, s, submission(user))
	return must[purge.Attempt](t)(s.Begin(t.Context(), purge.Task{Request: a.Request, User: user}))
}

func clearing(refs ...purge.Reference) []purge.Clearing {
	var all []purge.Clearing
	for _, r := range refs {
		all = append(all, purge.Clearing{CertificateID: r.CertificateID, Table: r.Table, References: []purge.Reference{r}})
	}
	return all
}

func left(t *testing.T, s StoreUnderTest, user purge.UserID) int {
	t.Helper()
	return len(must[purge.User](t)(s.User(t.Context(), user)).References)
}

func testRetirements(t *testing.T, s StoreUnderTest) {
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

func testReferences(t *testing.T, s StoreUnderTest) {
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
	if diff := cmp.Diff([]purge.Reference{both, onlyURL, onlyID, history}, got,
		cmp.Transformer("fields", func(r purge.Reference) [6]any {
			return [6]any{r.Table, r.RowID, r.CertificateID, r.DownloadUUID, r.VerifyUUID, r.DownloadURL}
		})); diff != "" {
		t.Errorf("references (-want +got):\n%s", diff)
	}
}
