package gcstest_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"cloud.google.com/go/storage"

	"github.com/certpurge/certpurge/internal/gcs/gcstest"
)

// TestDeleteSituations is the situation table: what the real Go client reports, and what is really stored afterwards.
func TestDeleteSituations(t *testing.T) {
	t.Parallel()
	const name = "downloads/0123456789abcdef0123456789abcdef/Certificate.pdf"
	type options = gcstest.ObjectOptions
	versioned := gcstest.BucketConfig{Versioning: true}
	tests := map[string]struct {
		config  gcstest.BucketConfig
		options options
		absent  bool // Nothing is seeded.
		prepare func(ctx context.Context, w *world) error
		handle  func(o *storage.ObjectHandle, generation int64) *storage.ObjectHandle
		code    int
		reason  string
		message string
		missing bool // errors.Is ErrObjectNotExist.
		left    []string
	}{
		"plain delete in a plain bucket erases": {},
		"delete by generation in a plain bucket erases": {
			handle: byGeneration,
		},
		"object that never existed": {
			absent: true, missing: true, code: 404, reason: "notFound", message: "No such object: b/" + name,
		},
		"generation that is gone": {
			handle:  func(o *storage.ObjectHandle, g int64) *storage.ObjectHandle { return o.Generation(g - 1) },
			missing: true, code: 404, reason: "notFound", message: "No such object: b/" + name, left: []string{"live"},
		},
		"missing bucket looks like a missing object": {
			prepare: func(_ context.Context, w *world) error { return w.RenameBucket("b", "elsewhere") },
			missing: true, code: 404, reason: "notFound", message: "The specified bucket does not exist.",
		},
		"plain delete in a versioned bucket keeps the bytes": {
			config: versioned, left: []string{"noncurrent"},
		},
		"conditional delete in a versioned bucket keeps the bytes": {
			config: versioned, handle: ifGeneration, left: []string{"noncurrent"},
		},
		"delete by generation in a versioned bucket erases": {
			config: versioned, handle: byGeneration,
		},
		"delete by generation erases a noncurrent generation and leaves the live one": {
			config: versioned, handle: byGeneration, left: []string{"live"},
			prepare: func(_ context.Context, w *world) error { return second(w.Put("b", name, nil, options{})) },
		},
		"plain delete after the live object became noncurrent": {
			config: versioned, missing: true, code: 404, reason: "notFound", left: []string{"noncurrent"},
			prepare: func(ctx context.Context, w *world) error { return w.bucket.Object(name).Delete(ctx) },
		},
		"suspended versioning keeps the old generations": {
			config: versioned, left: []string{"noncurrent"},
			prepare: func(_ context.Context, w *world) error {
				_, err := w.Put("b", name, nil, options{})
				return errors.Join(err, w.UpdateBucket("b", func(c *gcstest.BucketConfig) { c.Versioning = false }))
			},
		},
		"soft delete keeps what a delete by generation deleted": {
			config: gcstest.BucketConfig{SoftDelete: 7 * 24 * time.Hour}, handle: byGeneration, left: []string{"soft-deleted"},
		},
		"temporary hold": {
			options: options{TemporaryHold: true}, handle: byGeneration, code: 403, reason: "forbidden", left: []string{"live"},
			message: "Object 'b/" + name + "' is under active Temporary hold and cannot be deleted, overwritten or archived " +
				"until hold is removed.",
		},
		"event-based hold": {
			options: options{EventBasedHold: true}, handle: byGeneration, code: 403, reason: "forbidden", left: []string{"live"},
			message: "Object 'b/" + name + "' is under active Event-Based hold and cannot be deleted, overwritten or archived " +
				"until hold is removed.",
		},
		"hold in a versioned bucket forbids archiving, too": {
			config: versioned, options: options{TemporaryHold: true}, code: 403, reason: "forbidden", left: []string{"live"},
		},
		"bucket retention": {
			config: gcstest.BucketConfig{Retention: time.Hour}, handle: byGeneration,
			code: 403, reason: "retentionPolicyNotMet", left: []string{"live"},
			message: "Object 'b/" + name + "' is subject to bucket's retention policy or object retention and cannot be " +
				"deleted or overwritten until 2026-03-02T06:00:00.000000-07:00",
		},
		"object retention": {
			options: options{RetainUntil: noon.Add(48 * time.Hour)}, handle: byGeneration,
			code: 403, reason: "retentionPolicyNotMet", left: []string{"live"},
			message: "until 2026-03-04T05:00:00.000000-07:00",
		},
		"retained live object can be made noncurrent": {
			config: gcstest.BucketConfig{Versioning: true, Retention: time.Hour}, left: []string{"noncurrent"},
		},
		"retained noncurrent generation cannot be deleted": {
			config: gcstest.BucketConfig{Versioning: true, Retention: time.Hour}, handle: byGeneration,
			code: 403, reason: "retentionPolicyNotMet", left: []string{"noncurrent"},
			prepare: func(ctx context.Context, w *world) error { return w.bucket.Object(name).Delete(ctx) },
		},
		"stale condition": {
			handle: func(o *storage.ObjectHandle, g int64) *storage.ObjectHandle {
				return o.If(storage.Conditions{GenerationMatch: g - 1})
			},
			code: 412, reason: "conditionNotMet", message: "At least one of the pre-conditions you specified did not hold.",
			left: []string{"live"},
		},
		"condition is checked before a hold": {
			options: options{TemporaryHold: true},
			handle: func(o *storage.ObjectHandle, g int64) *storage.ObjectHandle {
				return o.If(storage.Conditions{GenerationMatch: g - 1})
			},
			code: 412, reason: "conditionNotMet", left: []string{"live"},
		},
		"stale metageneration": {
			handle: func(o *storage.ObjectHandle, _ int64) *storage.ObjectHandle {
				return o.If(storage.Conditions{MetagenerationMatch: 7})
			},
			code: 412, reason: "conditionNotMet", left: []string{"live"},
		},
		"no permission": {
			prepare: func(_ context.Context, w *world) error { w.Deny("b", "storage.objects.delete"); return nil },
			handle:  byGeneration, code: 403, reason: "forbidden", left: []string{"live"},
			message: "does not have storage.objects.delete access to the Google Cloud Storage object. " +
				"Permission 'storage.objects.delete' denied on resource (or it may not exist).",
		},
		"no permission on an object that does not exist": {
			absent: true, prepare: func(_ context.Context, w *world) error { w.Deny("b", "storage.objects.delete"); return nil },
			code: 403, reason: "forbidden",
		},
		"permission given back": {
			prepare: func(_ context.Context, w *world) error {
				w.Deny("b", "storage.objects.delete")
				w.Allow("b", "storage.objects.delete")
				return nil
			},
		},
		"requester pays without a project": {
			config: gcstest.BucketConfig{RequesterPays: true}, code: 400, reason: "required", left: []string{"live"},
			message: "Bucket is a requester pays bucket but no user project provided.",
		},
	}
	for behaviour, tc := range tests {
		t.Run(behaviour, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, tc.config)
			var generation int64 = 1
			if !tc.absent {
				generation = w.put(t, name, tc.options)
			}
			if tc.prepare != nil {
				if err := tc.prepare(t.Context(), w); err != nil {
					t.Fatal(err)
				}
			}
			object := w.bucket.Object(name)
			if tc.handle != nil {
				object = tc.handle(object, generation)
			}
			err := object.Delete(t.Context())
			code, reason := refusal(err)
			equal(t, "code", code, tc.code)
			equal(t, "reason", reason, tc.reason)
			equal(t, "ErrObjectNotExist", errors.Is(err, storage.ErrObjectNotExist), tc.missing)
			if err != nil && !strings.Contains(err.Error(), tc.message) {
				t.Errorf("message: got %v, want %q in it", err, tc.message)
			}
			if err == nil && tc.code != 0 {
				t.Error("got no error")
			}
			equalSlices(t, "left", w.states(name), tc.left)
		})
	}
}

// TestTransientAnswers is what the client makes of answers that may pass: how often it tries, and what it reports.
func TestTransientAnswers(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		fault    gcstest.Fault
		attempts int64
		code     int
		reason   string
	}{
		"408 is retried":     {gcstest.Fault{Status: 408}, 3, 408, "requestTimeout"},
		"429 is retried":     {gcstest.Fault{Status: 429}, 3, 429, "rateLimitExceeded"},
		"500 is retried":     {gcstest.Fault{Status: 500}, 3, 500, "backendError"},
		"503 is retried":     {gcstest.Fault{Status: 503}, 3, 503, "backendError"},
		"504 is retried":     {gcstest.Fault{Status: 504}, 3, 504, "backendError"},
		"401 is not retried": {gcstest.Fault{Status: 401}, 1, 401, "authError"},
		"old quota style 403 is not": {
			gcstest.Fault{Status: 403, Reason: "rateLimitExceeded"},
			1, 403,
			"rateLimitExceeded",
		},
		"billing disabled is not": {
			gcstest.Fault{Status: 403, Reason: "accountDisabled"},
			1, 403,
			"accountDisabled",
		},
		"reset is retried":                 {gcstest.Fault{Reset: true}, 3, 0, ""},
		"503 once is invisible":            {gcstest.Fault{Status: 503, Count: 1}, 2, 0, ""},
		"reset once is invisible":          {gcstest.Fault{Reset: true, Count: 1}, 2, 0, ""},
		"second and third are skipped 503": {gcstest.Fault{Status: 503, Skip: 1}, 1, 0, ""},
	}
	for behaviour, tc := range tests {
		t.Run(behaviour, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, gcstest.BucketConfig{})
			generation := w.put(t, "a.pdf", gcstest.ObjectOptions{})
			tc.fault.Op, tc.fault.Bucket, tc.fault.Name = gcstest.OpDelete, "b", "a.pdf"
			w.AddFault(tc.fault)
			err := w.bucket.Object("a.pdf").Generation(generation).Delete(t.Context())
			code, reason := refusal(err)
			equal(t, "code", code, tc.code)
			equal(t, "reason", reason, tc.reason)
			equal(t, "attempts", w.Stats().Deletes, tc.attempts)
			spent := tc.fault.Count > 0 || tc.fault.Skip > 0
			equal(t, "success", err == nil, spent)
			equal(t, "objects left", len(w.Objects("b", "")), map[bool]int{true: 0, false: 1}[spent])
		})
	}
}

func byGeneration(o *storage.ObjectHandle, generation int64) *storage.ObjectHandle {
	return o.Generation(generation)
}

func ifGeneration(o *storage.ObjectHandle, generation int64) *storage.ObjectHandle {
	return o.If(storage.Conditions{GenerationMatch: generation})
}

func update(t *testing.T, w *world, change func(*gcstest.BucketConfig)) {
	t.Helper()
	if err := w.UpdateBucket("b", change); err != nil {
		t.Fatal(err)
	}
}
