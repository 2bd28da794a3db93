package gcs_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"cloud.google.com/go/storage"

	"github.com/certpurge/certpurge/internal/config"
	"github.com/certpurge/certpurge/internal/gcs"
	"github.com/certpurge/certpurge/internal/gcs/gcstest"
	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/purge/purgetest"
)

func TestSituationsOnTheEmulator(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		server []gcstest.Option
		batch  bool
		pages  bool // some of them empty
	}{
		"single deletes":               {},
		"pages without items":          {pages: true},
		"batches":                      {batch: true},
		"batches, the server has none": {batch: true, server: []gcstest.Option{gcstest.WithoutBatches()}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			purgetest.Situations(t, func(t *testing.T, accept bool) purgetest.World {
				t.Helper()
				w := newWorldOn(t, tc.server, func(c *gcs.Config) {
					c.AcceptSoftDelete = accept
					if tc.batch {
						gcs.BatchFrom(c, 1, nil)
					}
					if strings.Contains(t.Name(), "deadline_in_backoff") {
						c.MaxTries = 100
					}
				})
				w.server.SetEmptyPages(tc.pages)
				return w
			})
		})
	}
}

var dirD = purge.Directory{Bucket: purgetest.Bucket, Prefix: "downloads/" + purgetest.DownloadID + "/"}

func TestListReadsEveryPage(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		t.Helper()
		if err := b.server.UpdateBucket(purgetest.Bucket, func(c *gcstest.BucketConfig) { c.Versioning = true }); err != nil {
			t.Fatal(err)
		}
		for range 1203 {
			if _, err := b.server.Put(purgetest.Bucket, dirD.Prefix+"Certificate.pdf", []byte("%PDF"),
				gcstest.ObjectOptions{}); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := b.List(t.Context(), dirD); err != nil || len(got) != 1203 {
			t.Errorf("got %d generations, %v; want 1203", len(got), err)
		}
	})
}

// TestADirectoryOfManySlowPages: six pages of ten seconds take longer than the time of one call, and the purge ends as
// done.
func TestADirectoryOfManySlowPages(t *testing.T) {
	t.Parallel()
	const objects = 5500
	inBubble(t, func(t *testing.T, b *bubble) {
		t.Helper()
		user := b.store.NewUser(purgetest.Retiring)
		b.store.NewReference(user, purge.Live, purgetest.DownloadID, purgetest.VerifyID, "")
		for i := range objects {
			if _, err := b.server.Put(purgetest.Bucket, fmt.Sprintf("%s%d.pdf", dirD.Prefix, i), []byte("%PDF"),
				gcstest.ObjectOptions{}); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := b.server.Put(purgetest.Bucket, "cert/"+purgetest.VerifyID+"/valid.html", []byte("%PDF"),
			gcstest.ObjectOptions{}); err != nil {
			t.Fatal(err)
		}
		if _, err := b.store.Accept(t.Context(), []purge.Submission{{User: user, Key: "k"}}); err != nil {
			t.Fatal(err)
		}
		// Two of the pages fail once: their tries are their own, too.
		b.server.SetFaults(1, gcstest.Fault{Op: gcstest.OpList, Latency: 10 * time.Second},
			gcstest.Fault{Op: gcstest.OpList, Skip: 3, Count: 1, Status: http.StatusServiceUnavailable},
			gcstest.Fault{Op: gcstest.OpList, Skip: 5, Count: 1, Status: http.StatusServiceUnavailable})
		purger := purge.Purger{
			Users: b.store, Ledger: b.store, Objects: b.Store, Locations: b.cfg.Locations,
			Policy: purge.Policy{ClearHistory: true, MaxAttempts: 1},
		}
		result, err := purger.Purge(t.Context(), purge.Task{Request: 1, User: user})
		if err != nil || result.State != purge.Done || result.Counts.ObjectsErased != objects+1 {
			t.Errorf("got %+v, %v", result, err)
		}
	})
}

func TestListReportsWhatProtectsAnObject(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	until := w.Now().Add(48 * time.Hour)
	for _, name := range []string{"held", "locked", "free"} {
		w.Put(dirD.Prefix + name)
	}
	w.Hold(dirD.Prefix+"held", false, true)
	w.Lock(dirD.Prefix+"locked", until)
	got, err := w.List(t.Context(), dirD)
	if err != nil || len(got) != 3 {
		t.Fatalf("got %v, %v", got, err)
	}
	for _, g := range got {
		held, retained := strings.HasSuffix(g.Name, "held"), strings.HasSuffix(g.Name, "locked")
		if g.Held != held || g.RetainedUntil.IsZero() == retained || g.Number <= 0 || g.Size != 7 || g.Directory != dirD {
			t.Errorf("got %+v", g)
		}
		if retained && g.RetainedUntil.Sub(until).Abs() > time.Second {
			t.Errorf("got %v, want %v", g.RetainedUntil, until)
		}
	}
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Put(dirD.Prefix + "Certificate.pdf")
	found, err := w.List(t.Context(), dirD)
	if err != nil {
		t.Fatal(err)
	}
	w.server.SetFaults(1, gcstest.Fault{Proxy: gcstest.ProxyRedirect})
	if err := w.Delete(t.Context(), found[0]); err == nil {
		t.Error("a redirected delete was believed")
	}
	if _, err := w.List(t.Context(), dirD); err == nil {
		t.Error("a redirected listing was believed")
	}
	if got := w.server.Stats().Others; got != 0 {
		t.Errorf("%d redirects were followed", got)
	}
}

func TestStoreRefusesForeignDirectories(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Put("secret.txt")
	for _, dir := range []purge.Directory{
		{Bucket: purgetest.Bucket},
		{Bucket: purgetest.Bucket, Prefix: "cert/"},
		{Bucket: "other", Prefix: dirD.Prefix},
	} {
		if _, err := w.List(t.Context(), dir); purge.ClassOf(err) != purge.Unrecognised {
			t.Errorf("listing %+v: got %v, want it refused", dir, err)
		}
		if err := w.Delete(t.Context(), purge.Generation{
			Directory: dir, Name: "secret.txt",
			Number: 1,
		}); purge.ClassOf(err) != purge.Unrecognised {
			t.Errorf("deleting in %+v: got %v, want it refused", dir, err)
		}
	}
	if err := w.Delete(t.Context(), purge.Generation{Directory: dirD, Name: "secret.txt", Number: 1}); err == nil {
		t.Error("deleted a name outside its directory")
	}
	if err := w.Delete(t.Context(), purge.Generation{Directory: dirD, Name: dirD.Prefix + "x"}); err == nil {
		t.Error("deleted without a generation")
	}
	if w.server.Stats().Deletes > 0 || len(w.Stored()) != 1 {
		t.Error("a delete was sent")
	}
}

func TestThreeWavesWhateverTheNumberOfCertificates(t *testing.T) {
	t.Parallel()
	const certificates, latency = 45, 200 * time.Millisecond
	inBubble(t, func(t *testing.T, b *bubble) {
		t.Helper()
		user := b.store.NewUser(purgetest.Retiring)
		for n := range certificates {
			b.store.NewReference(user, purge.Live, id(n), id(1000+n), "")
			for _, name := range []string{"downloads/" + id(n) + "/Certificate.pdf", "cert/" + id(1000+n) + "/valid.html"} {
				if _, err := b.server.Put(purgetest.Bucket, name, []byte("personal"), gcstest.ObjectOptions{}); err != nil {
					t.Fatal(err)
				}
			}
		}
		if _, err := b.store.Accept(t.Context(), []purge.Submission{{User: user, Key: "k"}}); err != nil {
			t.Fatal(err)
		}
		if _, err := b.Probe(t.Context()); err != nil {
			t.Fatal(err)
		}
		before := b.server.Stats()
		b.server.SetFaults(1, gcstest.Fault{Latency: latency})
		purger := purge.Purger{
			Users: b.store, Ledger: b.store, Objects: b.Store, Locations: b.cfg.Locations,
			Policy: purge.Policy{ClearHistory: true, MaxAttempts: 1},
		}
		begun := time.Now()
		result, err := purger.Purge(t.Context(), purge.Task{Request: 1, User: user})
		if err != nil || result.Counts.ObjectsErased != 2*certificates {
			t.Fatalf("got %+v, %v", result, err)
		}
		if took := time.Since(begun); took != 3*latency {
			t.Errorf("took %v, want three waves of %v", took, latency)
		}
		after := b.server.Stats()
		if lists, deletes := after.Lists-before.Lists, after.Deletes-before.Deletes; lists != 4*certificates ||
			deletes != 2*certificates {
			t.Errorf("got %d lists and %d deletes, want one list of each directory before and after, and one delete of "+
				"each object", lists, deletes)
		}
	}, func(c *gcs.Config) { c.MaxInFlight = 100 })
}

func TestAtMostMaxInFlightCallsAtATime(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *gcs.Config) { c.MaxInFlight = 3 })
	w.server.SetFaults(1, gcstest.Fault{Latency: 20 * time.Millisecond})
	done := make(chan error)
	for range 20 {
		go func() {
			_, err := w.List(t.Context(), dirD)
			done <- err
		}()
	}
	for range 20 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if got := w.server.Stats().MaxInFlight; got > 3 {
		t.Errorf("got %d calls at a time, want at most 3", got)
	}
}

func TestProbeNamesWhatIsWrong(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		arrange func(*world)
		accept  bool
		want    []string // parts of the error; none: no error
	}{
		"all is well":    {arrange: func(*world) {}},
		"bucket missing": {arrange: (*world).DropBucket, want: []string{`"certs"`, "no such bucket"}},
		"may not delete": {
			arrange: func(w *world) { w.server.Deny("certs", "storage.objects.delete") },
			want:    []string{`"certs"`, "storage.objects.delete"},
		},
		"may not read the settings": {
			arrange: func(w *world) { w.server.Deny("certs", "storage.buckets.get") },
			want:    []string{`"certs"`, "403"},
		},
		"soft delete": {
			arrange: func(w *world) { w.SoftDelete(168 * time.Hour) },
			want:    []string{`"certs"`, "168h", "gcs.accept_soft_delete"},
		},
		"soft delete, accepted": {arrange: func(w *world) { w.SoftDelete(168 * time.Hour) }, accept: true},
		"requester pays, no project": {arrange: func(w *world) {
			w.change(storage.BucketAttrsToUpdate{RequesterPays: true})
		}, want: []string{"gcs.user_project"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, func(c *gcs.Config) { c.AcceptSoftDelete = tc.accept })
			tc.arrange(w)
			settings, err := w.Probe(t.Context())
			if (err == nil) != (len(tc.want) == 0) || err != nil && purge.ClassOf(err) != purge.Misconfigured {
				t.Fatalf("got %v", err)
			}
			for _, part := range tc.want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("got %q, want it to name %q", err, part)
				}
			}
			if err == nil && len(settings) != 1 {
				t.Errorf("got settings %v", settings)
			}
		})
	}
}

func TestSettingsAreReadAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *gcs.Config) { c.AttributesMaxAge = time.Minute })
	if all := w.Settings(); len(all) != 0 {
		t.Errorf("before anything was read: got %+v", all)
	}
	if _, err := w.List(t.Context(), dirD); err != nil {
		t.Fatal(err)
	}
	w.SoftDelete(168 * time.Hour)
	if _, err := w.List(t.Context(), dirD); err != nil {
		t.Errorf("within a minute: %v", err)
	}
	w.Advance(2 * time.Minute)
	if _, err := w.List(t.Context(), dirD); purge.ClassOf(err) != purge.Misconfigured {
		t.Errorf("after it: got %v, want the new soft delete to be noticed", err)
	}
	if all := w.Settings(); len(all) != 1 || all[0].SoftDelete != 168*time.Hour {
		t.Errorf("got %+v, want the settings shown in which it refuses to work", all)
	}
}

func TestEmulatorMustBeAllowed(t *testing.T) {
	t.Parallel()
	cfg := gcs.Config{
		GCS:       config.GCS{MaxInFlight: 1, Anonymous: true},
		Locations: purgetest.OneLocation(t),
		Environ:   []string{"STORAGE_EMULATOR_HOST=127.0.0.1:9"},
	}
	if _, err := gcs.Open(t.Context(), cfg); purge.ClassOf(err) != purge.Misconfigured ||
		!strings.Contains(err.Error(), "STORAGE_EMULATOR_HOST") {
		t.Errorf("got %v, want a refusal that names STORAGE_EMULATOR_HOST", err)
	}
	cfg.AllowEmulator = true
	store, err := gcs.Open(t.Context(), cfg)
	if err != nil {
		t.Fatalf("allowed: %v", err)
	}
	if err := store.Close(); err != nil {
		t.Error(err)
	}
}

// serviceAccount writes a key file whose tokens come from tokenURL.
func serviceAccount(t *testing.T, tokenURL string) string {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(map[string]string{
		"type": "service_account", "client_email": "purger@example.org", "private_key_id": "k", "token_uri": tokenURL,
		"private_key": string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})),
	})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "key.json")
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestCredentials(t *testing.T) {
	t.Parallel()
	var refusing, overloaded atomic.Bool
	tokens := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if overloaded.Load() {
			http.Error(w, "try again", http.StatusServiceUnavailable)
			return
		}
		if refusing.Load() {
			http.Error(w, `{"error":"invalid_grant"}`, http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"access_token":"t0ken","token_type":"Bearer","expires_in":1}`)) // a test server
	}))
	t.Cleanup(tokens.Close)
	var seen atomic.Value
	network := &http.Transport{}
	t.Cleanup(network.CloseIdleConnections)
	w := newWorld(t)
	front := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		seen.Store(r.Header.Get("Authorization"))
		w.server.ServeHTTP(rw, r)
	}))
	t.Cleanup(front.Close)
	cfg := gcs.Config{
		GCS: config.GCS{
			MaxInFlight: 2, MaxTries: 2, CallTimeout: 5 * time.Second, AttributesMaxAge: time.Hour,
			Endpoint: front.URL + "/storage/v1/", CredentialsFile: serviceAccount(t, tokens.URL),
		},
		Locations: purgetest.OneLocation(t),
	}
	store, err := gcs.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() }) // nothing to lose
	if _, err := store.Probe(t.Context()); err != nil || seen.Load() != "Bearer t0ken" {
		t.Errorf("got %v with authorization %q", err, seen.Load())
	}
	if who, err := store.Account(t.Context()); err != nil || who.Found != "gcs.credentials_file" ||
		!strings.Contains(who.Name, "@") {
		t.Errorf("got %+v, %v; want the account of the file", who, err)
	}
	refusing.Store(true)
	cfg.CredentialsFile = serviceAccount(t, tokens.URL)
	refused, err := gcs.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = refused.Close() }) // nothing to lose
	if _, err := refused.Probe(t.Context()); purge.ClassOf(err) != purge.Misconfigured ||
		strings.Contains(err.Error(), "example.org") {
		t.Errorf("without a token: got %v, want a misconfiguration without the account", err)
	}
	if _, err := refused.Account(t.Context()); purge.ClassOf(err) != purge.Misconfigured {
		t.Errorf("without a token: got %v for the account", err)
	}
	overloaded.Store(true)
	if _, err := refused.Probe(t.Context()); purge.ClassOf(err) != purge.Unavailable || !strings.Contains(err.Error(),
		"503") {
		t.Errorf("an overloaded token endpoint: got %v, want it to be waited for", err)
	}
	overloaded.Store(false)
	refusing.Store(false)
	if _, err := refused.Probe(t.Context()); err != nil {
		t.Errorf("afterwards: %v", err)
	}
	cfg.CredentialsFile = "no-such-file.json"
	if _, err := gcs.Open(t.Context(), cfg); purge.ClassOf(err) != purge.Misconfigured ||
		!strings.Contains(err.Error(), "gcs.credentials_file") {
		t.Errorf("without a file: got %v", err)
	}
}
