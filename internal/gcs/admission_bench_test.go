package gcs

import (
	"log/slog"
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/certpurge/certpurge/internal/config"
)

// BenchmarkAdmission is what a call pays for its admission when no other waits.
func BenchmarkAdmission(b *testing.B) {
	bucket := newBucket("b", nil, Config{
		GCS: config.GCS{MaxInFlight: 100, DeleteRate: config.Rate{Start: 1 << 40, Ceiling: 1 << 40}},
		Log: slog.New(slog.DiscardHandler),
	})
	var n atomic.Int64
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		name := strconv.FormatInt(n.Add(1), 10)
		for pb.Next() {
			c, err := bucket.mutate(b.Context(), name)
			if err == nil {
				err = c.enter(b.Context())
			}
			if err != nil {
				b.Error(err)
				return
			}
			c.leave()
			c.unlock()
		}
	})
}
