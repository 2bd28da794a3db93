package gcstest_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"cloud.google.com/go/storage"

	"github.com/certpurge/certpurge/internal/gcs/gcstest"
)

func TestBucketAttributes(t *testing.T) {
	t.Parallel()
	plain := newWorld(t, gcstest.BucketConfig{})
	a, err := plain.bucket.Attrs(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "versioning", a.VersioningEnabled, false)
	equal(t, "requester pays", a.RequesterPays, false)
	equal(t, "retention", a.RetentionPolicy == nil, true)
	equal(t, "soft delete", a.SoftDeletePolicy.RetentionDuration, 0)
	equal(t, "created", a.Created, noon)
	equal(t, "uniform access", a.UniformBucketLevelAccess.Enabled, true)

	full := newWorld(t, gcstest.BucketConfig{
		Versioning: true, SoftDelete: week, Retention: time.Hour, RequesterPays: true,
	})
	full.clock.Advance(time.Minute)
	update(t, full, func(c *gcstest.BucketConfig) { c.SoftDelete = 2 * week })
	if a, err = full.bucket.UserProject("billed").Attrs(t.Context()); err != nil {
		t.Fatal(err)
	}
	equal(t, "versioning", a.VersioningEnabled, true)
	equal(t, "requester pays", a.RequesterPays, true)
	equal(t, "retention", a.RetentionPolicy.RetentionPeriod, time.Hour)
	equal(t, "retention since", a.RetentionPolicy.EffectiveTime, noon)
	equal(t, "soft delete", a.SoftDeletePolicy.RetentionDuration, 2*week)
	equal(t, "soft delete since", a.SoftDeletePolicy.EffectiveTime, noon.Add(time.Minute))
	equal(t, "metageneration", a.MetaGeneration, 2)
}

func TestBucketThatIsNotThere(t *testing.T) {
	t.Parallel()
	w := newWorld(t, gcstest.BucketConfig{})
	w.put(t, "a", gcstest.ObjectOptions{})
	w.DeleteBucket("b")
	if _, err := w.bucket.Attrs(t.Context()); !errors.Is(err, storage.ErrBucketNotExist) {
		t.Errorf("attributes: got %v, want ErrBucketNotExist", err)
	}
	if _, err := w.bucket.Object("a").Attrs(t.Context()); !errors.Is(err, storage.ErrObjectNotExist) {
		t.Errorf("object attributes: got %v, want ErrObjectNotExist", err)
	}
	if _, err := w.bucket.IAM().TestPermissions(t.Context(), []string{"storage.objects.delete"}); err == nil {
		t.Error("permissions: got no error")
	}
	for what, err := range map[string]error{
		"put": second(w.Put("b", "a", nil, gcstest.ObjectOptions{})), "hold": w.SetHold("b", "a", true, false),
		"retain": w.Retain("b", "a", noon), "update": w.UpdateBucket("b", func(*gcstest.BucketConfig) {}),
		"rename": w.RenameBucket("b", "c"),
	} {
		if e, ok := errors.AsType[*gcstest.Error](err); !ok || e.Code != http.StatusNotFound {
			t.Errorf("%s: got %v, want code 404", what, err)
		}
	}
	equal(t, "objects", len(w.Objects("b", "")), 0)
}

func TestPermissionsAreTestedAndDenied(t *testing.T) {
	t.Parallel()
	w := newWorld(t, gcstest.BucketConfig{})
	asked := []string{"storage.objects.delete", "storage.objects.list", "storage.buckets.get"}
	got, err := w.bucket.IAM().TestPermissions(t.Context(), asked)
	if err != nil {
		t.Fatal(err)
	}
	equalSlices(t, "all", got, asked)
	w.Deny("b", "storage.objects.delete", "storage.buckets.get")
	if got, err = w.bucket.IAM().TestPermissions(t.Context(), asked); err != nil {
		t.Fatal(err)
	}
	equalSlices(t, "some denied", got, []string{"storage.objects.list"})
	_, err = w.bucket.Attrs(t.Context())
	if code, reason := refusal(err); code != 403 || reason != "forbidden" {
		t.Errorf("attributes: got %d %s", code, reason)
	}
	w.CreateBucket("taken", gcstest.BucketConfig{})
	if e, ok := errors.AsType[*gcstest.Error](w.RenameBucket("b", "taken")); !ok || e.Code != http.StatusConflict {
		t.Errorf("renaming to a name that is taken: got %v, want code 409", e)
	}
	// The bucket takes its permissions along.
	equal(t, "renaming", w.RenameBucket("b", "c"), nil)
	if got, err = w.client.Bucket("c").IAM().TestPermissions(t.Context(), asked); err != nil || len(got) != 1 {
		t.Errorf("after renaming: got %v, %v", got, err)
	}
}

func TestContentIsStoredAndRead(t *testing.T) {
	t.Parallel()
	w := newWorld(t, gcstest.BucketConfig{})
	options := gcstest.ObjectOptions{ContentType: "application/pdf", CacheControl: "public, max-age=3600"}
	generation, err := w.Put("b", "downloads/x/Certificate.pdf", []byte("%PDF-1.7 content"), options)
	if err != nil {
		t.Fatal(err)
	}
	stored := w.Objects("b", "downloads/")
	if len(stored) != 1 || stored[0].Generation != generation || stored[0].Size != 16 || !stored[0].Live {
		t.Fatalf("stored: got %+v", stored)
	}
	equal(t, "content type", stored[0].ContentType, "application/pdf")
	equal(t, "cache control", stored[0].CacheControl, "public, max-age=3600")
	got := w.send(t, http.MethodGet, w.baseURL+"b/b/o/downloads%2Fx%2FCertificate.pdf?alt=media", nil)
	equal(t, "alt=media", got.header.Get("Content-Type")+" "+got.body, "application/pdf %PDF-1.7 content")
}

func TestHookChangesTheWorldInTheMiddle(t *testing.T) {
	t.Parallel()
	w := newWorld(t, gcstest.BucketConfig{})
	old := w.put(t, "a", gcstest.ObjectOptions{})
	equalSlices(t, "listed", w.names(t, nil), []string{"a"})
	var mu sync.Mutex
	var seen []string
	w.SetHook(func(op, bucket, name string) {
		mu.Lock()
		defer mu.Unlock()
		seen = append(seen, op+" "+bucket+" "+name)
		if op == gcstest.OpDelete {
			w.put(t, "a", gcstest.ObjectOptions{}) // Another program replaces the object just now.
		}
	})
	if err := w.bucket.Object("a").Generation(old).Delete(t.Context()); !errors.Is(err, storage.ErrObjectNotExist) {
		t.Errorf("got %v, want ErrObjectNotExist", err)
	}
	equalSlices(t, "left", w.states("a"), []string{"live"})
	w.SetHook(nil)
	equal(t, "without the hook", w.bucket.Object("a").Delete(t.Context()), nil)
	equalSlices(t, "seen", seen, []string{"delete b a"})
}

func TestStatsCountRequestsByOperation(t *testing.T) {
	t.Parallel()
	w := newWorld(t, gcstest.BucketConfig{})
	w.put(t, "a", gcstest.ObjectOptions{})
	ctx := t.Context()
	var both sync.WaitGroup
	both.Add(2)
	w.SetHook(func(op, _, _ string) {
		if op == gcstest.OpGet { // The two reads wait for each other, so they are in flight together.
			both.Done()
			both.Wait()
		}
	})
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() { _, _ = w.bucket.Object("a").Attrs(ctx) })
	}
	wg.Wait()
	_, _ = w.bucket.Attrs(ctx)
	_, _ = w.bucket.IAM().TestPermissions(ctx, []string{"storage.objects.list"})
	w.names(t, nil)
	_ = w.bucket.Object("a").Delete(ctx)
	_ = w.bucket.Object("a").Delete(ctx)
	_ = w.bucket.Delete(ctx)
	got := w.Stats()
	got.InFlight = 0 // The last handler may still be returning.
	equal(t, "stats", got, gcstest.Stats{
		BucketGets: 1, PermissionTests: 1, Lists: 1, Gets: 2, Deletes: 2, Others: 1, ObjectsDeleted: 1,
		MaxInFlight: 2,
	})
	equal(t, "requests", got.Requests(), 8)
}

func TestStopWakesWaitingRequestsAndMayBeRepeated(t *testing.T) {
	t.Parallel()
	s := gcstest.New()
	s.CreateBucket("b", gcstest.BucketConfig{})
	s.AddFault(gcstest.Fault{Latency: time.Hour})
	baseURL, stop, err := s.Start()
	if err != nil {
		t.Fatal(err)
	}
	arrived := make(chan struct{})
	s.SetHook(func(string, string, string) { close(arrived) })
	var wg sync.WaitGroup
	wg.Go(func() {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, baseURL+"b/b", http.NoBody)
		if err != nil {
			t.Error(err)
			return
		}
		answer, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(r)
		if err == nil {
			_ = answer.Body.Close()
			t.Errorf("got status %d, want no answer", answer.StatusCode)
		}
	})
	<-arrived
	stop()
	stop()
	wg.Wait()
	equal(t, "in flight", s.Stats().InFlight, 0)
}

// TestManyClientsAtOnce is for the race detector: every way in, at the same time.
func TestManyClientsAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, gcstest.BucketConfig{Versioning: true, SoftDelete: week})
	w.SetFaults(1, gcstest.Fault{Op: gcstest.OpDelete, Status: 503, Probability: 0.2, Jitter: time.Millisecond})
	names := strings.Split("abcdefgh", "")
	var wg sync.WaitGroup
	for _, name := range names {
		wg.Go(func() {
			for range 20 {
				generation, err := w.Put("b", name, []byte(name), gcstest.ObjectOptions{})
				if err != nil {
					t.Error(err)
				}
				if _, err := attrs(t.Context(), w.bucket, &storage.Query{Prefix: name, Versions: true}); err != nil {
					t.Error(err)
				}
				_ = w.SetHold("b", name, false, false)
				_ = w.bucket.Object(name).Delete(t.Context())
				_ = w.bucket.Object(name).Generation(generation).Delete(t.Context())
				w.Objects("b", "")
				_ = w.UpdateBucket("b", func(c *gcstest.BucketConfig) { c.SoftDelete = week })
				w.AddFault(gcstest.Fault{Op: gcstest.OpOther})
				w.Allow("b", "storage.objects.list")
				w.Stats()
			}
		})
	}
	wg.Wait()
}

// status asks the handler itself, without a network.
func status(t *testing.T, s *gcstest.Server, path string) int {
	t.Helper()
	w := httptest.NewRecorder()
	s.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, http.NoBody))
	return w.Code
}

func second[T any](_ T, err error) error { return err }
