package gcs_test

import (
	"bytes"
	"cmp"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/certpurge/certpurge/internal/config"
	"github.com/certpurge/certpurge/internal/gcs"
	"github.com/certpurge/certpurge/internal/gcs/gcstest"
	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/purge/purgetest"
)

// bubble is the adapter over the emulator, without a network and on a clock of its own: a test of minutes takes none,
// and the load of the machine changes nothing.
type bubble struct {
	*gcs.Store
	t      *testing.T
	server *gcstest.Server
	store  *purgetest.FakeStore
	cfg    gcs.Config
	log    bytes.Buffer // written under the lock of its handler; read it while no call is running
}

func inBubble(t *testing.T, test func(t *testing.T, b *bubble), change ...func(*gcs.Config)) {
	t.Helper()
	inOneBubble(t, test, change...)
	if t.Failed() {
		return
	}
	inOneBubble(t, func(t *testing.T, b *bubble) {
		t.Helper()
		if test(t, b); t.Failed() {
			t.Log("with batches")
		}
	}, append(change, func(c *gcs.Config) { gcs.BatchFrom(c, 1, nil) })...)
}

// inOneBubble runs a test once, inBubble again with each delete in a batch.
func inOneBubble(t *testing.T, test func(t *testing.T, b *bubble), change ...func(*gcs.Config)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		t.Helper()
		b := &bubble{t: t, server: gcstest.New(), store: purgetest.NewFakeStore()}
		b.server.CreateBucket(purgetest.Bucket, gcstest.BucketConfig{})
		b.cfg = gcs.Config{
			GCS: config.GCS{
				CallTimeout: 30 * time.Second, MaxTries: 4, MaxInFlight: 64, AttributesMaxAge: time.Minute, Anonymous: true,
				DeleteRate: config.Rate{Start: 1000, Ceiling: 4000}, ReadRate: config.Rate{Start: 5000, Ceiling: 20_000},
			},
			Locations: purgetest.OneLocation(t),
			Transport: inMemory{b.server},
			Log:       slog.New(slog.NewTextHandler(&b.log, nil)),
		}
		for _, c := range change {
			c(&b.cfg)
		}
		var err error
		if b.Store, err = gcs.Open(t.Context(), b.cfg); err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := b.Close(); err != nil {
				t.Errorf("closing: %v", err)
			}
		}()
		test(t, b)
	})
}

// inMemory stands in the place of the network.
type inMemory struct{ server *gcstest.Server }

func (m inMemory) RoundTrip(r *http.Request) (resp *http.Response, err error) {
	defer func() {
		if recover() != nil { // how the emulator hangs up
			resp, err = nil, cmp.Or(r.Context().Err(), error(syscall.ECONNRESET))
		}
	}()
	w := httptest.NewRecorder()
	m.server.ServeHTTP(w, r)
	return w.Result(), nil
}

// id is the n-th of as many ids as a test needs.
func id(n int) string { return fmt.Sprintf("%032x", n) }

// put stores n objects of a certificate of their own each, and returns their generations.
func (b *bubble) put(n int) []purge.Generation {
	b.t.Helper()
	var all []purge.Generation
	for i := range n {
		dir := purge.Directory{Bucket: purgetest.Bucket, Prefix: "downloads/" + id(i) + "/"}
		name := dir.Prefix + "Certificate.pdf"
		number, err := b.server.Put(dir.Bucket, name, []byte("%PDF"), gcstest.ObjectOptions{})
		if err != nil {
			b.t.Fatal(err)
		}
		all = append(all, purge.Generation{Directory: dir, Name: name, Number: number})
	}
	return all
}

// deleteAll deletes all at the same time and returns the errors.
func (b *bubble) deleteAll(all []purge.Generation) []error {
	b.t.Helper()
	errs := make([]error, len(all))
	var wg sync.WaitGroup
	for i, g := range all {
		wg.Go(func() { errs[i] = b.Delete(b.t.Context(), g) })
	}
	wg.Wait()
	return errs
}

// lines are the lines logged so far that hold a text.
func (b *bubble) lines(holding string) int {
	n := 0
	for line := range strings.Lines(b.log.String()) {
		if strings.Contains(line, holding) {
			n++
		}
	}
	return n
}

func (b *bubble) deletes() gcs.PaceStats { return b.Stats()[0].Deletes }

// pause waits on the bubble's clock.
func pause(d time.Duration) { <-time.After(d) }
