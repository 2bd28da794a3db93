package bench

import (
	"context"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/certpurge/certpurge/internal/config"
	"github.com/certpurge/certpurge/internal/gcs"
	"github.com/certpurge/certpurge/internal/inventory"
	"github.com/certpurge/certpurge/internal/purge"
)

// BenchmarkInventory takes the inventory of a bucket of which two fifths of the directories have no link, and compares
// it with the bare listing of the same directories, in turns. What it counts must be right to the object.
func BenchmarkInventory(b *testing.B) {
	users, without := 2_500, 5_000 // users with three certificates, and certificates without a row
	if full() {
		users, without = 50_000, 100_000 // 1,000,000 objects, 300,000 rows
	}
	s := NewSite(b)
	s.add(b, users, 3)
	s.storage.order(b, "put", map[string]int{"from": users + 1, "to": users + 1 + without, "certificates": 1})
	store, err := gcs.Open(b.Context(), gcs.Config{
		GCS: config.GCS{
			CallTimeout: time.Minute, MaxTries: 1, MaxInFlight: 64, AttributesMaxAge: time.Hour, Endpoint: s.storage.base,
			Anonymous: true, DeleteRate: config.Rate{Start: 100_000, Ceiling: 100_000},
			ReadRate: config.Rate{Start: 100_000, Ceiling: 100_000},
		},
		Locations: s.locations,
	})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = store.Close() }) // nothing to lose
	var bare, ours time.Duration
	peak := 0
	for b.Loop() {
		begun := time.Now()
		objects := 0
		for _, root := range s.locations.Roots() {
			err := store.Walk(b.Context(), root.Directory, "",
				func(page []purge.Generation) error { objects += len(page); return nil })
			if err != nil {
				b.Fatal(err)
			}
		}
		bare += time.Since(begun)
		if want := (3*users + without) * filesEach; objects != want {
			b.Fatalf("the bucket has %d objects, want %d", objects, want)
		}
		forgetPeak(b)
		begun = time.Now()
		v := inventory.Inventory{
			Bucket: store, Database: s.store, Locations: s.locations, Eligible: purge.Policy{}.Eligible, Site: s.db.LMS,
			Now: func() time.Time { return time.Now().Add(2 * time.Second) }, // so that the files are older, in whole seconds
		}
		report, err := v.Run(context.WithoutCancel(b.Context()))
		if err != nil {
			b.Fatal(err)
		}
		ours += time.Since(begun)
		peak = max(peak, peakMemory(b))
		due, orphan := report.Sum(inventory.Due), report.Sum(inventory.Orphan)
		if due.Directories != int64(6*users) || due.Objects != int64(12*users) || orphan.Directories != int64(2*without) ||
			orphan.Objects != int64(4*without) || report.References != int64(6*users) ||
			report.MissingDownloads+report.MissingVerifications != 0 {
			b.Fatalf("got %+v", report)
		}
	}
	b.ReportMetric(ours.Seconds()/float64(b.N), "s/inventory")
	b.ReportMetric(ours.Seconds()/bare.Seconds(), "of-listing")
	b.ReportMetric(float64(peak)/1024, "peak-MiB")
	b.ReportMetric(0, "ns/op")
}

// forgetPeak has the kernel begin anew with the largest memory of this process.
func forgetPeak(b *testing.B) {
	b.Helper()
	if err := os.WriteFile("/proc/self/clear_refs", []byte("5"), 0o600); err != nil {
		b.Logf("the peak includes what came before: %v", err)
	}
}

// peakMemory is the largest resident memory of this process, in KiB.
func peakMemory(b *testing.B) int {
	b.Helper()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		b.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			n, err := strconv.Atoi(strings.Fields(rest)[0])
			if err != nil {
				b.Fatal(err)
			}
			return n
		}
	}
	b.Fatal("no VmHWM")
	return 0
}
