package gcstest_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"

	"cloud.google.com/go/storage"
	"google.golang.org/api/option"

	"github.com/certpurge/certpurge/internal/gcs/gcstest"
)

const (
	inFlight  = 64     // Deletes at the same time, what a worker is allowed.
	batchSize = 20_000 // Deletes in one iteration, so that seeding is not in the measured time.
)

// BenchmarkDelete drives the emulator with the real client over HTTP/1.1, both on the same cores, and reports
// deletes/s. It is the ceiling for any benchmark of a worker against this emulator.
func BenchmarkDelete(b *testing.B) {
	clients := map[string][]option.ClientOption{
		"client as it comes": nil,
		"client without otelhttp": {option.WithHTTPClient(&http.Client{
			Transport: &http.Transport{MaxIdleConnsPerHost: inFlight, MaxIdleConns: inFlight},
		})},
	}
	for name, opts := range clients {
		b.Run(name, func(b *testing.B) {
			s := gcstest.New()
			baseURL, stop, err := s.Start()
			if err != nil {
				b.Fatal(err)
			}
			b.Cleanup(stop)
			client, err := storage.NewClient(b.Context(),
				append(opts, option.WithEndpoint(baseURL), option.WithoutAuthentication())...)
			if err != nil {
				b.Fatal(err)
			}
			b.Cleanup(func() { _ = client.Close() })
			deleteAll(b, s, func(name string, generation int64) error {
				return client.Bucket("b").Object(name).Generation(generation).Delete(b.Context())
			})
		})
	}
}

// BenchmarkDeleteHandler is the emulator's own share of a delete: no network and no client.
func BenchmarkDeleteHandler(b *testing.B) {
	s := gcstest.New()
	deleteAll(b, s, func(name string, generation int64) error {
		path := fmt.Sprintf("/storage/v1/b/b/o/%s?generation=%d", name, generation)
		w := httptest.NewRecorder()
		s.ServeHTTP(w, httptest.NewRequestWithContext(b.Context(), http.MethodDelete, path, http.NoBody))
		if w.Code != http.StatusNoContent {
			return fmt.Errorf("deleting %s: status %d", name, w.Code)
		}
		return nil
	})
}

// deleteAll measures batches of deletes, inFlight at a time.
func deleteAll(b *testing.B, s *gcstest.Server, remove func(name string, generation int64) error) {
	b.Helper()
	names, generations := make([]string, batchSize), make([]int64, batchSize)
	for i := range names {
		names[i] = fmt.Sprintf("%032x-Certificate.pdf", i)
	}
	deleted := 0
	for b.Loop() {
		b.StopTimer()
		s.CreateBucket("b", gcstest.BucketConfig{})
		for i, name := range names {
			var err error
			if generations[i], err = s.Put("b", name, []byte("%PDF-1.7"), gcstest.ObjectOptions{}); err != nil {
				b.Fatal(err)
			}
		}
		b.StartTimer()
		var next atomic.Int64
		var wg sync.WaitGroup
		for range inFlight {
			wg.Go(func() {
				for i := next.Add(1) - 1; i < batchSize; i = next.Add(1) - 1 {
					if err := remove(names[i], generations[i]); err != nil {
						b.Error(err)
						return
					}
				}
			})
		}
		wg.Wait()
		deleted += batchSize
	}
	if left := len(s.Objects("b", "")); left != 0 {
		b.Fatalf("%d objects left", left)
	}
	b.ReportMetric(float64(deleted)/b.Elapsed().Seconds(), "deletes/s")
}

// BenchmarkListDirectory lists one directory of 4 objects among many. The time must hardly grow with the number of
// names.
func BenchmarkListDirectory(b *testing.B) {
	for _, names := range []int{1_000, 100_000, 1_000_000} {
		b.Run(fmt.Sprintf("names=%d", names), func(b *testing.B) {
			s := gcstest.New()
			s.CreateBucket("b", gcstest.BucketConfig{})
			content := []byte("%PDF-1.7")
			for i := range names {
				if _, err := s.Put("b", fmt.Sprintf("downloads/%032x/%d.pdf", i/4, i%4), content,
					gcstest.ObjectOptions{}); err != nil {
					b.Fatal(err)
				}
			}
			path := fmt.Sprintf(
				"/storage/v1/b/b/o?versions=true&prefix=downloads/%032x/&fields=nextPageToken,items(name,generation)", names/8)
			b.ReportAllocs()
			for b.Loop() {
				w := httptest.NewRecorder()
				s.ServeHTTP(w, httptest.NewRequestWithContext(b.Context(), http.MethodGet, path, http.NoBody))
				if w.Code != http.StatusOK || w.Body.Len() < 200 {
					b.Fatalf("status %d, %s", w.Code, w.Body)
				}
			}
		})
	}
}
