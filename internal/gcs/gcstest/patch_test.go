package gcstest_test

import (
	"context"
	"net/http"
	"testing"
	"time"

	"cloud.google.com/go/storage"

	"github.com/certpurge/certpurge/internal/gcs/gcstest"
)

// TestObjectsAreChanged changes the metadata of an object, or fails to, and then looks at it.
func TestObjectsAreChanged(t *testing.T) {
	t.Parallel()
	type options = gcstest.ObjectOptions
	type update = storage.ObjectAttrsToUpdate
	until := noon.Add(48 * time.Hour)
	shorter := &storage.ObjectRetention{Mode: "Unlocked", RetainUntil: noon.Add(time.Hour)}
	unlocked := func(ctx context.Context, w *world, o *storage.ObjectHandle) error {
		return second(o.Update(ctx, update{Retention: &storage.ObjectRetention{Mode: "Unlocked", RetainUntil: until}}))
	}
	for behaviour, tc := range map[string]struct {
		options options
		prepare func(ctx context.Context, w *world, o *storage.ObjectHandle) error
		handle  func(o *storage.ObjectHandle, generation int64) *storage.ObjectHandle
		change  update
		code    int
		reason  string
		want    func(a *storage.ObjectAttrs) bool
	}{
		"temporary hold": {
			change: update{TemporaryHold: true}, want: func(a *storage.ObjectAttrs) bool { return a.TemporaryHold },
		},
		"event-based hold, under a temporary one": {
			options: options{TemporaryHold: true}, change: update{EventBasedHold: true},
			want: func(a *storage.ObjectAttrs) bool { return a.TemporaryHold && a.EventBasedHold },
		},
		"holds are released": {
			options: options{TemporaryHold: true, EventBasedHold: true},
			change:  update{TemporaryHold: false, EventBasedHold: false},
			want:    func(a *storage.ObjectAttrs) bool { return !a.TemporaryHold && !a.EventBasedHold },
		},
		"type and caching; what is not named stays": {
			options: options{ContentType: "text/html", TemporaryHold: true},
			change:  update{CacheControl: "no-store", ContentType: "application/pdf"},
			want: func(a *storage.ObjectAttrs) bool {
				return a.CacheControl == "no-store" && a.ContentType == "application/pdf" && a.TemporaryHold
			},
		},
		"custom metadata, key by key": {
			prepare: func(ctx context.Context, _ *world, o *storage.ObjectHandle) error {
				return second(o.Update(ctx, update{Metadata: map[string]string{"a": "1", "b": "2"}}))
			},
			change: update{Metadata: map[string]string{"b": "3"}},
			want:   func(a *storage.ObjectAttrs) bool { return a.Metadata["a"] == "1" && a.Metadata["b"] == "3" },
		},
		"all custom metadata taken away": {
			prepare: func(ctx context.Context, _ *world, o *storage.ObjectHandle) error {
				return second(o.Update(ctx, update{Metadata: map[string]string{"a": "1"}}))
			},
			change: update{Metadata: map[string]string{}},
			want:   func(a *storage.ObjectAttrs) bool { return len(a.Metadata) == 0 },
		},
		"retention": {
			change: update{Retention: &storage.ObjectRetention{Mode: "Locked", RetainUntil: until}},
			want: func(a *storage.ObjectAttrs) bool {
				return a.Retention.Mode == "Locked" && a.Retention.RetainUntil.Equal(until) &&
					a.RetentionExpirationTime.Equal(until)
			},
		},
		"locked retention may grow": {
			options: options{RetainUntil: noon.Add(time.Hour)},
			change:  update{Retention: &storage.ObjectRetention{Mode: "Locked", RetainUntil: until}},
			want:    func(a *storage.ObjectAttrs) bool { return a.Retention.RetainUntil.Equal(until) },
		},
		"locked retention may not shrink": {
			options: options{RetainUntil: until}, change: update{Retention: shorter}, code: 403,
			reason: "retentionPolicyNotMet",
			want:   func(a *storage.ObjectAttrs) bool { return a.Retention.RetainUntil.Equal(until) },
		},
		"unlocked retention shrinks on demand only": {
			prepare: unlocked, change: update{Retention: shorter}, code: 403, reason: "retentionPolicyNotMet",
			want: func(a *storage.ObjectAttrs) bool { return a.Retention.RetainUntil.Equal(until) },
		},
		"unlocked retention is taken away": {
			prepare: unlocked, change: update{Retention: &storage.ObjectRetention{}},
			handle: func(o *storage.ObjectHandle, _ int64) *storage.ObjectHandle { return o.OverrideUnlockedRetention(true) },
			want:   func(a *storage.ObjectAttrs) bool { return a.Retention == nil && a.RetentionExpirationTime.IsZero() },
		},
		"one generation": {
			handle: byGeneration, change: update{TemporaryHold: true},
			want: func(a *storage.ObjectAttrs) bool { return a.TemporaryHold },
		},
		"generation that is gone": {
			handle: func(o *storage.ObjectHandle, g int64) *storage.ObjectHandle { return o.Generation(g - 1) },
			change: update{TemporaryHold: true}, code: 404, reason: "notFound",
			want: func(a *storage.ObjectAttrs) bool { return !a.TemporaryHold },
		},
		"stale generation": {
			handle: func(o *storage.ObjectHandle, g int64) *storage.ObjectHandle {
				return o.If(storage.Conditions{GenerationMatch: g - 1})
			},
			change: update{TemporaryHold: true}, code: 412, reason: "conditionNotMet",
			want: func(a *storage.ObjectAttrs) bool { return !a.TemporaryHold },
		},
		"stale metageneration": {
			handle: func(o *storage.ObjectHandle, _ int64) *storage.ObjectHandle {
				return o.If(storage.Conditions{MetagenerationMatch: 7})
			},
			change: update{TemporaryHold: true}, code: 412, reason: "conditionNotMet",
			want: func(a *storage.ObjectAttrs) bool { return !a.TemporaryHold },
		},
		"what is not emulated changes nothing": {
			change: update{TemporaryHold: true, ContentLanguage: "en"}, code: 400, reason: "notEmulated",
			want: func(a *storage.ObjectAttrs) bool { return !a.TemporaryHold },
		},
		"no permission": {
			prepare: func(_ context.Context, w *world, _ *storage.ObjectHandle) error {
				w.Deny("b", "storage.objects.update")
				return nil
			},
			change: update{TemporaryHold: true}, code: 403, reason: "forbidden",
			want: func(a *storage.ObjectAttrs) bool { return !a.TemporaryHold },
		},
	} {
		t.Run(behaviour, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, gcstest.BucketConfig{})
			generation := w.put(t, "a", tc.options)
			object := w.bucket.Object("a")
			if tc.prepare != nil {
				if err := tc.prepare(t.Context(), w, object); err != nil {
					t.Fatal(err)
				}
			}
			before, err := object.Attrs(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			w.clock.Advance(time.Minute)
			handle := object
			if tc.handle != nil {
				handle = tc.handle(object, generation)
			}
			_, err = handle.Update(t.Context(), tc.change)
			code, reason := refusal(err)
			equal(t, "code", code, tc.code)
			equal(t, "reason", reason, tc.reason)
			after, err := object.Attrs(t.Context())
			if err != nil || !tc.want(after) {
				t.Errorf("got %+v, %v", after, err)
			}
			changed := tc.code == 0
			equal(t, "generation", after.Generation, generation)
			equal(t, "metageneration grew", after.Metageneration == before.Metageneration+1, changed)
			equal(t, "updated", after.Updated.After(before.Updated), changed)
		})
	}
}

// TestAHoldThatIsReleasedStartsRetention: of an event-based hold the release does, and not of a temporary one.
func TestAHoldThatIsReleasedStartsRetention(t *testing.T) {
	t.Parallel()
	w := newWorld(t, gcstest.BucketConfig{Retention: time.Hour, DefaultEventBasedHold: true})
	w.put(t, "a", gcstest.ObjectOptions{})
	w.clock.Advance(30 * time.Minute)
	a, err := w.bucket.Object("a").Update(t.Context(), storage.ObjectAttrsToUpdate{EventBasedHold: false})
	if err != nil || !a.RetentionExpirationTime.Equal(noon.Add(90*time.Minute)) {
		t.Errorf("got %+v, %v; want it retained for an hour from now", a, err)
	}
}

// TestBucketsAreChanged changes settings of a bucket, one after the other, through the client.
func TestBucketsAreChanged(t *testing.T) {
	t.Parallel()
	w := newWorld(t, gcstest.BucketConfig{SoftDelete: week})
	metageneration := int64(1)
	change := func(what string, handle *storage.BucketHandle, u storage.BucketAttrsToUpdate, code int) *storage.BucketAttrs {
		t.Helper()
		_, err := handle.Update(t.Context(), u)
		got, reason := refusal(err)
		equal(t, what+": code, "+reason, got, code)
		if code == 0 {
			metageneration++
		}
		a, err := w.bucket.Attrs(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		equal(t, what+": metageneration", a.MetaGeneration, metageneration)
		return a
	}
	softDelete := func(d time.Duration) storage.BucketAttrsToUpdate {
		return storage.BucketAttrsToUpdate{SoftDeletePolicy: &storage.SoftDeletePolicy{RetentionDuration: d}}
	}
	a := change("versioning", w.bucket, storage.BucketAttrsToUpdate{VersioningEnabled: true}, 0)
	equal(t, "versioning", a.VersioningEnabled, true)
	equal(t, "what was not named", a.SoftDeletePolicy.RetentionDuration, week)
	a = change("soft delete off", w.bucket, softDelete(0), 0)
	equal(t, "soft delete off", a.SoftDeletePolicy.RetentionDuration, 0)
	w.clock.Advance(time.Minute)
	a = change("soft delete on", w.bucket, softDelete(2*week), 0)
	equal(t, "soft delete on", a.SoftDeletePolicy.RetentionDuration, 2*week)
	equal(t, "since", a.SoftDeletePolicy.EffectiveTime, noon.Add(time.Minute))
	for _, d := range []time.Duration{time.Hour, 91 * 24 * time.Hour} {
		change("soft delete out of bounds", w.bucket, softDelete(d), 400)
	}
	a = change("retention", w.bucket, storage.BucketAttrsToUpdate{
		RetentionPolicy: &storage.RetentionPolicy{RetentionPeriod: time.Hour},
	}, 0)
	equal(t, "retention", a.RetentionPolicy.RetentionPeriod, time.Hour)
	a = change("no retention", w.bucket, storage.BucketAttrsToUpdate{RetentionPolicy: &storage.RetentionPolicy{}}, 0)
	equal(t, "no retention", a.RetentionPolicy == nil, true)
	a = change("default hold", w.bucket, storage.BucketAttrsToUpdate{DefaultEventBasedHold: true}, 0)
	equal(t, "default hold", a.DefaultEventBasedHold, true)
	w.put(t, "a", gcstest.ObjectOptions{})
	equal(t, "a new object is held", w.Objects("b", "a")[0].EventBasedHold, true)
	change("not emulated", w.bucket, storage.BucketAttrsToUpdate{StorageClass: "NEARLINE"}, 400)
	change("stale", w.bucket.If(storage.BucketConditions{MetagenerationMatch: 1}), softDelete(week), 412)
	a = change("current", w.bucket.If(storage.BucketConditions{MetagenerationMatch: metageneration}), softDelete(week), 0)
	equal(t, "current", a.SoftDeletePolicy.RetentionDuration, week)
	w.Deny("b", "storage.buckets.update")
	change("no permission", w.bucket, softDelete(0), 403)
}

// TestAPolicyCountsForLaterDeletes: what was soft-deleted before keeps its time.
func TestAPolicyCountsForLaterDeletes(t *testing.T) {
	t.Parallel()
	w := newWorld(t, gcstest.BucketConfig{})
	for _, d := range []time.Duration{week, 2 * week, 0} {
		name := d.String()
		w.put(t, name, gcstest.ObjectOptions{})
		if _, err := w.bucket.Update(t.Context(), storage.BucketAttrsToUpdate{
			SoftDeletePolicy: &storage.SoftDeletePolicy{RetentionDuration: d},
		}); err != nil {
			t.Fatal(err)
		}
		if err := w.bucket.Object(name).Delete(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	var until []time.Time
	for _, o := range w.Objects("b", "") {
		until = append(until, o.SoftDeletedUntil)
	}
	equalSlices(t, "restorable until", until, []time.Time{noon.Add(week), noon.Add(2 * week)})
}

// TestFullProjectionNeedsItsRight: the client's own Attrs and Update ask for it.
func TestFullProjectionNeedsItsRight(t *testing.T) {
	t.Parallel()
	w := newWorld(t, gcstest.BucketConfig{})
	w.put(t, "a", gcstest.ObjectOptions{})
	w.Deny("b", "storage.objects.getIamPolicy", "storage.buckets.getIamPolicy")
	object, ctx := w.bucket.Object("a"), t.Context()
	for what, err := range map[string]error{
		"bucket":        second(w.bucket.Attrs(ctx)),
		"bucket change": second(w.bucket.Update(ctx, storage.BucketAttrsToUpdate{VersioningEnabled: true})),
		"object":        second(object.Attrs(ctx)),
		"object change": second(object.Update(ctx, storage.ObjectAttrsToUpdate{TemporaryHold: true})),
		"listing":       second(attrs(ctx, w.bucket, nil)),
	} {
		code, reason := refusal(err)
		equal(t, what, code, http.StatusForbidden)
		equal(t, what, reason, "forbidden")
	}
	equalSlices(t, "without", w.names(t, &storage.Query{Projection: storage.ProjectionNoACL}), []string{"a"})
	equal(t, "delete", object.Delete(ctx), nil)
}
