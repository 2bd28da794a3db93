package gcstest_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"cloud.google.com/go/storage"
	"google.golang.org/api/iterator"

	"github.com/certpurge/certpurge/internal/gcs/gcstest"
)

func TestListingPagesThroughEveryName(t *testing.T) {
	t.Parallel()
	const count = 2500
	tests := map[string]struct {
		query    storage.Query
		pageSize int
		items    int
		pages    int64
	}{
		"live objects in pages of 1,000":              {storage.Query{Prefix: "many/"}, 0, count, 3},
		"every generation in pages of 1,000":          {storage.Query{Prefix: "many/", Versions: true}, 0, 2 * count, 5},
		"pages may be smaller":                        {storage.Query{Prefix: "many/24"}, 30, 100, 4},
		"pages may split the generations of one name": {storage.Query{Prefix: "many/000", Versions: true}, 7, 20, 3},
		"a page size above 1,000 is 1,000":            {storage.Query{Prefix: "many/"}, 5000, count, 3},
		"from an offset":                              {storage.Query{Prefix: "many/", StartOffset: "many/2499"}, 0, 1, 1},
		"an empty answer is an answer":                {storage.Query{Prefix: "none/"}, 0, 0, 1},
		"exactly one full page has no page after it": {
			storage.Query{Prefix: "many/0"},
			0, 1000,
			1,
		},
		"the empty prefix is the whole bucket":           {storage.Query{}, 0, count, 3},
		"a prefix that sorts before and after the names": {storage.Query{Prefix: "many"}, 0, count, 3},
	}
	for behaviour, tc := range tests {
		t.Run(behaviour, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, gcstest.BucketConfig{Versioning: true})
			for i := range count {
				name := fmt.Sprintf("many/%04d", i)
				w.put(t, name, gcstest.ObjectOptions{})
				w.put(t, name, gcstest.ObjectOptions{})
			}
			it := w.bucket.Objects(t.Context(), &tc.query)
			if tc.pageSize > 0 {
				it.PageInfo().MaxSize = tc.pageSize
			}
			type key struct {
				name       string
				generation int64
			}
			var keys []key
			for {
				a, err := it.Next()
				if errors.Is(err, iterator.Done) {
					break
				}
				if err != nil {
					t.Fatal(err)
				}
				keys = append(keys, key{a.Name, a.Generation})
			}
			equal(t, "items", len(keys), tc.items)
			equal(t, "pages", w.Stats().Lists, tc.pages)
			sorted := slices.IsSortedFunc(keys, func(x, y key) int {
				return cmp.Or(cmp.Compare(x.name, y.name), cmp.Compare(x.generation, y.generation))
			})
			equal(t, "order of name and generation", sorted, true)
			equal(t, "doubles", len(keys)-len(slices.Compact(slices.Clone(keys))), 0)
		})
	}
}

func TestListingIsByPrefixNotByName(t *testing.T) {
	t.Parallel()
	w := newWorld(t, gcstest.BucketConfig{})
	for _, name := range []string{"x.pdf.bak", "x.pdf", "x.pd", "w", "x.pdf/1", "y"} {
		w.put(t, name, gcstest.ObjectOptions{})
	}
	// The exact name comes first, and its neighbours come with it.
	equalSlices(t, "x.pdf", w.names(t, &storage.Query{Prefix: "x.pdf"}), []string{"x.pdf", "x.pdf.bak", "x.pdf/1"})
	equalSlices(t, "x.pdf/", w.names(t, &storage.Query{Prefix: "x.pdf/"}), []string{"x.pdf/1"})
}

func TestOddNamesSurviveTheWire(t *testing.T) {
	t.Parallel()
	w := newWorld(t, gcstest.BucketConfig{})
	names := []string{
		"downloads/abc/Certificate.pdf", "a b", "a%2Fb", "a+b", "ü/é.pdf", "quote\"back\\slash", "//double//slash/",
		"./dot/../dots",
		"question?mark#hash", "iam/testPermissions", "line\nbreak", "<html>&amp;", "\u2028",
	}
	slices.Sort(names)
	for _, name := range names {
		w.put(t, name, gcstest.ObjectOptions{})
	}
	equalSlices(t, "names", w.names(t, nil), names)
	for _, name := range names {
		a, err := w.bucket.Object(name).Attrs(t.Context())
		if err != nil || a.Name != name {
			t.Errorf("attributes of %q: got %+v, %v", name, a, err)
		}
		if err := w.bucket.Object(name).Delete(t.Context()); err != nil {
			t.Errorf("deleting %q: %v", name, err)
		}
	}
	equal(t, "objects left", len(w.Objects("b", "")), 0)
}

func TestListingShowsVersionsOnRequest(t *testing.T) {
	t.Parallel()
	w := newWorld(t, gcstest.BucketConfig{Versioning: true})
	first := w.put(t, "a", gcstest.ObjectOptions{})
	w.clock.Advance(time.Minute)
	second := w.put(t, "a", gcstest.ObjectOptions{})
	w.clock.Advance(time.Minute)
	w.put(t, "gone", gcstest.ObjectOptions{})
	if err := w.bucket.Object("gone").Delete(t.Context()); err != nil {
		t.Fatal(err)
	}
	equalSlices(t, "live", w.names(t, nil), []string{"a"})
	all, err := attrs(t.Context(), w.bucket, &storage.Query{Versions: true})
	if err != nil || len(all) != 3 {
		t.Fatalf("versions: got %d, %v, want 3", len(all), err)
	}
	equal(t, "oldest first", all[0].Generation, first)
	equal(t, "noncurrent since", all[0].Deleted, noon.Add(time.Minute))
	equal(t, "then the live one", all[1].Generation, second)
	equal(t, "live one has no deletion time", all[1].Deleted.IsZero(), true)
	equal(t, "deleted one has a deletion time", all[2].Deleted, noon.Add(2*time.Minute))
}

func TestListingByDelimiter(t *testing.T) {
	t.Parallel()
	w := newWorld(t, gcstest.BucketConfig{Versioning: true})
	for _, name := range []string{"a", "b/1", "b/2", "b/c/3", "b0", "d/1", "d", "gone/1"} {
		w.put(t, name, gcstest.ObjectOptions{})
	}
	if err := w.bucket.Object("gone/1").Delete(t.Context()); err != nil {
		t.Fatal(err)
	}
	list := func(q *storage.Query, size int) (found []string) {
		t.Helper()
		it := w.bucket.Objects(t.Context(), q)
		it.PageInfo().MaxSize = size // 0 is the service's own
		for {
			a, err := it.Next()
			if errors.Is(err, iterator.Done) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			found = append(found, a.Name+a.Prefix)
		}
		slices.Sort(found)
		return found
	}
	for _, size := range []int{0, 1, 2, 3} {
		equalSlices(t, "first level", list(&storage.Query{Delimiter: "/"}, size), []string{"a", "b/", "b0", "d", "d/"})
		equalSlices(t, "with versions", list(&storage.Query{Delimiter: "/", Versions: true}, size),
			[]string{"a", "b/", "b0", "d", "d/", "gone/"})
		equalSlices(t, "second level", list(&storage.Query{Prefix: "b/", Delimiter: "/"}, size),
			[]string{"b/1", "b/2", "b/c/"})
	}
}

func TestListingSendsSelectedFieldsOnly(t *testing.T) {
	t.Parallel()
	w := newWorld(t, gcstest.BucketConfig{Retention: time.Hour})
	w.put(t, "a", gcstest.ObjectOptions{TemporaryHold: true, CacheControl: "no-store"})
	q := &storage.Query{}
	if err := q.SetAttrSelection([]string{"Name", "Generation", "RetentionExpirationTime"}); err != nil {
		t.Fatal(err)
	}
	some, err := attrs(t.Context(), w.bucket, q)
	if err != nil || len(some) != 1 {
		t.Fatalf("got %v, %v", some, err)
	}
	equal(t, "selected name", some[0].Name, "a")
	equal(t, "selected retention", some[0].RetentionExpirationTime, noon.Add(time.Hour))
	equal(t, "hold that was not selected", some[0].TemporaryHold, false)
	equal(t, "size that was not selected", some[0].Size, 0)
	all, err := attrs(t.Context(), w.bucket, nil)
	if err != nil || len(all) != 1 {
		t.Fatalf("got %v, %v", all, err)
	}
	equal(t, "hold", all[0].TemporaryHold, true)
	equal(t, "cache control", all[0].CacheControl, "no-store")
}

func TestListingRefusals(t *testing.T) {
	t.Parallel()
	soft := gcstest.BucketConfig{SoftDelete: 7 * 24 * time.Hour}
	tests := map[string]struct {
		config  gcstest.BucketConfig
		query   storage.Query
		prepare func(ctx context.Context, w *world) error
		code    int
		reason  string
		missing bool
		stored  []string // What the back door still sees.
	}{
		"missing bucket is never an empty page": {
			prepare: func(_ context.Context, w *world) error { return w.RenameBucket("b", "c") }, code: 404, reason: "notFound",
			missing: true,
		},
		"no permission": {
			prepare: func(_ context.Context, w *world) error { w.Deny("b", "storage.objects.list"); return nil }, code: 403,
			reason: "forbidden",
		},
		"soft-deleted without a policy": {query: storage.Query{SoftDeleted: true}, code: 400, reason: "invalid"},
		"soft-deleted and versions together": {
			config: soft, query: storage.Query{SoftDeleted: true, Versions: true},
			code: 400, reason: "invalid",
		},
		"globs are not emulated":       {query: storage.Query{MatchGlob: "*"}, code: 400, reason: "notEmulated"},
		"end offsets are not emulated": {query: storage.Query{EndOffset: "b"}, code: 400, reason: "notEmulated"},
		"requester pays without a project": {
			config: gcstest.BucketConfig{RequesterPays: true}, code: 400,
			reason: "required",
		},
		"soft-deleted after policy was ended": {
			config: soft, query: storage.Query{SoftDeleted: true}, code: 400, reason: "invalid",
			prepare: func(ctx context.Context, w *world) error {
				_, err := w.Put("b", "a", nil, gcstest.ObjectOptions{})
				err = errors.Join(err, w.bucket.Object("a").Delete(ctx))
				return errors.Join(err, w.UpdateBucket("b", func(c *gcstest.BucketConfig) { c.SoftDelete = 0 }))
			},
			stored: []string{"soft-deleted"},
		},
	}
	for behaviour, tc := range tests {
		t.Run(behaviour, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, tc.config)
			if tc.prepare != nil {
				if err := tc.prepare(t.Context(), w); err != nil {
					t.Fatal(err)
				}
			}
			_, err := attrs(t.Context(), w.bucket, &tc.query)
			code, reason := refusal(err)
			equal(t, "code", code, tc.code)
			equal(t, "reason", reason, tc.reason)
			equal(t, "ErrBucketNotExist", errors.Is(err, storage.ErrBucketNotExist), tc.missing)
			equalSlices(t, "stored", w.states(""), tc.stored)
		})
	}
}
