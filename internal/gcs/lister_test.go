package gcs_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/certpurge/certpurge/internal/gcs/gcstest"
	"github.com/certpurge/certpurge/internal/purge"
)

func TestAListerLooksIntoAnyBucket(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.server.CreateBucket("other", gcstest.BucketConfig{})
	names := []string{"a/1", "a/2", "b/c/1", "file"}
	for i := range 1_500 { // more than a page of directories
		names = append(names, fmt.Sprintf("many/%04d/x", i))
	}
	for _, name := range names {
		if _, err := w.server.Put("other", name, nil, gcstest.ObjectOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	l := w.Lister()
	for prefix, want := range map[string][]string{"": {"a/", "b/", "many/"}, "b/": {"c/"}, "b/c/": nil, "none/": nil} {
		if got, err := l.Directories(t.Context(), "other", prefix); err != nil || !slices.Equal(got, want) {
			t.Errorf("below %q: got %q, %v; want %q", prefix, got, err, want)
		}
	}
	got, err := l.Directories(t.Context(), "other", "many/")
	if err != nil || len(got) != 1_500 || !slices.IsSorted(got) || got[1_499] != "1499/" {
		t.Errorf("got %d directories, %v", len(got), err)
	}
	for prefix, want := range map[string]bool{"a/": true, "b/c/": true, "c/": false, "fil": true} {
		if got, err := l.Holds(t.Context(), purge.Directory{Bucket: "other", Prefix: prefix}); err != nil || got != want {
			t.Errorf("%q: got %v, %v, want %v", prefix, got, err, want)
		}
	}
	for _, bucket := range []string{"missing", "other"} {
		w.server.Deny("other", "storage.objects.list")
		_, held := l.Holds(t.Context(), purge.Directory{Bucket: bucket, Prefix: "a/"})
		_, listed := l.Directories(t.Context(), bucket, "")
		if held == nil || listed == nil || strings.Contains(held.Error()+listed.Error(), "a/") {
			t.Errorf("%s: got %v and %v, want errors", bucket, held, listed)
		}
	}
	if _, err := w.List(t.Context(), purge.Directory{
		Bucket: "other",
		Prefix: "a/",
	}); purge.ClassOf(err) != purge.Unrecognised {
		t.Errorf("the store itself: got %v, want the bucket refused", err)
	}
}

// TestTheServicesClockIsRead: every answer has a date.
func TestTheServicesClockIsRead(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	if _, ok := w.Clock(); ok {
		t.Error("a clock was read before there was an answer")
	}
	if _, err := w.Probe(t.Context()); err != nil {
		t.Fatal(err)
	}
	reading, ok := w.Clock()
	if ahead := reading.Theirs.Sub(reading.After); !ok || ahead > 0 || reading.After.Before(reading.Before) {
		t.Errorf("got %+v, %v", reading, ok)
	}
}
