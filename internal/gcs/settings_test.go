package gcs_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/certpurge/certpurge/internal/config"
	"github.com/certpurge/certpurge/internal/gcs"
	"github.com/certpurge/certpurge/internal/gcs/gcstest"
	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/purge/purgetest"
)

// TestSoftDeleteThatWasJustSwitchedOnIsNotMissed: the settings were read before, and are believed for an hour.
func TestSoftDeleteThatWasJustSwitchedOnIsNotMissed(t *testing.T) {
	t.Parallel()
	for name, accept := range map[string]bool{"accepted": true, "not accepted": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, func(c *gcs.Config) { c.AcceptSoftDelete = accept })
			w.Put(dirD.Prefix + "Certificate.pdf")
			found, err := w.List(t.Context(), dirD)
			if err != nil || len(found) != 1 {
				t.Fatalf("got %v, %v", found, err)
			}
			w.SoftDelete(168 * time.Hour)
			w.Advance(time.Minute)
			if err := w.Delete(t.Context(), found[0]); err != nil {
				t.Fatal(err)
			}
			soft, err := w.SoftDeleted(t.Context(), dirD, time.Now())
			if accept && (err != nil || len(soft) != 1) || !accept && purge.ClassOf(err) != purge.Misconfigured {
				t.Errorf("got %v, %v; want it noticed that the object can be restored", soft, err)
			}
		})
	}
}

// TestOldSettingsAreNotBelievedAfterAFailure: a question that failed says nothing, least of all what was true before.
func TestOldSettingsAreNotBelievedAfterAFailure(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	if _, err := w.List(t.Context(), dirD); err != nil {
		t.Fatal(err)
	}
	w.server.AddFault(gcstest.Fault{Op: gcstest.OpBucketGet, Status: http.StatusServiceUnavailable})
	if _, err := w.Probe(t.Context()); purge.ClassOf(err) != purge.Transient {
		t.Fatalf("got %v", err)
	}
	if _, err := w.List(t.Context(), dirD); err == nil {
		t.Error("worked with settings from before a failure")
	}
	w.Fix()
	if _, err := w.List(t.Context(), dirD); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

// answering is a store whose requests are answered by the function.
func answering(t *testing.T, f roundTripper) *gcs.Store {
	t.Helper()
	store, err := gcs.Open(t.Context(), gcs.Config{
		GCS: config.GCS{
			CallTimeout: time.Minute, MaxTries: 1, MaxInFlight: 1, AttributesMaxAge: time.Hour, Anonymous: true,
		},
		Locations: purgetest.OneLocation(t),
		Transport: f,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() }) // nothing to lose
	return store
}

// TestOverlappingReadsKeepTheNewerSettings: a read that began before another one, and ends after it, replaces nothing.
func TestOverlappingReadsKeepTheNewerSettings(t *testing.T) {
	t.Parallel()
	arrived, release := make(chan struct{}), make(chan struct{})
	var reads atomic.Int32
	store, err := gcs.Open(t.Context(), gcs.Config{
		GCS: config.GCS{
			CallTimeout: time.Minute, MaxTries: 1, MaxInFlight: 2, AttributesMaxAge: time.Hour, Anonymous: true,
			AcceptSoftDelete: true,
		},
		Locations: purgetest.OneLocation(t),
		Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
			policy := "0"
			switch {
			case strings.HasSuffix(r.URL.Path, "/o"):
				return answer(r, http.StatusOK, "application/json", `{"kind": "storage#objects"}`), nil
			case reads.Add(1) == 1: // its answer is on the way while soft delete is switched off
				close(arrived)
				<-release
				policy = "604800"
			}
			return answer(r, http.StatusOK, "application/json", `{"kind": "storage#bucket", "name": "certs",`+
				` "softDeletePolicy": {"retentionDurationSeconds": "`+policy+`"}}`), nil
		}),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() }) // nothing to lose
	read := func() error {
		_, err := store.SoftDeleted(t.Context(), dirD, time.Now())
		return err
	}
	older := make(chan error, 1)
	go func() { older <- read() }()
	<-arrived
	err = read()
	close(release)
	if err := errors.Join(err, <-older); err != nil {
		t.Fatal(err)
	}
	if got := store.Settings(); reads.Load() != 2 || len(got) != 1 || got[0].SoftDelete != 0 {
		t.Errorf("got %+v after %d reads; want soft delete off, which the later read saw", got, reads.Load())
	}
}

func TestOnlyTheBucketItselfIsBelieved(t *testing.T) {
	t.Parallel()
	const empty = `{"kind": "storage#objects"}`
	for name, tc := range map[string]struct {
		settings, permissions string
		ok                    bool
	}{
		"the bucket": {
			`{"kind": "storage#bucket", "name": "certs"}`,
			`{"kind": "storage#testIamPermissionsResponse", "permissions":` +
				` ["storage.objects.list", "storage.objects.delete", "storage.buckets.get"]}`, true,
		},
		"another bucket":              {settings: `{"kind": "storage#bucket", "name": "other"}`},
		"no name":                     {settings: `{"kind": "storage#bucket"}`},
		"no kind":                     {settings: `{"name": "certs"}`},
		"another kind":                {settings: `{"kind": "storage#object", "name": "certs"}`},
		"an answer to something else": {settings: `{"status": "ok"}`},
		"permissions of another kind": {
			settings:    `{"kind": "storage#bucket", "name": "certs"}`,
			permissions: `{"permissions": []}`,
		},
		"permissions that are a page ": {
			settings:    `{"kind": "storage#bucket", "name": "certs"}`,
			permissions: `<html></html>`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store := answering(t, func(r *http.Request) (*http.Response, error) {
				switch {
				case strings.HasSuffix(r.URL.Path, "/o"):
					return answer(r, http.StatusOK, "application/json", empty), nil
				case strings.HasSuffix(r.URL.Path, "/iam/testPermissions"):
					return answer(r, http.StatusOK, "application/json", tc.permissions), nil
				default:
					return answer(r, http.StatusOK, "application/json", tc.settings), nil
				}
			})
			_, err := store.Probe(t.Context())
			if (err == nil) != tc.ok || err != nil && purge.ClassOf(err) != purge.Transient {
				t.Errorf("probing: got %v", err)
			}
			if tc.permissions != "" {
				return
			}
			if _, err := store.List(t.Context(), dirD); err == nil {
				t.Error("listed with the settings of something else")
			}
		})
	}
}

// withoutSoftDelete drops what a bucket's answer says of soft delete.
type withoutSoftDelete struct{ next http.RoundTripper }

func (w withoutSoftDelete) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := w.next.RoundTrip(r)
	if err != nil || !strings.HasSuffix(r.URL.Path, "/b/"+purgetest.Bucket) {
		return resp, err
	}
	var resource map[string]any
	if err := json.NewDecoder(resp.Body).Decode(&resource); err != nil {
		return nil, errors.Join(err, resp.Body.Close())
	}
	delete(resource, "softDeletePolicy")
	body, err := json.Marshal(resource)
	resp.Body = io.NopCloser(bytes.NewReader(body))
	return resp, err
}

// TestAMissingSoftDeletePolicyIsUnknown: a field that is missing is not one that says "off".
func TestAMissingSoftDeletePolicyIsUnknown(t *testing.T) {
	t.Parallel()
	for name, policy := range map[string]time.Duration{"there is one": 168 * time.Hour, "there is none": 0} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, func(c *gcs.Config) { c.Transport = withoutSoftDelete{c.Transport} })
			w.SoftDelete(policy)
			w.Put(dirD.Prefix + "Certificate.pdf")
			found, err := w.List(t.Context(), dirD)
			if err != nil || len(found) != 1 {
				t.Fatalf("got %v, %v", found, err)
			}
			if err := w.Delete(t.Context(), found[0]); err != nil {
				t.Fatal(err)
			}
			soft, err := w.SoftDeleted(t.Context(), dirD, time.Now())
			if want := min(1, int(policy)); err != nil || len(soft) != want {
				t.Errorf("got %v, %v; want %d restorable", soft, err, want)
			}
			if all := w.Settings(); len(all) != 1 || !all[0].SoftDeleteUnknown {
				t.Errorf("got settings %+v", all)
			}
		})
	}
}

// TestAForeignNameSpoilsAListing: nothing in a listing can be believed that shows a name which was not requested.
func TestAForeignNameSpoilsAListing(t *testing.T) {
	t.Parallel()
	store := answering(t, func(r *http.Request) (*http.Response, error) {
		if !strings.HasSuffix(r.URL.Path, "/o") {
			return answer(r, http.StatusOK, "application/json", `{"kind": "storage#bucket", "name": "certs"}`), nil
		}
		return answer(
			r,
			http.StatusOK,
			"application/json",
			`{"kind": "storage#objects", "items": [{"kind": "storage#object", "name": "downloads/of-another/Certificate.pdf", "generation": "1"}]}`,
		), nil
	})
	if got, err := store.List(t.Context(), dirD); err == nil || purge.ClassOf(err) != purge.Transient {
		t.Errorf("got %v, %v; want the listing refused", got, err)
	}
}

// TestTheRetentionOfOneObjectIsRead: an object's own retention says until when, with and without one of the bucket.
func TestTheRetentionOfOneObjectIsRead(t *testing.T) {
	t.Parallel()
	for name, item := range map[string]string{
		"its own":              `"retention": {"mode": "Unlocked", "retainUntilTime": "2999-01-02T03:04:05.000Z"}`,
		"the bucket's":         `"retentionExpirationTime": "2999-01-02T03:04:05.000Z"`,
		"both, its own longer": `"retentionExpirationTime": "2998-01-01T00:00:00.000Z", "retention": {"mode": "Locked", "retainUntilTime": "2999-01-02T03:04:05.000Z"}`,
		"both, it is shorter":  `"retentionExpirationTime": "2999-01-02T03:04:05.000Z", "retention": {"mode": "Locked", "retainUntilTime": "2998-01-01T00:00:00.000Z"}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store := answering(t, func(r *http.Request) (*http.Response, error) {
				if !strings.HasSuffix(r.URL.Path, "/o") {
					return answer(r, http.StatusOK, "application/json", `{"kind": "storage#bucket", "name": "certs"}`), nil
				}
				return answer(r, http.StatusOK, "application/json",
					`{"kind": "storage#objects", "items": [{"kind": "storage#object", "name": "`+
						dirD.Prefix+`Certificate.pdf", "generation": "1", `+item+`}]}`), nil
			})
			got, err := store.List(t.Context(), dirD)
			if want := time.Date(2999, 1, 2, 3, 4, 5, 0, time.UTC); err != nil || len(got) != 1 ||
				!got[0].RetainedUntil.Equal(want) {
				t.Errorf("got %+v, %v; want it retained until %v", got, err, want)
			}
		})
	}
}

// TestNothingIsSentForWhatIsProtected: the service would refuse a delete of a held or retained generation, but the
// operator who may release a hold must not see a try, and a hold could end between.
func TestNothingIsSentForWhatIsProtected(t *testing.T) {
	t.Parallel()
	for name, protect := range map[string]func(w *world, file string){
		"temporary hold":   func(w *world, file string) { w.Hold(file, true, false) },
		"event-based hold": func(w *world, file string) { w.Hold(file, false, true) },
		"object retention": func(w *world, file string) { w.Lock(file, w.Now().Add(time.Hour)) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			store := purgetest.NewFakeStore()
			user := store.NewUser(purgetest.Retiring)
			store.NewReference(user, purge.Live, purgetest.DownloadID, purgetest.VerifyID, "")
			for _, file := range purgetest.FourFiles() {
				w.Put(file)
				protect(w, file)
			}
			if _, err := store.Accept(t.Context(), []purge.Submission{{User: user, Key: "k"}}); err != nil {
				t.Fatal(err)
			}
			purger := purge.Purger{
				Users: store, Ledger: store, Objects: w.Store, Locations: purgetest.OneLocation(t),
				Policy: purge.Policy{ClearHistory: true, MaxAttempts: 1},
			}
			result, err := purger.Purge(t.Context(), purge.Task{Request: 1, User: user})
			if result.State == purge.Done || len(w.Stored()) != 4 || w.server.Stats().Deletes > 0 {
				t.Errorf("got %+v, %v, %d deletes sent, %d files left; want none sent", result, err, w.server.Stats().Deletes,
					len(w.Stored()))
			}
		})
	}
}

// TestALateMetadataServerIsWaitedFor: a machine's source of tokens may come up after the worker.
func TestALateMetadataServerIsWaitedFor(t *testing.T) {
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	t.Setenv("GCE_METADATA_HOST", address)
	t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", "")
	t.Setenv("HOME", t.TempDir())
	w := newWorld(t)
	front := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer t0ken" {
			http.Error(rw, "no token", http.StatusUnauthorized)
			return
		}
		w.server.ServeHTTP(rw, r)
	}))
	t.Cleanup(front.Close)
	store, err := gcs.Open(t.Context(), gcs.Config{
		GCS: config.GCS{
			MaxInFlight: 2, MaxTries: 2, CallTimeout: time.Minute, AttributesMaxAge: time.Hour, Endpoint: front.URL,
		},
		Locations: purgetest.OneLocation(t),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() }) // nothing to lose
	if _, err := store.Probe(t.Context()); purge.ClassOf(err) != purge.Unavailable || !strings.Contains(err.Error(),
		"token") {
		t.Errorf("before it is there: got %v, want it to be waited for", err)
	}
	if listener, err = new(net.ListenConfig).Listen(t.Context(), "tcp", address); err != nil {
		t.Fatal(err)
	}
	metadata := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(rw http.ResponseWriter,
		_ *http.Request,
	) {
		rw.Header().Set("Metadata-Flavor", "Google")
		rw.Header().Set("Content-Type", "application/json")
		_, _ = rw.Write([]byte(`{"access_token":"t0ken","token_type":"Bearer","expires_in":3600}`)) // a test server
	})}
	go metadata.Serve(listener) //nolint:errcheck // ends with Close
	t.Cleanup(func() { _ = metadata.Close() })
	if _, err := store.Probe(t.Context()); err != nil {
		t.Errorf("once it is there: %v", err)
	}
}
