package gcs

import (
	"log/slog"
	"strconv"
	"sync/atomic"
	"testing"
)

// BenchmarkAdmission is what a call pays for its admission when no other waits.
func BenchmarkAdmission(b *testing.B) {
	bucket := newBucket("b", nil, Config{
		MaxInFlight: 100, Deletes: Rate{Start: 1 << 40, Ceiling: 1 << 40},
		Log: slog.New(slog.DiscardHandler),
	})
	var n atomic.Int64
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		name := strconv.FormatInt(n.Add(1), 10)
		for pb.Next() {
			c, done, err := bucket.mutate(b.Context(), name)
			if err == nil {
				err = c.enter(b.Context())
			}
			if err != nil {
				b.Error(err)
				return
			}
			c.leave()
			done()
		}
	})
}
