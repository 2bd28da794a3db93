package gcstest_test

import (
	"errors"
	"slices"
	"testing"

	"cloud.google.com/go/storage"
	"google.golang.org/api/iterator"
	"google.golang.org/api/option"
	raw "google.golang.org/api/storage/v1"

	"github.com/certpurge/certpurge/internal/gcs/gcstest"
)

// TestFoldersStayBehind empties a folder and a managed folder: both stay, in no listing but one that asks for them.
func TestFoldersStayBehind(t *testing.T) {
	t.Parallel()
	for kind, hierarchical := range map[string]bool{"folders": true, "managed folders": false} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, gcstest.BucketConfig{Hierarchical: hierarchical})
			api, err := raw.NewService(t.Context(), option.WithEndpoint(w.baseURL), option.WithoutAuthentication())
			if err != nil {
				t.Fatal(err)
			}
			layout, err := api.Buckets.GetStorageLayout("b").Do()
			if err != nil || layout.HierarchicalNamespace.Enabled != hierarchical {
				t.Errorf("layout: got %+v, %v", layout, err)
			}
			a, err := w.bucket.Attrs(t.Context())
			if err != nil || (a.HierarchicalNamespace != nil && a.HierarchicalNamespace.Enabled) != hierarchical {
				t.Errorf("attributes: got %+v, %v", a, err)
			}
			w.put(t, "x/y/a", gcstest.ObjectOptions{}) // makes its folders
			remove := func(name string) error { return api.Folders.Delete("b", name).Do() }
			names := func() (names []string) {
				t.Helper()
				if hierarchical {
					all, err := api.Folders.List("b").Prefix("x/").Do()
					if err != nil {
						t.Fatal(err)
					}
					for _, f := range all.Items {
						names = append(names, f.Name)
					}
					return names
				}
				all, err := api.ManagedFolders.List("b").Do()
				if err != nil {
					t.Fatal(err)
				}
				for _, f := range all.Items {
					names = append(names, f.Name)
				}
				return names
			}
			if !hierarchical {
				if code, _ := refusal(second(api.Folders.List("b").Do())); code != 400 {
					t.Errorf("folders of a flat bucket: got %d", code)
				}
				remove = func(name string) error { return api.ManagedFolders.Delete("b", name).Do() }
				for _, name := range []string{"x/", "x/y/"} {
					if _, err := api.ManagedFolders.Insert("b", &raw.ManagedFolder{Name: name}).Do(); err != nil {
						t.Fatal(err)
					}
				}
			} else if _, err := api.Folders.Insert("b", &raw.Folder{Name: "x/z/"}).Do(); err != nil {
				t.Fatal(err)
			} else if err := remove("x/z/"); err != nil {
				t.Fatal(err)
			}
			if code, _ := refusal(remove("x/y/")); code != 409 {
				t.Errorf("a folder with an object: got %d, want it kept", code)
			}
			if err := w.bucket.Object("x/y/a").Delete(t.Context()); err != nil {
				t.Fatal(err)
			}
			equalSlices(t, "folders", names(), []string{"x/", "x/y/"})
			equalSlices(t, "objects", w.names(t, nil), nil)
			for with, want := range map[bool][]string{false: nil, true: {"x/y/"}} {
				equalSlices(t, "directories", prefixes(t, w, &storage.Query{
					Prefix: "x/", Delimiter: "/", IncludeFoldersAsPrefixes: with,
				}), want)
			}
			for _, step := range []struct {
				name string
				code int
			}{{"x/", 409}, {"x/y/", 0}, {"x/", 0}, {"x/", 404}} {
				code, _ := refusal(remove(step.name))
				equal(t, step.name, code, step.code)
			}
		})
	}
}

// TestFoldersPage lists folders among objects and directories, in pages of every size.
func TestFoldersPage(t *testing.T) {
	t.Parallel()
	w := newWorld(t, gcstest.BucketConfig{Hierarchical: true})
	for _, name := range []string{"a", "b/1", "c/1", "d/1", "d/2", "e/f/1", "g"} {
		w.put(t, name, gcstest.ObjectOptions{})
	}
	for _, name := range []string{"c/1", "e/f/1"} {
		if err := w.bucket.Object(name).Delete(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for size := range 8 {
		equalSlices(t, "directories", prefixes(t, w, &storage.Query{Delimiter: "/", IncludeFoldersAsPrefixes: true}, size),
			[]string{"b/", "c/", "d/", "e/"})
	}
}

func prefixes(t *testing.T, w *world, q *storage.Query, size ...int) (found []string) {
	t.Helper()
	it := w.bucket.Objects(t.Context(), q)
	it.PageInfo().MaxSize = slices.Max(append(size, 0))
	for {
		a, err := it.Next()
		if errors.Is(err, iterator.Done) {
			return found
		}
		if err != nil {
			t.Fatal(err)
		}
		if a.Prefix != "" {
			found = append(found, a.Prefix)
		}
	}
}

// TestEmptyPagesComeBetween: a client that takes a page without items for the end sees nothing.
func TestEmptyPagesComeBetween(t *testing.T) {
	t.Parallel()
	w := newWorld(t, gcstest.BucketConfig{})
	var want []string
	for _, name := range []string{"a", "b", "c", "d", "e"} {
		w.put(t, name, gcstest.ObjectOptions{})
		want = append(want, name)
	}
	w.SetEmptyPages(true)
	equalSlices(t, "through the client", w.names(t, nil), want)
	equalSlices(t, "none", w.names(t, &storage.Query{Prefix: "x"}), nil)
	// Three pages with items, an empty one before each, one behind the last, and the end.
	lists := w.Stats().Lists
	it := w.bucket.Objects(t.Context(), nil)
	it.PageInfo().MaxSize = 2
	var got []string
	for {
		a, err := it.Next()
		if errors.Is(err, iterator.Done) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, a.Name)
	}
	equalSlices(t, "in pages", got, want)
	equal(t, "requests", w.Stats().Lists-lists, 8)
}
