package gcs_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/certpurge/certpurge/internal/gcs"
	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/purge/purgetest"
)

// counted counts what is read of a text that never ends.
type counted struct{ read *atomic.Int64 }

func (c counted) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	c.read.Add(int64(len(p)))
	return len(p), nil
}

// TestAnswersWithoutEndAreCutOff lists from endpoints that go on for ever, each in its way.
func TestAnswersWithoutEndAreCutOff(t *testing.T) {
	t.Parallel()
	item := func(n int64) string {
		return fmt.Sprintf(`{"kind": "storage#object", "name": "%sfile%d", "generation": "%d", "size": "1"}`, dirD.Prefix, n, n+1)
	}
	for name, tc := range map[string]struct {
		page   func(n int64) (status int, begin string, endless bool)
		class  purge.Class
		says   string
		bounds int64 // of what is read, in bytes
	}{
		"pages without end": {func(n int64) (int, string, bool) {
			return http.StatusOK, fmt.Sprintf(`{"kind": "storage#objects", "nextPageToken": "%d", "items": [%s, %s, %s]}`, n, item(3*n), item(3*n+1), item(3*n+2)), false
		}, purge.TooManyObjects, "gcs.max_generations", 0},
		"empty pages without end": {func(n int64) (int, string, bool) {
			return http.StatusOK, fmt.Sprintf(`{"kind": "storage#objects", "nextPageToken": "%d"}`, n), false
		}, purge.TooManyObjects, "gcs.max_listing_bytes", 0},
		"a page without end": {func(int64) (int, string, bool) {
			return http.StatusOK, `{"kind": "storage#objects", "items": [`, true
		}, purge.TooManyObjects, "gcs.max_listing_bytes", 300_000},
		"an error without end": {func(int64) (int, string, bool) { return http.StatusForbidden, `{"error": `, true }, purge.NoPermission, "", 2 << 20},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var asked, read atomic.Int64
			store, err := gcs.Open(t.Context(), gcs.Config{
				Locations: purgetest.OneLocation(t), CallTimeout: time.Minute, MaxTries: 1, MaxInFlight: 1, AttributesMaxAge: time.Hour, Anonymous: true,
				MaxGenerations: 100, MaxListing: 200_000,
				Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
					if !strings.HasSuffix(r.URL.Path, "/o") {
						return answer(r, http.StatusOK, "application/json", `{"kind": "storage#bucket", "name": "certs"}`), nil
					}
					status, begin, endless := tc.page(asked.Add(1))
					resp := answer(r, status, "application/json", begin)
					if endless {
						resp.Body = io.NopCloser(io.MultiReader(strings.NewReader(begin), counted{&read}))
					}
					return resp, nil
				}),
			})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = store.Close() }) // nothing to lose
			got, err := store.List(t.Context(), dirD)
			if err == nil || purge.ClassOf(err) != tc.class && tc.says != "" || !strings.Contains(err.Error(), tc.says) || len(got) > 0 {
				t.Errorf("got %d, %v; want class %d that says %q", len(got), err, tc.class, tc.says)
			}
			if asked.Load() > 5000 || read.Load() > max(tc.bounds, 1) {
				t.Errorf("asked %d times and read %d bytes", asked.Load(), read.Load())
			}
		})
	}
}
