package gcs_test

import (
	"fmt"
	"maps"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/certpurge/certpurge/internal/gcs"
	"github.com/certpurge/certpurge/internal/gcs/gcstest"
	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/purge/purgetest"
)

// TestEveryRequestIsObserved counts requests, not calls: one is tried twice.
func TestEveryRequestIsObserved(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	seen := map[string]int{}
	w := newWorld(t, func(cfg *gcs.Config) {
		cfg.Observe = func(kind string, status int, took time.Duration) {
			mu.Lock()
			defer mu.Unlock()
			seen[fmt.Sprintf("%s %d %v", kind, status, took > 0)]++
		}
	})
	name := "downloads/00000000000000000000000000000001/Certificate.pdf"
	if _, err := w.server.Put(purgetest.Bucket, name, []byte("x"), gcstest.ObjectOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Probe(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.server.SetFaults(1, gcstest.Fault{Op: gcstest.OpList, Status: http.StatusServiceUnavailable, Count: 1})
	found, err := w.List(t.Context(), purge.Directory{
		Bucket: purgetest.Bucket,
		Prefix: "downloads/00000000000000000000000000000001/",
	})
	if err != nil || len(found) != 1 {
		t.Fatalf("got %v, %v", found, err)
	}
	if err := w.Delete(t.Context(), found[0]); err != nil {
		t.Fatal(err)
	}
	want := map[string]int{"bucket 200 true": 2, "list 503 true": 1, "list 200 true": 1, "delete 204 true": 1}
	if mu.Lock(); !maps.Equal(seen, want) {
		t.Errorf("got %v, want %v", seen, want)
	}
	mu.Unlock()
}
