package purge_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/purge/purgetest"
)

const (
	userA   = purge.UserID(42)
	userB   = purge.UserID(43)
	request = purge.RequestID(1)
)

// stage is a purger on fakes, with user 42 retiring and request 1 accepted.
type stage struct {
	t      *testing.T
	cloud  *purgetest.Cloud
	store  *purgetest.FakeStore
	purger *purge.Purger
}

func hexID(n int) string { return fmt.Sprintf("%032x", n) }

func url(id string) string {
	return "https://s3.amazonaws.com/verify.example.org/downloads/" + id + "/Certificate.pdf"
}

func retiring() purge.Retirement {
	return purge.Retirement{UserExists: true, Requested: true, State: "RETIRING_LMS"}
}

// newStage builds the stage with three certificates and twelve files of user 42, one of which only the history knows,
// and one certificate of user 43, who is not retiring.
func newStage(t *testing.T) *stage {
	t.Helper()
	s := &stage{t: t, cloud: purgetest.NewCloud(), store: purgetest.NewFakeStore()}
	s.store.SetUser(userA, retiring())
	s.store.SetUser(userB, purge.Retirement{UserExists: true})
	for n := 1; n <= 3; n++ {
		ref := purge.Reference{
			Table: purge.Live, RowID: int64(n), CertificateID: purge.CertificateID(n),
			DownloadUUID: hexID(n), VerifyUUID: hexID(100 + n), DownloadURL: url(hexID(n)),
		}
		if n == 3 {
			ref.Table, ref.RowID, ref.CertificateID = purge.History, 1, 1
		}
		s.add(userA, ref)
	}
	s.add(userB, purge.Reference{
		Table: purge.Live, RowID: 9, CertificateID: 9, DownloadUUID: hexID(9), VerifyUUID: hexID(109),
		DownloadURL: url(hexID(9)),
	})
	s.purger = &purge.Purger{
		Users: s.store, Ledger: s.store, Objects: s.cloud, Locations: purgetest.OneLocation(t),
		Policy: purge.Policy{ExcludedStates: []string{"PENDING", "ABORTED"}, ClearHistory: true, MaxAttempts: 3},
	}
	s.accept(t)
	return s
}

func (s *stage) add(user purge.UserID, ref purge.Reference) {
	s.store.AddReference(user, ref)
	s.cloud.Put("downloads/" + ref.DownloadUUID + "/Certificate.pdf")
	for _, name := range []string{"Certificate.pdf.sig", "valid.html", "verify.html"} {
		s.cloud.Put("cert/" + ref.VerifyUUID + "/" + name)
	}
}

func (s *stage) accept(t *testing.T) purge.Accepted {
	t.Helper()
	accepted, err := s.store.Accept(t.Context(), []purge.Submission{{
		User: userA, Key: purge.DefaultKey(userA),
		Source: purge.SourceCLI,
	}})
	if err != nil {
		t.Fatalf("accepting: %v", err)
	}
	return accepted[0]
}

// submit submits the stage's request once more.
func (s *stage) submit(w purge.Submission) {
	s.t.Helper()
	w.User, w.Key, w.Source = userA, purge.DefaultKey(userA), purge.SourceCLI
	if _, err := s.store.Accept(s.t.Context(), []purge.Submission{w}); err != nil {
		s.t.Fatalf("accepting: %v", err)
	}
}

// deleteAll deletes what is under a directory, as another program would.
func (s *stage) deleteAll(prefix string) {
	s.t.Helper()
	found, err := s.cloud.List(s.t.Context(), purge.Directory{Bucket: purgetest.Bucket, Prefix: prefix})
	if err != nil {
		s.t.Fatal(err)
	}
	for _, g := range found {
		if err := s.cloud.Delete(s.t.Context(), g); err != nil {
			s.t.Fatal(err)
		}
	}
}

func (s *stage) purge(ctx context.Context) (purge.Result, error) {
	return s.purger.Purge(ctx, purge.Task{Request: request, User: userA})
}

// checkPurged makes sure that nothing of user 42 and everything of user 43 is there.
func (s *stage) checkPurged(t *testing.T, result purge.Result, err error) {
	t.Helper()
	want := purge.Counts{Certificates: 2, ObjectsErased: 12, ReferencesCleared: 3}
	if err != nil || result.State != purge.Done || result.Counts != want {
		t.Errorf("got %s %+v, error %v; want done %+v", result.State, result.Counts, err, want)
	}
	s.checkClean(t)
}

func (s *stage) checkClean(t *testing.T) {
	t.Helper()
	if refs := s.store.References(userA); len(refs) > 0 {
		t.Errorf("got references %v, want none", refs)
	}
	s.checkOthers(t)
	if got := len(s.cloud.Stored()); got != 4 {
		t.Errorf("got %d objects in the bucket, want the other user's 4", got)
	}
}

func (s *stage) checkOthers(t *testing.T) {
	t.Helper()
	if len(s.store.References(userB)) != 1 {
		t.Error("the other user's reference is gone")
	}
	for _, name := range []string{"downloads/" + hexID(9) + "/Certificate.pdf", "cert/" + hexID(109) + "/valid.html"} {
		if !slices.Contains(s.cloud.Stored(), purgetest.Stored(name, true)) {
			t.Errorf("the other user's object %s is gone", name)
		}
	}
}

// checkOrder fails if a reference was cleared although a file of it is left (invariant 1).
func (s *stage) checkOrder(t *testing.T) {
	t.Helper()
	left := s.store.References(userA)
	for n := 1; n <= 3; n++ {
		cleared := !slices.ContainsFunc(left, func(r purge.Reference) bool { return r.DownloadUUID == hexID(n) })
		for _, stored := range s.cloud.Stored() {
			if cleared && (strings.Contains(stored, hexID(n)) || strings.Contains(stored, hexID(100+n))) {
				t.Errorf("reference %d was cleared, but %s is still stored", n, stored)
			}
		}
	}
}

func TestPurgeErasesThenClears(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	result, err := s.purge(t.Context())
	s.checkPurged(t, result, err)
}

// TestPurgeOfOneCertificate purges the first of two, whose links the history knows, too.
func TestPurgeOfOneCertificate(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	accepted, err := s.store.Accept(t.Context(), []purge.Submission{{
		User: userA, Certificate: 1,
		Key: purge.CertificateKey(1), Source: purge.SourceBackfill,
	}})
	if err != nil {
		t.Fatal(err)
	}
	result, err := s.purger.Purge(t.Context(), purge.Task{Request: accepted[0].Request, User: userA, Certificate: 1})
	want := purge.Counts{Certificates: 1, ObjectsErased: 8, ReferencesCleared: 2}
	if err != nil || result.State != purge.Done || result.Counts != want {
		t.Errorf("got %s %+v, error %v; want done %+v", result.State, result.Counts, err, want)
	}
	left := s.store.References(userA)
	if len(left) != 1 || left[0].CertificateID != 2 || len(s.cloud.Stored()) != 8 {
		t.Errorf("got references %v and %d objects, want those of certificate 2 and of the other user", left,
			len(s.cloud.Stored()))
	}
	s.checkOthers(t)
	result, err = s.purge(t.Context()) // the whole user is a request of its own, still open
	if err != nil || result.State != purge.Done || result.Counts.ObjectsErased != 4 {
		t.Errorf("the rest: got %+v, error %v", result, err)
	}
	s.checkClean(t)
	accepted, err = s.store.Accept(t.Context(), []purge.Submission{{
		User: userA, Certificate: 9,
		Key: purge.CertificateKey(9), Source: purge.SourceBackfill,
	}})
	if err != nil {
		t.Fatal(err)
	}
	result, err = s.purger.Purge(t.Context(), purge.Task{Request: accepted[0].Request, User: userA, Certificate: 9})
	if err != nil || result.Reason != purge.ReasonNothingToPurge {
		t.Errorf("a certificate of another user: got %+v, error %v, want nothing to purge", result, err)
	}
	s.checkOthers(t)
}

func TestPurgeTwiceDoesNothingMore(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	first, err := s.purge(t.Context())
	s.checkPurged(t, first, err)
	second, err := s.purge(t.Context())
	if err != nil || !second.Again || second.State != purge.Done || second.Counts != first.Counts {
		t.Errorf("got %+v, error %v; want the first result again", second, err)
	}
}

func TestPurgeTwoAtATime(t *testing.T) {
	t.Parallel()
	for range 50 {
		s := newStage(t)
		var wg sync.WaitGroup
		for range 2 {
			wg.Go(func() {
				if _, err := s.purge(t.Context()); err != nil && purge.ClassOf(err) != purge.Transient {
					t.Errorf("got error %v", err)
				}
			})
		}
		wg.Wait()
		result, err := s.purge(t.Context())
		s.checkPurged(t, result, err)
	}
}

// TestPurgeFailingAtEachCall lets the n-th call of any kind fail, for every n, and purges again until it is done.
func TestPurgeFailingAtEachCall(t *testing.T) {
	t.Parallel()
	for _, cancelled := range []bool{false, true} {
		for n := 1; ; n++ {
			s := newStage(t)
			ctx, cancel := context.WithCancel(t.Context())
			f := &failer{at: n, cancel: cancel, cancelled: cancelled}
			s.store.Fail = f.step
			s.purger.Objects = failingObjects{s.cloud, f}
			_, err := s.purge(ctx)
			cancel()
			if !f.fired() {
				break // there is no n-th call
			}
			s.checkOrder(t)
			s.checkOthers(t)
			var result purge.Result
			for range 4 {
				if result, err = s.purge(t.Context()); err == nil {
					break
				}
			}
			s.checkPurged(t, result, err)
			if t.Failed() {
				t.Fatalf("with call %d failing (cancelled: %v)", n, cancelled)
			}
		}
	}
}

// failer makes the at-th call fail before or after its work; or cancels the context then.
type failer struct {
	mu        sync.Mutex
	calls, at int
	cancelled bool
	cancel    func()
}

var errInjected = &purge.Error{Class: purge.Transient, Text: "injected"}

func (f *failer) step(string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls++
	if f.calls != f.at {
		return nil
	}
	if f.cancelled {
		f.cancel()
		return nil
	}
	return errInjected
}

func (f *failer) fired() bool { f.mu.Lock(); defer f.mu.Unlock(); return f.calls >= f.at }

type failingObjects struct {
	purge.Objects
	f *failer
}

func (o failingObjects) List(ctx context.Context, dir purge.Directory) ([]purge.Generation, error) {
	if err := o.f.step("list"); err != nil {
		return nil, err
	}
	return o.Objects.List(ctx, dir)
}

// Delete does its work and may say afterwards that it failed: the lost answer.
func (o failingObjects) Delete(ctx context.Context, g purge.Generation) error {
	err := o.Objects.Delete(ctx, g)
	if lost := o.f.step("delete"); lost != nil {
		return lost
	}
	return err
}

func TestPurgeRefusesWhoIsNotRetiring(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		retirement purge.Retirement
		reason     purge.Reason
	}{
		"no request":   {purge.Retirement{UserExists: true}, purge.ReasonNotRetiring},
		"pending":      {purge.Retirement{UserExists: true, Requested: true, State: "PENDING"}, purge.ReasonNotRetiring},
		"aborted":      {purge.Retirement{UserExists: true, Requested: true, State: "ABORTED"}, purge.ReasonNotRetiring},
		"unknown user": {purge.Retirement{}, purge.ReasonUnknownUser},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStage(t)
			before := s.cloud.Stored()
			s.store.SetUser(userA, tc.retirement)
			s.cloud.Before(purgetest.OpList, func() { t.Error("the bucket was asked about a user who may not be purged") })
			result, err := s.purge(t.Context())
			if err != nil || result.State != purge.Refused || result.Reason != tc.reason {
				t.Errorf("got %s (%s), error %v; want refused (%s)", result.State, result.Reason, err, tc.reason)
			}
			if diff := cmp.Diff(before, s.cloud.Stored()); diff != "" || len(s.store.References(userA)) != 3 {
				t.Errorf("something was touched: %s", diff)
			}
		})
	}
	t.Run("without a status row any more", func(t *testing.T) {
		t.Parallel()
		s := newStage(t)
		s.store.SetUser(userA, purge.Retirement{UserExists: true, Requested: true})
		result, err := s.purge(t.Context())
		s.checkPurged(t, result, err)
	})
}

// TestPurgeAsksAgainBeforeTheFirstDelete cancels the retirement while the files are being listed.
func TestPurgeAsksAgainBeforeTheFirstDelete(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.cloud.Before(purgetest.OpList, func() { s.store.SetUser(userA, purge.Retirement{UserExists: true}) })
	before := s.cloud.Stored()
	result, err := s.purge(t.Context())
	if err != nil || result.State != purge.Refused || len(s.store.References(userA)) != 3 {
		t.Errorf("got %s, error %v, %d references; want refused and 3", result.State, err, len(s.store.References(userA)))
	}
	if diff := cmp.Diff(before, s.cloud.Stored()); diff != "" {
		t.Errorf("objects were touched: %s", diff)
	}
}

func TestPurgeClearsWhatItCanBesideAHeldCertificate(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.cloud.Hold("cert/"+hexID(102)+"/valid.html", true, false)
	result, err := s.purge(t.Context())
	if err != nil || result.State != purge.Failed || result.Reason != purge.ReasonHeld ||
		result.Counts.ReferencesCleared != 2 {
		t.Errorf("got %+v, error %v; want failed: held with 2 references cleared", result, err)
	}
	if refs := s.store.References(userA); len(refs) != 1 || refs[0].CertificateID != 2 {
		t.Errorf("got references %v, want that of certificate 2", refs)
	}
	s.checkOrder(t)
}

func TestPurgeKeepsAReferenceItDoesNotUnderstand(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.store.AddReference(userA, purge.Reference{
		Table: purge.Live, RowID: 5, CertificateID: 5,
		DownloadURL: "https://elsewhere.example.org/a.pdf",
	})
	result, err := s.purge(t.Context())
	if err != nil || result.State != purge.Failed || result.Reason != purge.ReasonUnrecognised ||
		result.Counts.ReferencesCleared != 3 {
		t.Errorf("got %+v, error %v; want failed: unrecognised_reference with 3 references cleared", result, err)
	}
	if strings.Contains(result.Detail, "elsewhere") {
		t.Errorf("the detail %q holds a part of the URL", result.Detail)
	}
}

func TestPurgeLeavesHistoryRowsWhenSwitchedOff(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.store.ClearHistory, s.purger.Policy.ClearHistory = false, false
	result, err := s.purge(t.Context())
	if err != nil || result.State != purge.Done || result.Counts.ReferencesCleared != 2 ||
		result.Counts.ObjectsErased != 12 {
		t.Errorf("got %+v, error %v; want done, 2 references cleared, all 12 objects erased", result, err)
	}
	if refs := s.store.References(userA); len(refs) != 1 || refs[0].Table != purge.History {
		t.Errorf("got references %v, want the history row's", refs)
	}
}

func TestPurgeGivesUpAfterCountedFailuresOnly(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.cloud.Trouble(purgetest.OpDelete, purgetest.TooManyRequests, -1)
	for range 10 {
		if result, err := s.purge(t.Context()); result.State != purge.Queued || purge.ClassOf(err) != purge.Throttled {
			t.Fatalf("got %s, %v; want queued: throttled", result.State, err)
		}
	}
	s.cloud.Fix()
	s.cloud.Trouble(purgetest.OpDelete, purgetest.ServerError503, -1)
	var states []string
	for range 3 {
		result, _ := s.purge(t.Context()) // the state says it
		states = append(states, string(result.State)+":"+string(result.Reason))
	}
	if diff := cmp.Diff([]string{"queued:transient", "queued:transient", "failed:gave_up"}, states); diff != "" {
		t.Errorf("states (-want +got):\n%s", diff)
	}
}

func TestPurgeGivesUpWhatIsTooOld(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.purger.Now = s.cloud.Now
	s.purger.Policy.MaxAge = 24 * time.Hour
	s.cloud.Trouble(purgetest.OpDelete, purgetest.TooManyRequests, -1)
	if result, _ := s.purge(t.Context()); result.State != purge.Queued {
		t.Errorf("young: got %+v, want queued", result)
	}
	s.cloud.Advance(25 * time.Hour)
	result, err := s.purge(t.Context())
	if err != nil || result.State != purge.Failed || result.Reason != purge.ReasonGaveUp ||
		!strings.Contains(result.Detail, "429") {
		t.Errorf("old: got %+v, %v; want failed: gave_up with the throttling in its detail", result, err)
	}
	s.cloud.Fix()
	s.cloud.Lock("cert/"+hexID(101)+"/valid.html", s.cloud.Now().Add(time.Hour))
	s.store.Now = s.cloud.Now
	s.accept(t)
	s.cloud.Advance(30 * time.Minute)
	s.purger.Policy.MaxAge = time.Minute
	if result, err := s.purge(t.Context()); result.Reason != purge.ReasonRetained || purge.ClassOf(err) != purge.Retained {
		t.Errorf("waiting for a date: got %+v, %v; want it to go on waiting", result, err)
	}
}

func TestPurgeGivesUpWhereWorkersDie(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	for range s.purger.Policy.MaxAttempts {
		if _, err := s.store.Begin(t.Context(), purge.Task{Request: request, User: userA}); err != nil {
			t.Fatal(err)
		}
		s.store.LapseLease(request)
	}
	before := s.cloud.Stored()
	result, err := s.purge(t.Context())
	if err != nil || result.State != purge.Failed || result.Reason != purge.ReasonGaveUp ||
		!strings.Contains(result.Detail, "workers died") {
		t.Errorf("got %+v, %v; want failed: gave_up", result, err)
	}
	if diff := cmp.Diff(before, s.cloud.Stored()); diff != "" {
		t.Errorf("something was touched: %s", diff)
	}
	s.accept(t)
	result, err = s.purge(t.Context())
	s.checkPurged(t, result, err)
}

func TestPurgeStopsBetweenObjects(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	stop := make(chan struct{})
	s.cloud.Before(purgetest.OpList, func() { close(stop) })
	before := s.cloud.Stored()
	result, err := s.purge(purge.WithStop(t.Context(), stop))
	if purge.ClassOf(err) != purge.Stopped || result.State != purge.Queued || result.Reason != purge.ReasonStopped {
		t.Errorf("got %s (%s), %v; want queued: stopped", result.State, result.Reason, err)
	}
	if diff := cmp.Diff(before, s.cloud.Stored()); diff != "" {
		t.Errorf("something was deleted after the stop: %s", diff)
	}
	result, err = s.purge(t.Context())
	s.checkPurged(t, result, err)
}

func TestPurgeAcceptsSoftDeleteOnlyIfConfigured(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.cloud.AcceptSoftDelete = true // the store lets it pass, the policy does not
	s.store.Now = s.cloud.Now
	s.cloud.SoftDelete(7 * 24 * time.Hour)
	result, err := s.purge(t.Context())
	e, ok := errors.AsType[*purge.Error](err)
	if !ok || e.Class != purge.SoftDeleting || e.Until.IsZero() || result.Reason != purge.ReasonSoftDeleted ||
		len(s.store.References(userA)) != 3 {
		t.Fatalf("got %+v, %v; want queued: soft_deleted with a date, references kept", result, err)
	}
	s.cloud.Advance(8 * 24 * time.Hour)
	result, err = s.purge(t.Context())
	if err != nil || result.State != purge.Done || result.Counts.ObjectsErased != 12 {
		t.Errorf("after the date: got %+v, %v; want done", result, err)
	}
}

func TestPurgeRefusesAnUnknownRequest(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	for _, task := range []purge.Task{{Request: 99, User: userA}, {Request: request, User: userB}} {
		if _, err := s.purger.Purge(t.Context(), task); !errors.Is(err, purge.ErrUnknownRequest) {
			t.Errorf("%+v: got %v, want ErrUnknownRequest", task, err)
		}
	}
	if len(s.cloud.Stored()) != 16 {
		t.Error("objects were touched")
	}
}

// TestPurgeKeepsTheEvidenceOfAKilledAttempt records nothing in the first attempt, as if the worker had been killed.
func TestPurgeKeepsTheEvidenceOfAKilledAttempt(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.store.Fail = func(step string) error {
		if step == "record" {
			return errInjected
		}
		return nil
	}
	if _, err := s.purge(t.Context()); err == nil || len(s.cloud.Stored()) != 4 || len(s.store.References(userA)) != 3 {
		t.Fatal("want a failure after the deletes and before the clearing")
	}
	s.store.Fail = nil
	result, err := s.purge(t.Context())
	s.checkPurged(t, result, err)
}

// TestAnAttemptWhoseTimeIsOverRecordsWhatItDid ends the attempt's context when the first delete begins.
func TestAnAttemptWhoseTimeIsOverRecordsWhatItDid(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	ctx, cancel := context.WithCancel(t.Context())
	s.cloud.Before(purgetest.OpDelete, cancel)
	result, err := s.purge(ctx)
	if purge.ClassOf(err) != purge.Transient || result.State != purge.Queued || result.Reason != purge.ReasonTransient {
		t.Errorf("got %+v, %v; want it recorded as queued: transient", result, err)
	}
	next, err := s.store.Begin(t.Context(), purge.Task{Request: request, User: userA})
	if err != nil || next.Lapsed != 0 || next.Failures != 1 {
		t.Errorf("the next attempt: got %+v, %v; want one counted failure, and none that recorded nothing", next, err)
	}
}

func TestAcceptFollowsTheIdempotencyRules(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	if a := s.accept(t); a.Found != "queued" || !a.Open || a.Request != request {
		t.Errorf("while queued: got %+v", a)
	}
	if _, err := s.purge(t.Context()); err != nil {
		t.Fatal(err)
	}
	if a := s.accept(t); a.Found != "done" || a.Open {
		t.Errorf("when done: got %+v, want already done", a)
	}
	s.add(userA, purge.Reference{
		Table: purge.Live, RowID: 4, CertificateID: 4, DownloadUUID: hexID(4),
		DownloadURL: url(hexID(4)),
	})
	if a := s.accept(t); a.Found != "done" || !a.Open || a.Request != request {
		t.Errorf("when references are back: got %+v, want a new run", a)
	}
	result, err := s.purge(t.Context())
	if err != nil || result.State != purge.Done || result.Again {
		t.Errorf("second run: got %+v, %v", result, err)
	}
}
