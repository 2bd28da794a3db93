package purgetest

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/certpurge/certpurge/internal/purge"
)

// The ids of the one certificate that the situations are about.
const (
	DownloadID = "0123456789abcdef0123456789abcdef"
	VerifyID   = "fedcba9876543210fedcba9876543210"
	pdf        = "downloads/" + DownloadID + "/Certificate.pdf"
	sig        = "cert/" + VerifyID + "/Certificate.pdf.sig"
	valid      = "cert/" + VerifyID + "/valid.html"
	verify     = "cert/" + VerifyID + "/verify.html"
)

// FourFiles are the names of a certificate's files in edx-certificates.
func FourFiles() []string { return []string{sig, valid, verify, pdf} }

// neighbours belong to others; no situation may touch them.
var neighbours = []string{
	"cert/" + VerifyID + ".bak/valid.html", "cert/aaaa", "downloads/" + DownloadID,
	"downloads/" + DownloadID + "0/Certificate.pdf",
	"downloads/0000000000000000000000000000000f/Certificate.pdf",
}

// OneLocation is the configuration of the situations.
func OneLocation(tb testing.TB) purge.Locations {
	tb.Helper()
	l, err := purge.NewLocations([]purge.Location{{
		Name: "main", Bucket: Bucket, DownloadsDir: "downloads", VerifyDir: "cert", Signed: true,
		URLPrefixes: []string{"https://s3.amazonaws.com/verify.example.org/"},
	}})
	if err != nil {
		tb.Fatalf("making locations: %v", err)
	}
	return l
}

// situation is one row of the table in which the answers of Cloud Storage stand beside what a worker makes of them.
type situation struct {
	name    string
	arrange func(World)
	accept  bool // soft delete is accepted

	state   purge.State
	reason  purge.Reason
	class   purge.Class // of the failure, if the request has not ended
	cleared bool
	erased  int
	kept    []string // names of generations that must be left
	mended  purge.State
}

const anyTimes = -1

// failing makes a situation of trouble that does not go away by itself.
func failing(op Op, what Trouble, state purge.State, reason purge.Reason, class purge.Class) situation {
	return situation{
		name: string(op) + ": " + string(what), arrange: func(w World) { w.Trouble(op, what, anyTimes) },
		state: state, reason: reason, class: class, kept: FourFiles(), mended: purge.Done,
	}
}

func transient(op Op, what Trouble) situation {
	return failing(op, what, purge.Queued, purge.ReasonTransient, purge.Transient)
}

func misconfigured(op Op, what Trouble) situation {
	return failing(op, what, purge.Queued, purge.ReasonMisconfigured, purge.Misconfigured)
}

func throttled(op Op, what Trouble) situation {
	return failing(op, what, purge.Queued, purge.ReasonThrottled, purge.Throttled)
}

// table returns all situations.
func table() []situation {
	day := 24 * time.Hour
	s := []situation{
		{name: "deleted", state: purge.Done, cleared: true, erased: 4},
		{name: "no file where the reference says", arrange: removeAll, state: purge.Failed, reason: purge.ReasonFilesMissing},
		{
			name:    "no verification file where the reference says",
			arrange: func(w World) { w.Remove(sig); w.Remove(valid); w.Remove(verify) },
			state:   purge.Failed, reason: purge.ReasonFilesMissing, erased: 1,
		},
		{
			name: "no PDF where the reference says", arrange: func(w World) { w.Remove(pdf) },
			state: purge.Failed, reason: purge.ReasonFilesMissing, erased: 3,
		},
		{
			name: "two of three verification files", arrange: func(w World) { w.Remove(sig) },
			state: purge.Done, cleared: true, erased: 3,
		},
		{
			name: "bucket missing", arrange: World.DropBucket,
			state: purge.Queued, reason: purge.ReasonMisconfigured, class: purge.Misconfigured,
		},
		{
			name: "bucket goes missing between listing and delete", arrange: func(w World) { w.Before(OpDelete, w.DropBucket) },
			state: purge.Queued, reason: purge.ReasonMisconfigured, class: purge.Misconfigured,
		},
		{
			name:    "versioned bucket with noncurrent generations",
			arrange: func(w World) { w.Versioning(true); w.Put(pdf); w.Put(pdf) },
			state:   purge.Done, cleared: true, erased: 6,
		},
		{
			name:    "versioning suspended, old generations left",
			arrange: func(w World) { w.Versioning(true); w.Put(pdf); w.Versioning(false) },
			state:   purge.Done, cleared: true, erased: 5,
		},
		{
			name: "soft delete on, not accepted", arrange: func(w World) { w.SoftDelete(7 * day) },
			state: purge.Queued, reason: purge.ReasonMisconfigured, class: purge.Misconfigured, kept: FourFiles(),
		},
		{
			name: "soft delete on, accepted", arrange: func(w World) { w.SoftDelete(7 * day) }, accept: true, state: purge.Done,
			cleared: true,
		},
		{
			name: "temporary hold", arrange: func(w World) { w.Hold(pdf, true, false) },
			state: purge.Failed, reason: purge.ReasonHeld, erased: 3, kept: []string{pdf}, mended: purge.Done,
		},
		{
			name: "event-based hold", arrange: func(w World) { w.Hold(valid, false, true) },
			state: purge.Failed, reason: purge.ReasonHeld, erased: 3, kept: []string{valid}, mended: purge.Done,
		},
		{
			name:    "hold placed between listing and delete",
			arrange: func(w World) { w.Before(OpDelete, func() { w.Hold(pdf, true, false) }) },
			state:   purge.Failed, reason: purge.ReasonHeld, erased: 3, kept: []string{pdf}, mended: purge.Done,
		},
		{
			name: "retention policy of the bucket", arrange: func(w World) { w.Retention(30 * day) },
			state: purge.Queued, reason: purge.ReasonRetained, class: purge.Retained, kept: FourFiles(),
		},
		{
			name: "object lock", arrange: func(w World) { w.Lock(pdf, w.Now().Add(day)) },
			state: purge.Queued, reason: purge.ReasonRetained, class: purge.Retained, erased: 3, kept: []string{pdf},
		},
		{
			name: "retention is over", arrange: func(w World) { w.Lock(pdf, w.Now().Add(day)); w.Advance(2 * day) },
			state: purge.Done, cleared: true, erased: 4,
		},
		failing(OpDelete, NoPermission, purge.Failed, purge.ReasonNoPermission, 0),
		failing(OpList, NoPermission, purge.Failed, purge.ReasonNoPermission, 0),
		{
			name:    "object replaced between listing and delete",
			arrange: func(w World) { w.Before(OpDelete, func() { w.Put(pdf) }) },
			state:   purge.Queued, reason: purge.ReasonTransient, class: purge.Transient, erased: 4, kept: []string{pdf},
			mended: purge.Done,
		},
		{
			name:    "generation already gone at the delete",
			arrange: func(w World) { w.Before(OpDelete, func() { removeAll(w) }) },
			state:   purge.Done, cleared: true, erased: 4,
		},
		{
			name: "done, answer lost, own second try meets a 404", arrange: func(w World) { w.Trouble(OpDelete, LostAnswer, 2) },
			state: purge.Done, cleared: true, erased: 4,
		},
		misconfigured(OpList, ProxyHTML404), misconfigured(OpList, ProxyEmpty404),
	}
	for _, op := range []Op{OpList, OpDelete} {
		for _, what := range []Trouble{
			ProxyHTML403, AccountDisabled, RequesterPays, BadToken, NoToken, NoSuchHost,
			UntrustedTLS,
		} {
			s = append(s, misconfigured(op, what))
		}
		for _, what := range []Trouble{TooManyRequests, OldQuota} {
			s = append(s, throttled(op, what))
		}
		for _, what := range []Trouble{
			ServerError500, ServerError501, ServerError502, ServerError503, ServerError504, RequestTimeout,
			Reset, Hanging, HangingInBackoff, ProxyHTML200, ProxyEmpty204, ProxyJSON200, ProxyWrapped200, Proxy202, Proxy302,
		} {
			s = append(s, transient(op, what))
		}
	}
	return append(s, transient(OpDelete, Stale), transient(OpDelete, ProxyHTML404), transient(OpDelete, ProxyEmpty404))
}

// removeAll takes the four files away as another program would.
func removeAll(w World) {
	for _, name := range FourFiles() {
		w.Remove(name)
	}
}

// Situations runs a purge in every situation of the table, on a fresh store each, and once more after fixing.
// Situations in which a deadline passes run in a bubble of their own clock, so that only what hangs meets one.
func Situations(t *testing.T, open func(t *testing.T, acceptSoftDelete bool) World) {
	t.Helper()
	for _, s := range table() {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			if strings.Contains(s.name, "deadline") {
				synctest.Test(t, func(t *testing.T) { s.run(t, open(t, s.accept)) })
				return
			}
			s.run(t, open(t, s.accept))
		})
	}
}

func (s situation) run(t *testing.T, w World) {
	t.Helper()
	const user, request = 42, 1
	store := NewFakeStore()
	store.SetUser(user, purge.Retirement{UserExists: true, Requested: true, State: "COMPLETE"})
	store.AddReference(user, purge.Reference{
		Table: purge.Live, RowID: 7, CertificateID: 7, DownloadUUID: DownloadID, VerifyUUID: VerifyID,
		DownloadURL: "https://s3.amazonaws.com/verify.example.org/downloads/" + DownloadID + "/Certificate.pdf",
	})
	if _, err := store.Accept(t.Context(), []purge.Submission{{
		User: user, Key: purge.DefaultKey(user),
		Source: purge.SourceCLI,
	}}); err != nil {
		t.Fatalf("accepting: %v", err)
	}
	for _, name := range slices.Concat(FourFiles(), neighbours) {
		w.Put(name)
	}
	if s.arrange != nil {
		s.arrange(w)
	}
	purger := &purge.Purger{
		Users: store, Ledger: store, Objects: w.Objects(), Locations: OneLocation(t),
		Policy: purge.Policy{
			ExcludedStates: []string{"PENDING", "ABORTED"}, ClearHistory: true, AcceptSoftDelete: s.accept,
			MaxAttempts: 5,
		},
	}
	task := purge.Task{Request: request, User: user}
	got, err := purger.Purge(t.Context(), task)
	if got.State != s.state || got.Reason != s.reason {
		t.Errorf("got state %s, reason %q, error %v; want %s, %q", got.State, got.Reason, err, s.state, s.reason)
	}
	if s.state.Ended() != (err == nil) || err != nil && purge.ClassOf(err) != s.class {
		t.Errorf("got error %v of class %d, want class %d", err, purge.ClassOf(err), s.class)
	}
	if cleared := len(store.References(user)) == 0; cleared != s.cleared {
		t.Errorf("reference cleared: got %v, want %v", cleared, s.cleared)
	}
	if got.Counts.ObjectsErased != s.erased {
		t.Errorf("got %d objects erased, want %d", got.Counts.ObjectsErased, s.erased)
	}
	s.checkStored(t, w)
	if err != nil {
		for _, secret := range []string{DownloadID, VerifyID, "Certificate.pdf", "http"} {
			if strings.Contains(err.Error(), secret) {
				t.Errorf("the error %q holds %q", err, secret)
			}
		}
	}
	if s.mended == "" {
		return
	}
	w.Fix()
	w.Hold(pdf, false, false)
	w.Hold(valid, false, false)
	if got.State.Ended() {
		if _, err := store.Accept(t.Context(), []purge.Submission{{User: user, Key: purge.DefaultKey(user)}}); err != nil {
			t.Fatalf("accepting again: %v", err)
		}
	}
	got, err = purger.Purge(t.Context(), task)
	if err != nil || got.State != s.mended || len(store.References(user)) > 0 {
		t.Errorf("after fixing: got %s (%s), error %v, %d references; want %s and none", got.State, got.Reason, err,
			len(store.References(user)), s.mended)
	}
}

// checkStored compares what the bucket holds with what had to stay; the neighbours always.
func (s situation) checkStored(t *testing.T, w World) {
	t.Helper()
	stored := w.Stored()
	if s.class == purge.Misconfigured && len(s.kept) == 0 {
		return // the bucket itself is gone
	}
	var want []string
	for _, name := range slices.Concat(s.kept, neighbours) {
		want = append(want, Stored(name, true))
	}
	slices.Sort(want)
	if diff := cmp.Diff(want, stored); diff != "" {
		t.Errorf("what the bucket holds (-want +got):\n%s", diff)
	}
}
