package gcs_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/certpurge/certpurge/internal/config"
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
		return fmt.Sprintf(`{"kind": "storage#object", "name": "%sfile%d", "generation": "%d", "size": "1"}`, dirD.Prefix, n,
			n+1)
	}
	for name, tc := range map[string]struct {
		page   func(n int64) (status int, begin string, endless bool)
		class  purge.Class
		says   string
		bounds int64 // of what is read, in bytes
	}{
		"pages without end": {func(n int64) (int, string, bool) {
			return http.StatusOK, fmt.Sprintf(`{"kind": "storage#objects", "nextPageToken": "%d", "items": [%s, %s, %s]}`, n,
				item(3*n), item(3*n+1), item(3*n+2)), false
		}, purge.TooManyObjects, "gcs.max_generations", 0},
		"empty pages without end": {func(n int64) (int, string, bool) {
			return http.StatusOK, fmt.Sprintf(`{"kind": "storage#objects", "nextPageToken": "%d"}`, n), false
		}, purge.Transient, "makes no progress", 0},
		"empty pages of much text": {func(n int64) (int, string, bool) {
			return http.StatusOK, fmt.Sprintf(`{"kind": "storage#objects", "nextPageToken": "%d%s"}`, n,
				strings.Repeat("x", 1000)), false
		}, purge.TooManyObjects, "gcs.max_listing_bytes", 0},
		"empty pages in a circle": {func(n int64) (int, string, bool) {
			return http.StatusOK, fmt.Sprintf(`{"kind": "storage#objects", "nextPageToken": "%d"}`, n%3), false
		}, purge.Transient, "makes no progress", 0},
		"pages in a circle": {func(n int64) (int, string, bool) {
			return http.StatusOK, fmt.Sprintf(`{"kind": "storage#objects", "nextPageToken": "%d", "items": [%s]}`, n%3, item(n)),
				false
		}, purge.Transient, "makes no progress", 0},
		"a page without end": {func(int64) (int, string, bool) {
			return http.StatusOK, `{"kind": "storage#objects", "items": [`, true
		}, purge.TooManyObjects, "gcs.max_listing_bytes", 300_000},
		"an error without end": {
			func(int64) (int, string, bool) { return http.StatusForbidden, `{"error": `, true },
			purge.NoPermission, "", 2 << 20,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var asked, read atomic.Int64
			store, err := gcs.Open(t.Context(), gcs.Config{
				GCS: config.GCS{
					CallTimeout: time.Minute, MaxTries: 1, MaxInFlight: 1, AttributesMaxAge: time.Hour, Anonymous: true,
					MaxGenerations: 100, MaxListingBytes: 200_000,
				},
				Locations: purgetest.OneLocation(t),
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
			if err == nil || purge.ClassOf(err) != tc.class && tc.says != "" || !strings.Contains(err.Error(), tc.says) ||
				len(got) > 0 {
				t.Errorf("got %d, %v; want class %d that says %q", len(got), err, tc.class, tc.says)
			}
			if asked.Load() > 1100 || strings.Contains(name, "circle") && asked.Load() > 4 || read.Load() > max(tc.bounds, 1) {
				t.Errorf("asked %d times and read %d bytes", asked.Load(), read.Load())
			}
		})
	}
}

// TestEmptyPagesAreGoneThrough reads a listing that holds nothing for many pages, twice. One of them fails once, and is
// requested again.
func TestEmptyPagesAreGoneThrough(t *testing.T) {
	t.Parallel()
	asked := 0
	store := openOn(t, func(r *http.Request) (*http.Response, error) {
		n, _ := strconv.Atoi(r.URL.Query().Get("pageToken"))
		if asked++; asked == 500 {
			return answer(r, http.StatusBadGateway, "text/html", ""), nil
		}
		next, items := fmt.Sprintf(`, "nextPageToken": "%d"`, n+1), ""
		if n == 900 || n == 1800 {
			items = fmt.Sprintf(`, "items": [{"kind": "storage#object", "name": "%sa", "generation": "%d"}]`, dirD.Prefix, n)
		}
		if n == 1800 {
			next = ""
		}
		return answer(r, http.StatusOK, "application/json", `{"kind": "storage#objects"`+next+items+`}`), nil
	})
	if got, err := store.List(t.Context(), dirD); err != nil || len(got) != 2 || asked != 1802 {
		t.Fatalf("got %v, %v after %d pages; want two objects", got, err, asked)
	}
}

// openOn makes a store of which listings are answered one at a time; every other question is answered well.
func openOn(t *testing.T, list func(*http.Request) (*http.Response, error)) *gcs.Store {
	t.Helper()
	store, err := gcs.Open(t.Context(), gcs.Config{
		GCS: config.GCS{
			CallTimeout: time.Minute, MaxTries: 3, MaxInFlight: 1, AttributesMaxAge: time.Hour, Anonymous: true,
		},
		Locations: purgetest.OneLocation(t),
		Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
			if !strings.HasSuffix(r.URL.Path, "/o") {
				return answer(r, http.StatusOK, "application/json", `{"kind": "storage#bucket", "name": "certs"}`), nil
			}
			return list(r)
		}),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() }) // nothing to lose
	return store
}

// TestLocationsWithoutEndAreLeft looks for the first file of a location that never comes.
func TestLocationsWithoutEndAreLeft(t *testing.T) {
	t.Parallel()
	asked := 0
	store := openOn(t, func(r *http.Request) (*http.Response, error) {
		asked++
		return answer(r, http.StatusOK, "application/json",
			fmt.Sprintf(`{"kind": "storage#objects", "nextPageToken": "%d"}`, asked)), nil
	})
	if err := store.CheckLocations(t.Context()); purge.ClassOf(err) != purge.Transient ||
		!strings.Contains(err.Error(), "makes no progress") {
		t.Errorf("got %v", err)
	}
	if asked > 2*1100 { // both directories
		t.Errorf("asked %d times", asked)
	}
}

// TestAHeaderIsBounded lists from a server whose header is larger than any of Cloud Storage.
func TestAHeaderIsBounded(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		text := `{"kind": "storage#bucket", "name": "certs"}`
		if strings.HasSuffix(r.URL.Path, "/o") {
			w.Header().Set("X-Padding", strings.Repeat("x", 100_000))
			text = `{"kind": "storage#objects"}`
		}
		_, _ = io.WriteString(w, text) // or the client has left
	}))
	t.Cleanup(server.Close)
	store, err := gcs.Open(t.Context(), gcs.Config{
		GCS: config.GCS{
			CallTimeout: time.Minute, MaxTries: 1, MaxInFlight: 1, AttributesMaxAge: time.Hour, Anonymous: true,
			Endpoint: server.URL,
		},
		Locations: purgetest.OneLocation(t),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() }) // nothing to lose
	if _, err := store.List(t.Context(), dirD); purge.ClassOf(err) != purge.Transient ||
		!strings.Contains(err.Error(), "connection failed") {
		t.Errorf("got %v, want the answer refused", err)
	}
}
