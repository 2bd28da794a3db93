package gcs_test

import (
	"net/http"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"cloud.google.com/go/storage"
	"google.golang.org/api/option"

	"github.com/certpurge/certpurge/internal/config"
	"github.com/certpurge/certpurge/internal/gcs"
	"github.com/certpurge/certpurge/internal/gcs/gcstest"
	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/purge/purgetest"
)

const (
	benchInFlight = 64
	benchBatch    = 2_000
)

// BenchmarkStoreDelete shows what slots, lanes and rates cost where they are not what limits: the same deletes through
// the store and through the bare client library, batch by batch in turns, so that the load of the machine meets both.
func BenchmarkStoreDelete(b *testing.B) {
	server := gcstest.New()
	base, stop, err := server.Start()
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(stop)
	locations, err := purge.NewLocations([]purge.Location{{
		Name: "main", Bucket: purgetest.Bucket,
		DownloadsDir: "downloads", VerifyDir: "cert",
	}})
	if err != nil {
		b.Fatal(err)
	}
	network := &http.Transport{MaxIdleConnsPerHost: benchInFlight, MaxIdleConns: benchInFlight}
	b.Cleanup(network.CloseIdleConnections)
	store, err := gcs.Open(b.Context(), gcs.Config{
		GCS: config.GCS{
			CallTimeout: time.Minute, MaxTries: 1, MaxInFlight: benchInFlight, AttributesMaxAge: time.Hour, Endpoint: base,
			Anonymous: true, DeleteRate: config.Rate{Start: 100_000, Ceiling: 100_000},
			ReadRate: config.Rate{Start: 100_000, Ceiling: 100_000},
		},
		Locations: locations,
		Transport: network,
	})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = store.Close() }) // nothing to lose
	client, err := storage.NewClient(b.Context(), option.WithHTTPClient(&http.Client{Transport: network}),
		option.WithEndpoint(base))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = client.Close() }) // nothing to lose

	var ours, bare time.Duration // of processor time, which other programs on the machine do not add to
	for b.Loop() {
		ours += benchDelete(b, server, func(g purge.Generation) error { return store.Delete(b.Context(), g) })
		bare += benchDelete(b, server, func(g purge.Generation) error {
			return client.Bucket(g.Directory.Bucket).Object(g.Name).Generation(g.Number).Delete(b.Context())
		})
	}
	deletes := float64(b.N * benchBatch)
	b.ReportMetric(float64(ours.Microseconds())/deletes, "cpu-µs/delete")
	b.ReportMetric(float64(bare.Microseconds())/deletes, "bare-cpu-µs/delete")
	b.ReportMetric(ours.Seconds()/bare.Seconds(), "ratio")
	if stats := store.Stats()[0].Deletes; stats.Throttled > 0 {
		b.Errorf("the emulator throttled: %+v", stats)
	}
}

// benchDelete deletes a batch and returns the processor time that client and emulator took for it.
func benchDelete(b *testing.B, server *gcstest.Server, remove func(purge.Generation) error) time.Duration {
	b.Helper()
	server.CreateBucket(purgetest.Bucket, gcstest.BucketConfig{})
	batch := make([]purge.Generation, benchBatch)
	for i := range batch {
		dir := purge.Directory{Bucket: purgetest.Bucket, Prefix: "downloads/" + id(i) + "/"}
		number, err := server.Put(dir.Bucket, dir.Prefix+"Certificate.pdf", []byte("%PDF"), gcstest.ObjectOptions{})
		if err != nil {
			b.Fatal(err)
		}
		batch[i] = purge.Generation{Directory: dir, Name: dir.Prefix + "Certificate.pdf", Number: number}
	}
	begun := processorTime(b)
	var next atomic.Int64
	var deleting sync.WaitGroup
	for range benchInFlight {
		deleting.Go(func() {
			for i := next.Add(1) - 1; i < benchBatch; i = next.Add(1) - 1 {
				if err := remove(batch[i]); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	deleting.Wait()
	return processorTime(b) - begun
}

// processorTime is what this process has used so far.
func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
