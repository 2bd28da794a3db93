package gcstest_test

import (
	"errors"
	"net/http"
	"testing"
	"time"

	"cloud.google.com/go/storage"

	"github.com/certpurge/certpurge/internal/gcs/gcstest"
)

const week = 7 * 24 * time.Hour

func TestSoftDeletedObjectVanishesByTheClock(t *testing.T) {
	t.Parallel()
	w := newWorld(t, gcstest.BucketConfig{SoftDelete: week})
	generation := w.put(t, "a", gcstest.ObjectOptions{})
	w.clock.Advance(time.Hour)
	object := w.bucket.Object("a")
	if err := object.Generation(generation).Delete(t.Context()); err != nil {
		t.Fatal(err)
	}
	deleted := noon.Add(time.Hour)

	equal(t, "generations listed", len(w.names(t, &storage.Query{Versions: true})), 0)
	soft, err := attrs(t.Context(), w.bucket, &storage.Query{SoftDeleted: true})
	if err != nil || len(soft) != 1 {
		t.Fatalf("soft-deleted: got %v, %v", soft, err)
	}
	equal(t, "soft delete time", soft[0].SoftDeleteTime, deleted)
	equal(t, "hard delete time", soft[0].HardDeleteTime, deleted.Add(week))
	equal(t, "deletion time", soft[0].Deleted.IsZero(), true)
	a, err := object.Generation(generation).SoftDeleted().Attrs(t.Context())
	if err != nil || a.Generation != generation {
		t.Errorf("metadata by generation: got %v, %v", a, err)
	}
	if err := object.Generation(generation).Delete(t.Context()); !errors.Is(err, storage.ErrObjectNotExist) {
		t.Errorf("deleting again: got %v, want ErrObjectNotExist", err)
	}

	w.clock.Advance(week - time.Millisecond)
	equalSlices(t, "a moment before", w.states(""), []string{"soft-deleted"})
	w.clock.Advance(time.Millisecond)
	equal(t, "stored after the time", len(w.Objects("b", "")), 0)
	equal(t, "listed after the time", len(w.names(t, &storage.Query{SoftDeleted: true})), 0)
	if _, err := object.Generation(generation).SoftDeleted().Attrs(t.Context()); !errors.Is(err,
		storage.ErrObjectNotExist) {
		t.Errorf("metadata after the time: got %v, want ErrObjectNotExist", err)
	}
}

func TestSoftDeletePolicyCountsAtTheTimeOfTheDelete(t *testing.T) {
	t.Parallel()
	w := newWorld(t, gcstest.BucketConfig{SoftDelete: week})
	for i, policy := range []time.Duration{week, 2 * week, 0} {
		update(t, w, func(c *gcstest.BucketConfig) { c.SoftDelete = policy })
		name := string(rune('a' + i))
		w.put(t, name, gcstest.ObjectOptions{})
		if err := w.bucket.Object(name).Delete(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	stored := w.Objects("b", "")
	if len(stored) != 2 {
		t.Fatalf("got %v, want two soft-deleted objects", stored)
	}
	equal(t, "first policy", stored[0].SoftDeletedUntil, noon.Add(week))
	equal(t, "second policy", stored[1].SoftDeletedUntil, noon.Add(2*week))
}

func TestOverwriteKeepsTheOldGenerationAsTheBucketSays(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		config gcstest.BucketConfig
		states []string
	}{
		"plain bucket forgets it":         {gcstest.BucketConfig{}, []string{"live"}},
		"soft delete keeps it restorable": {gcstest.BucketConfig{SoftDelete: week}, []string{"soft-deleted", "live"}},
		"versioning makes it noncurrent":  {gcstest.BucketConfig{Versioning: true}, []string{"noncurrent", "live"}},
		"versioning comes before soft delete": {
			gcstest.BucketConfig{Versioning: true, SoftDelete: week},
			[]string{"noncurrent", "live"},
		},
	}
	for behaviour, tc := range tests {
		t.Run(behaviour, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, tc.config)
			first := w.put(t, "a", gcstest.ObjectOptions{})
			second := w.put(t, "a", gcstest.ObjectOptions{})
			if second <= first {
				t.Errorf("generations: got %d after %d on a clock that stands still", second, first)
			}
			equalSlices(t, "states", w.states("a"), tc.states)
		})
	}
}

func TestNoncurrentGenerationIsSoftDeletedToo(t *testing.T) {
	t.Parallel()
	w := newWorld(t, gcstest.BucketConfig{Versioning: true, SoftDelete: week})
	generation := w.put(t, "a", gcstest.ObjectOptions{})
	object := w.bucket.Object("a")
	if err := object.Delete(t.Context()); err != nil {
		t.Fatal(err)
	}
	equalSlices(t, "after a plain delete", w.states("a"), []string{"noncurrent"})
	if err := object.Generation(generation).Delete(t.Context()); err != nil {
		t.Fatal(err)
	}
	equalSlices(t, "after a delete by generation", w.states("a"), []string{"soft-deleted"})
	stats := w.Stats()
	equal(t, "archived", stats.ObjectsArchived, 1)
	equal(t, "deleted", stats.ObjectsDeleted, 1)
}

func TestRetentionEndsByTheClock(t *testing.T) {
	t.Parallel()
	w := newWorld(t, gcstest.BucketConfig{Retention: time.Hour})
	generation := w.put(t, "a", gcstest.ObjectOptions{})
	object := w.bucket.Object("a").Generation(generation)
	a, err := object.Attrs(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "expiration", a.RetentionExpirationTime, noon.Add(time.Hour))
	w.clock.Advance(time.Hour - time.Microsecond)
	if code, reason := refusal(object.Delete(t.Context())); code != 403 || reason != "retentionPolicyNotMet" {
		t.Errorf("a moment before: got %d %s", code, reason)
	}
	w.clock.Advance(time.Microsecond)
	if err := object.Delete(t.Context()); err != nil {
		t.Errorf("at the time: got %v", err)
	}
}

func TestObjectRetentionIsListedAndOutlivesTheBucketsOwn(t *testing.T) {
	t.Parallel()
	w := newWorld(t, gcstest.BucketConfig{Retention: time.Hour})
	w.put(t, "a", gcstest.ObjectOptions{})
	if err := w.Retain("b", "a", noon.Add(week)); err != nil {
		t.Fatal(err)
	}
	a, err := w.bucket.Object("a").Attrs(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "expiration", a.RetentionExpirationTime, noon.Add(week))
	if a.Retention == nil || !a.Retention.RetainUntil.Equal(noon.Add(week)) {
		t.Errorf("retention: got %+v", a.Retention)
	}
	equal(t, "back door", w.Objects("b", "")[0].RetainedUntil, noon.Add(week))
	if err := w.Retain("b", "a", time.Time{}); err != nil {
		t.Fatal(err)
	}
	equal(t, "taken away", w.Objects("b", "")[0].RetainedUntil, noon.Add(time.Hour))
}

func TestReleasingAnEventBasedHoldStartsRetentionAnew(t *testing.T) {
	t.Parallel()
	w := newWorld(t, gcstest.BucketConfig{Retention: time.Hour})
	w.put(t, "a", gcstest.ObjectOptions{EventBasedHold: true})
	object := w.bucket.Object("a")
	a, err := object.Attrs(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "hold", a.EventBasedHold, true)
	equal(t, "expiration is unknown under the hold", a.RetentionExpirationTime.IsZero(), true)
	w.clock.Advance(24 * time.Hour)
	if err := w.SetHold("b", "a", false, false); err != nil {
		t.Fatal(err)
	}
	if _, reason := refusal(object.Delete(t.Context())); reason != "retentionPolicyNotMet" {
		t.Errorf("after the release: got %q", reason)
	}
	w.clock.Advance(time.Hour)
	if err := object.Delete(t.Context()); err != nil {
		t.Errorf("an hour after the release: got %v", err)
	}
}

func TestNoncurrentGenerationMayBeHeldToo(t *testing.T) {
	t.Parallel()
	w := newWorld(t, gcstest.BucketConfig{Versioning: true})
	old := w.put(t, "a", gcstest.ObjectOptions{})
	w.put(t, "a", gcstest.ObjectOptions{})
	if err := w.SetGenerationHold("b", "a", old, true, false); err != nil {
		t.Fatal(err)
	}
	code, _ := refusal(w.bucket.Object("a").Generation(old).Delete(t.Context()))
	equal(t, "code", code, http.StatusForbidden)
	equal(t, "live one", w.bucket.Object("a").Delete(t.Context()), nil)
	equalSlices(t, "left", w.states("a"), []string{"noncurrent", "noncurrent"})
	if e, ok := errors.AsType[*gcstest.Error](w.SetHold("b", "a", true, false)); !ok || e.Code != http.StatusNotFound {
		t.Errorf("holding the live one that is gone: got %v, want code 404", e)
	}
}

func TestHoldsAndRetentionForbidOverwriting(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		config  gcstest.BucketConfig
		options gcstest.ObjectOptions
		reason  string
	}{
		"hold": {options: gcstest.ObjectOptions{TemporaryHold: true}, reason: "forbidden"},
		"hold in a versioned bucket": {
			gcstest.BucketConfig{Versioning: true},
			gcstest.ObjectOptions{EventBasedHold: true},
			"forbidden",
		},
		"retention": {
			config: gcstest.BucketConfig{Retention: time.Hour},
			reason: "retentionPolicyNotMet",
		},
		"retention in a versioned bucket": {config: gcstest.BucketConfig{Versioning: true, Retention: time.Hour}},
	}
	for behaviour, tc := range tests {
		t.Run(behaviour, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, tc.config)
			w.put(t, "a", tc.options)
			_, err := w.Put("b", "a", nil, gcstest.ObjectOptions{})
			reason := ""
			if e, ok := errors.AsType[*gcstest.Error](err); ok {
				reason = e.Reason
			}
			equal(t, "reason", reason, tc.reason)
		})
	}
}
