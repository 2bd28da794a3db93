package gcs_test

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"cloud.google.com/go/storage"

	"github.com/certpurge/certpurge/internal/gcs"
	"github.com/certpurge/certpurge/internal/gcs/gcstest"
	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/purge/purgetest"
)

const (
	day  = 24 * time.Hour
	week = 7 * day
)

type ledger = purge.Ledger

// retiree is a user with one certificate, its four files, and the purger.
type retiree struct {
	*world

	ledger

	store  *purgetest.FakeStore
	user   purge.UserID
	purger purge.Purger
	report purge.Report // the latest
}

// Record implements purge.Ledger.
func (r *retiree) Record(ctx context.Context, attempt purge.Attempt, report purge.Report) (purge.Recorded, error) {
	r.report = report
	return r.ledger.Record(ctx, attempt, report)
}

func newRetiree(t *testing.T, acceptSoftDelete bool) *retiree {
	t.Helper()
	w := newWorld(t, func(c *gcs.Config) { c.AcceptSoftDelete = acceptSoftDelete })
	store := purgetest.NewFakeStore()
	r := &retiree{world: w, ledger: store, store: store}
	r.user = r.store.NewUser(purgetest.Retiring)
	r.store.NewReference(r.user, purge.Live, purgetest.DownloadID, purgetest.VerifyID, "")
	for _, name := range purgetest.FourFiles() {
		w.Put(name)
	}
	r.purger = purge.Purger{
		Users: r.store, Ledger: r, Objects: w.Store, Locations: purgetest.OneLocation(t),
		Policy: purge.Policy{ClearHistory: true, MaxAttempts: 10, AcceptSoftDelete: acceptSoftDelete},
	}
	return r
}

// purge makes an attempt, and expects the state, the reason, and whether the reference is cleared.
func (r *retiree) purge(state purge.State, reason purge.Reason, cleared bool) purge.Result {
	r.t.Helper()
	if _, err := r.store.Accept(r.t.Context(), []purge.Submission{{User: r.user, Key: "k"}}); err != nil {
		r.t.Fatal(err)
	}
	got, err := r.purger.Purge(r.t.Context(), purge.Task{Request: 1, User: r.user})
	if got.State != state || got.Reason != reason || cleared != (len(r.store.References(r.user)) == 0) {
		r.t.Errorf("got %s (%s), %v, %d references; want %s (%s), cleared %v", got.State, got.Reason, err,
			len(r.store.References(r.user)), state, reason, cleared)
	}
	return got
}

// TestAHoldThatComesInTheMiddle: a PATCH holds a file after it was listed, so that the service refuses the delete; what
// the second listing shows decides. Another one releases it.
func TestAHoldThatComesInTheMiddle(t *testing.T) {
	t.Parallel()
	pdf := purgetest.FourFiles()[3]
	soon := time.Now().Add(day)
	for name, tc := range map[string]struct {
		protect, release storage.ObjectAttrsToUpdate
		wait             time.Duration
		state            purge.State
		reason           purge.Reason
		answer           string
	}{
		"temporary": {
			protect: storage.ObjectAttrsToUpdate{TemporaryHold: true},
			release: storage.ObjectAttrsToUpdate{TemporaryHold: false},
			state:   purge.Failed, reason: purge.ReasonHeld, answer: "forbidden",
		},
		"event-based": {
			protect: storage.ObjectAttrsToUpdate{EventBasedHold: true},
			release: storage.ObjectAttrsToUpdate{EventBasedHold: false},
			state:   purge.Failed, reason: purge.ReasonHeld, answer: "forbidden",
		},
		"retention": {
			protect: storage.ObjectAttrsToUpdate{Retention: &storage.ObjectRetention{Mode: "Locked", RetainUntil: soon}},
			release: storage.ObjectAttrsToUpdate{CacheControl: "no-store"}, wait: 2 * day,
			state: purge.Queued, reason: purge.ReasonRetained, answer: "retentionPolicyNotMet",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRetiree(t, false)
			r.Before(purgetest.OpDelete, func() { r.changeObject(pdf, tc.protect) })
			r.purge(tc.state, tc.reason, false)
			if got := r.Stored(); !slices.Equal(got, []string{purgetest.Stored(pdf, true)}) {
				t.Errorf("left: got %v, want the protected file", got)
			}
			if got := r.server.Stats().Deletes; got != 4 {
				t.Errorf("got %d deletes, want the one of the protected file among them", got)
			}
			r.changeObject(pdf, tc.release)
			r.Advance(tc.wait)
			r.purge(purge.Done, "", true)
			if got := r.Stored(); len(got) > 0 {
				t.Errorf("left: got %v", got)
			}
		})
	}
}

// TestASoftDeletePolicyThatChangesInTheMiddle: PATCHes change the policy after files were listed, before or between the
// deletes. What can be restored, and until when, is what the emulator holds.
func TestASoftDeletePolicyThatChangesInTheMiddle(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		before, between time.Duration // when the purge begins; before the first delete but one
		accept          bool
		state           purge.State
		reason          purge.Reason
	}{
		"switched on":          {0, week, true, purge.Done, ""},
		"switched on, refused": {0, week, false, purge.Queued, purge.ReasonMisconfigured},
		"made longer":          {week, 30 * day, true, purge.Done, ""},
		"made shorter":         {30 * day, week, true, purge.Done, ""},
		"switched off":         {week, 0, true, purge.Done, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRetiree(t, tc.accept)
			if tc.before > 0 {
				r.SoftDelete(tc.before)
			}
			var deletes atomic.Int64
			r.server.SetHook(func(op, _, _ string) {
				if op == gcstest.OpDelete && deletes.Add(1) == 2 {
					r.SoftDelete(tc.between)
				}
			})
			r.purge(tc.state, tc.reason, tc.state == purge.Done)
			if got := r.Stored(); len(got) > 0 {
				t.Errorf("left: got %v", got)
			}
			if tc.state != purge.Done {
				return
			}
			said := map[string]time.Time{}
			for _, e := range r.report.Evidence {
				if e.Outcome == purge.SoftDeleted {
					said[e.Generation.Name] = e.Until
				}
			}
			held := 0
			for _, o := range r.server.Objects(purgetest.Bucket, "") {
				held++
				if late := said[o.Name].Sub(o.SoftDeletedUntil); late < -time.Second || late > time.Minute {
					t.Errorf("%s: the evidence says %v, the bucket %v", o.Name, said[o.Name], o.SoftDeletedUntil)
				}
			}
			if held == 0 {
				t.Error("nothing was soft-deleted")
			}
		})
	}
}

// TestNoRightToReadPoliciesIsNeeded does all that a store can with the rights of the documentation, and sees every
// request.
func TestNoRightToReadPoliciesIsNeeded(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *gcs.Config) {
		next := c.Transport
		c.AcceptSoftDelete = true
		c.Transport = roundTripper(func(r *http.Request) (*http.Response, error) {
			if strings.Contains(r.URL.RawQuery, "projection=full") {
				t.Errorf("%s %s asks for access control lists", r.Method, r.URL)
			}
			return next.RoundTrip(r)
		})
	})
	w.Put(dirD.Prefix + "Certificate.pdf")
	w.Put("cert/x")
	w.SoftDelete(week)
	w.server.Deny(purgetest.Bucket, "storage.objects.getIamPolicy", "storage.buckets.getIamPolicy",
		"storage.objects.get", "storage.objects.update", "storage.buckets.update")
	_, probed := w.Probe(t.Context())
	found, listed := w.List(t.Context(), dirD)
	if len(found) != 1 {
		t.Fatalf("got %v, %v", found, listed)
	}
	_, restorable := w.SoftDeleted(t.Context(), dirD, time.Now())
	_, named := w.Lister().Directories(t.Context(), purgetest.Bucket, "")
	root := purge.Directory{Bucket: purgetest.Bucket, Prefix: "downloads/"}
	if err := cmp.Or(probed, listed, restorable, named, w.CheckLocations(t.Context()), w.Delete(t.Context(), found[0]),
		w.Walk(t.Context(), root, "", func([]purge.Generation) error { return nil })); err != nil {
		t.Error(err)
	}
}

// TestEmptyPagesAreNoEnd: a listing has pages without items, with a token, before, between and behind the others.
func TestEmptyPagesAreNoEnd(t *testing.T) {
	t.Parallel()
	const files = 1_203 // two pages
	w := newWorld(t, func(c *gcs.Config) { c.AcceptSoftDelete = true })
	w.server.SetEmptyPages(true)
	for i := range files {
		if _, err := w.server.Put(purgetest.Bucket, dirD.Prefix+strings.Repeat("x", i/1_000)+time.Duration(i).String(), nil,
			gcstest.ObjectOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	w.Put("cert/" + purgetest.VerifyID + "/valid.html")
	if err := w.CheckLocations(t.Context()); err != nil {
		t.Error(err)
	}
	walked := 0
	root := purge.Directory{Bucket: purgetest.Bucket, Prefix: "downloads/"}
	err := w.Walk(t.Context(), root, "", func(page []purge.Generation) error { walked += len(page); return nil })
	if err != nil || walked != files {
		t.Errorf("walked over %d, %v", walked, err)
	}
	dirs, err := w.Lister().Directories(t.Context(), purgetest.Bucket, "")
	if err != nil || !slices.Equal(dirs, []string{"cert/", "downloads/"}) {
		t.Errorf("got directories %v, %v", dirs, err)
	}
	if ok, err := w.Lister().Holds(t.Context(), dirD); err != nil || !ok {
		t.Errorf("holds: got %v, %v", ok, err)
	}
	w.SoftDelete(week)
	found, err := w.List(t.Context(), dirD)
	if err != nil || len(found) != files {
		t.Fatalf("got %d, %v", len(found), err)
	}
	for _, g := range found {
		if err := w.Delete(t.Context(), g); err != nil {
			t.Fatal(err)
		}
	}
	left, err := w.List(t.Context(), dirD)
	if err != nil || len(left) > 0 {
		t.Errorf("left: got %d, %v", len(left), err)
	}
	soft, err := w.SoftDeleted(t.Context(), dirD, time.Now())
	if err != nil || len(soft) != files {
		t.Errorf("restorable: got %d, %v", len(soft), err)
	}
}

// TestFoldersAreLeft: a bucket with folders, and one with managed folders, is purged like any other. What is left of a
// directory is its name.
func TestFoldersAreLeft(t *testing.T) {
	t.Parallel()
	r := newRetiree(t, false)
	r.server.CreateBucket(purgetest.Bucket, gcstest.BucketConfig{Hierarchical: true})
	for _, name := range append(purgetest.FourFiles(), dirD.Prefix, dirD.Prefix+"more/", dirD.Prefix+"more/page.html") {
		r.Put(name)
	}
	got := r.purge(purge.Done, "", true)
	if left := r.Stored(); len(left) > 0 || got.Counts.ObjectsErased != 7 {
		t.Errorf("got %+v, left %v", got, left)
	}
	it := r.admin.Objects(t.Context(), &storage.Query{Prefix: "downloads/", Delimiter: "/", IncludeFoldersAsPrefixes: true})
	if folder, err := it.Next(); err != nil || folder.Prefix != dirD.Prefix {
		t.Errorf("got %+v, %v; want the folder left", folder, err)
	}
	if ok, err := r.Lister().Holds(t.Context(), dirD); err != nil || ok {
		t.Errorf("holds: got %v, %v; want an empty folder to be nothing", ok, err)
	}
	dirs, err := r.Lister().Directories(t.Context(), purgetest.Bucket, "downloads/")
	if err != nil || len(dirs) > 0 {
		t.Errorf("got directories %v, %v", dirs, err)
	}
}

// TestAPlaceholderIsNoFile: an object that stands for the directory, as consoles make it, proves no file.
func TestAPlaceholderIsNoFile(t *testing.T) {
	t.Parallel()
	r := newRetiree(t, false)
	pdf := purgetest.FourFiles()[3]
	r.Remove(pdf)
	r.Put(dirD.Prefix)
	r.Put(dirD.Prefix + "sub/")
	if ok, err := r.Lister().Holds(t.Context(), dirD); err != nil || ok {
		t.Errorf("holds: got %v, %v", ok, err)
	}
	r.purge(purge.Failed, purge.ReasonFilesMissing, false)
	if left := r.Stored(); len(left) > 0 {
		t.Errorf("left %v", left)
	}
	r.purge(purge.Failed, purge.ReasonFilesMissing, false) // it was not emptied before, either
	r.Put(pdf)
	r.Put(dirD.Prefix)
	if ok, err := r.Lister().Holds(t.Context(), dirD); err != nil || !ok {
		t.Errorf("holds: got %v, %v", ok, err)
	}
	r.purge(purge.Done, "", true)
	if left := r.Stored(); len(left) > 0 {
		t.Errorf("left %v", left)
	}
}
