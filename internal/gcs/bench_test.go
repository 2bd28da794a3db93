package gcs_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"cloud.google.com/go/storage"
	"google.golang.org/api/iterator"
	"google.golang.org/api/option"

	"github.com/certpurge/certpurge/internal/config"
	"github.com/certpurge/certpurge/internal/gcs"
	"github.com/certpurge/certpurge/internal/gcs/gcstest"
	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/purge/purgetest"
)

const (
	benchInFlight = 50
	benchWave     = 4 // calls of an attempt at the same time
	// benchLatency is the variable with the latency of the storage server that TestMain is then, a process of its own.
	benchLatency = "CERTPURGE_BENCH_STORAGE"
)

// TestMain serves storage for BenchmarkCalls if that started this program for it.
func TestMain(m *testing.M) {
	if latency, ok := os.LookupEnv(benchLatency); ok {
		serveBench(latency)
		return
	}
	m.Run()
}

// serveBench prints the base URL of an emulator with one directory of two files. For each number that it reads it
// stores so many objects and prints their generations. It serves until its standard input is closed.
func serveBench(latency string) {
	server := gcstest.New()
	server.CreateBucket(purgetest.Bucket, gcstest.BucketConfig{})
	for _, file := range []string{"Certificate.pdf.sig", "valid.html"} {
		if _, err := server.Put(purgetest.Bucket, benchDirectory.Prefix+file, []byte("x"), gcstest.ObjectOptions{}); err != nil {
			panic(err)
		}
	}
	if d, err := time.ParseDuration(latency); err != nil {
		panic(err)
	} else if d > 0 {
		server.SetFaults(1, gcstest.Fault{Latency: d})
	}
	base, stop, err := server.Start()
	if err != nil {
		panic(err)
	}
	defer stop()
	out := bufio.NewWriter(os.Stdout)
	_, _ = fmt.Fprintln(out, base)
	for objects, n := 0, 0; out.Flush() == nil; {
		if _, err := fmt.Scanln(&objects); err != nil {
			return
		}
		for range objects {
			generation, err := server.Put(purgetest.Bucket, benchName(n), []byte("x"), gcstest.ObjectOptions{})
			if err != nil {
				panic(err)
			}
			_, _ = fmt.Fprintln(out, generation)
			n++
		}
	}
}

var (
	benchDirectory = purge.Directory{Bucket: purgetest.Bucket, Prefix: "cert/" + id(1) + "/"}
	// benchSelected are the attributes that a purge reads.
	benchSelected = []string{
		"Name", "Generation", "Size", "Created", "TemporaryHold", "EventBasedHold",
		"RetentionExpirationTime", "Retention", "CacheControl",
	}
)

// BenchmarkCalls shows what one call costs this process: through the store, through the bare client library and through
// net/http, which does not read the listing. The storage server is a process of its own. 50 attempts make four calls at
// the same time each, as a purge does; cpu-µs/op is processor time.
func BenchmarkCalls(b *testing.B) {
	for _, latency := range []string{"0s", "40ms"} {
		server := startBench(b, latency)
		network := &http.Transport{MaxIdleConnsPerHost: benchInFlight * benchWave, MaxIdleConns: benchInFlight * benchWave}
		b.Cleanup(network.CloseIdleConnections)
		store, batching := benchStore(b, server.base, false), benchStore(b, server.base, true)
		client, err := storage.NewClient(b.Context(), option.WithHTTPClient(&http.Client{Transport: network}),
			option.WithEndpoint(server.base))
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = client.Close() }) // nothing to lose
		bucket := client.Bucket(purgetest.Bucket)
		raw := func(method, path string) error {
			r, err := http.NewRequestWithContext(b.Context(), method, server.base+"b/"+purgetest.Bucket+"/o"+path, http.NoBody)
			if err != nil {
				return err
			}
			resp, err := network.RoundTrip(r)
			if err != nil {
				return err
			}
			_, err = io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close() // read whole
			return err
		}
		for _, way := range []struct {
			name string
			list func() error
		}{
			{"store", func() error {
				_, err := store.List(b.Context(), benchDirectory)
				return err
			}},
			{"library", func() error { return listBare(b.Context(), bucket, nil) }},
			{"library,selected", func() error { return listBare(b.Context(), bucket, benchSelected) }},
			{"http", func() error {
				return raw(http.MethodGet, "?versions=true&projection=noAcl&prefix="+url.QueryEscape(benchDirectory.Prefix))
			}},
		} {
			b.Run("list/"+way.name+"/"+latency, func(b *testing.B) {
				benchCalls(b, func(int) error { return way.list() })
			})
		}
		for _, way := range []struct {
			name   string
			remove func(purge.Generation) error
		}{
			{"batches", func(g purge.Generation) error { return batching.Delete(b.Context(), g) }},
			{"store", func(g purge.Generation) error { return store.Delete(b.Context(), g) }},
			{"library", func(g purge.Generation) error {
				return bucket.Object(g.Name).Generation(g.Number).Delete(b.Context())
			}},
			{"http", func(g purge.Generation) error {
				return raw(http.MethodDelete, fmt.Sprintf("/%s?generation=%d", url.PathEscape(g.Name), g.Number))
			}},
		} {
			b.Run("delete/"+way.name+"/"+latency, func(b *testing.B) {
				stored := server.put(b, b.N)
				benchCalls(b, func(n int) error { return way.remove(stored[n]) })
			})
		}
	}
}

// benchServer is the storage server, a process of its own.
type benchServer struct {
	base string
	in   io.WriteCloser
	out  io.Reader
	puts int
}

func startBench(b *testing.B, latency string) *benchServer {
	b.Helper()
	server := exec.CommandContext(b.Context(), os.Args[0]) //nolint:gosec // G204: it is this program
	server.Env, server.Stderr = append(os.Environ(), benchLatency+"="+latency), os.Stderr
	in, err := server.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := server.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := server.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = in.Close() // which ends it
		_ = server.Wait()
	})
	s := &benchServer{in: in, out: bufio.NewReader(out)}
	if _, err := fmt.Fscanln(s.out, &s.base); err != nil {
		b.Fatal(err)
	}
	return s
}

// put stores n new objects.
func (s *benchServer) put(b *testing.B, n int) []purge.Generation {
	b.Helper()
	if _, err := fmt.Fprintln(s.in, n); err != nil {
		b.Fatal(err)
	}
	all := make([]purge.Generation, n)
	for i := range all {
		name := benchName(s.puts)
		s.puts++
		all[i] = purge.Generation{
			Directory: purge.Directory{Bucket: purgetest.Bucket, Prefix: path.Dir(name) + "/"}, Name: name,
		}
		if _, err := fmt.Fscanln(s.out, &all[i].Number); err != nil {
			b.Fatal(err)
		}
	}
	return all
}

// benchName is the n-th object that is deleted, each of another certificate, as in a backfill.
func benchName(n int) string { return "downloads/" + id(n) + "/Certificate.pdf" }

func benchStore(b *testing.B, base string, batches bool) *gcs.Store {
	b.Helper()
	locations, err := purge.NewLocations([]purge.Location{{
		Name: "main", Bucket: purgetest.Bucket,
		DownloadsDir: "downloads", VerifyDir: "cert",
	}})
	if err != nil {
		b.Fatal(err)
	}
	store, err := gcs.Open(b.Context(), gcs.Config{
		GCS: config.GCS{
			CallTimeout: time.Minute, MaxTries: 1, MaxInFlight: benchInFlight * benchWave, AttributesMaxAge: time.Hour, Endpoint: base,
			Anonymous: true, DeleteRate: config.Rate{Start: 100_000, Ceiling: 100_000},
			ReadRate: config.Rate{Start: 100_000, Ceiling: 100_000}, MaxGenerations: 1000, MaxListingBytes: 16 << 20,
			BatchDeletes: batches,
		},
		Locations: locations,
		Observe:   func(string, int, time.Duration) {},
	})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = store.Close() }) // nothing to lose
	return store
}

func listBare(ctx context.Context, bucket *storage.BucketHandle, selected []string) error {
	q := &storage.Query{Prefix: benchDirectory.Prefix, Versions: true, Projection: storage.ProjectionNoACL}
	if err := q.SetAttrSelection(selected); err != nil {
		return err
	}
	for it := bucket.Objects(ctx, q); ; {
		if _, err := it.Next(); errors.Is(err, iterator.Done) {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// benchCalls makes b.N calls.
func benchCalls(b *testing.B, call func(n int) error) {
	b.Helper()
	b.ReportAllocs()
	b.ResetTimer()
	var next atomic.Int64
	var calling sync.WaitGroup
	begun := processorTime(b)
	for range benchInFlight {
		calling.Go(func() {
			for n := next.Add(benchWave); n <= int64(b.N)+benchWave-1; n = next.Add(benchWave) {
				var wave sync.WaitGroup
				for i := n - benchWave; i < min(n, int64(b.N)); i++ {
					wave.Go(func() {
						if err := call(int(i)); err != nil {
							b.Error(err)
						}
					})
				}
				wave.Wait()
			}
		})
	}
	calling.Wait()
	b.ReportMetric(float64((processorTime(b)-begun).Nanoseconds())/1000/float64(b.N), "cpu-µs/op")
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
