package gcs_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/certpurge/certpurge/internal/config"
	"github.com/certpurge/certpurge/internal/gcs"
	"github.com/certpurge/certpurge/internal/gcs/gcstest"
	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/purge/purgetest"
)

// succeeds is the class of no error.
const succeeds purge.Class = 0

// inBatches runs a test in a bubble in which all deletes of one moment make one batch.
func inBatches(t *testing.T, test func(t *testing.T, b *bubble), change ...func(*gcs.Config)) {
	t.Helper()
	inOneBubble(t, test, append(change, func(c *gcs.Config) {
		gcs.BatchFrom(c, 2, func() { pause(time.Nanosecond) })
		c.MaxInFlight = 1000
	})...)
}

func TestDeletesOfOneMomentAreOneRequest(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	seen := map[string]int{}
	inBatches(t, func(t *testing.T, b *bubble) {
		t.Helper()
		b.server.SetFaults(1, gcstest.Fault{Op: gcstest.OpDelete, Latency: 40 * time.Millisecond})
		begun := time.Now()
		for _, err := range b.deleteAll(b.put(150)) {
			if err != nil {
				t.Error(err)
			}
		}
		if took := time.Since(begun); took.Truncate(time.Millisecond) != 40*time.Millisecond {
			t.Errorf("took %v, want the time of one delete", took)
		}
		stats := b.server.Stats()
		if left := len(b.server.Objects(purgetest.Bucket, "")); stats.Batches != 2 || stats.Deletes != 150 || left > 0 {
			t.Errorf("got %d batches, %d deletes and %d objects left, want a batch of 100 and one of 50", stats.Batches,
				stats.Deletes, left)
		}
		if seen["delete 204"] != 150 {
			t.Errorf("got %v, want each delete observed", seen)
		}
		if err := b.Delete(t.Context(), b.put(1)[0]); err != nil || b.server.Stats().Batches != 2 {
			t.Errorf("alone: got %v and %d batches, want an ordinary delete", err, b.server.Stats().Batches)
		}
	}, func(c *gcs.Config) {
		c.Observe = func(kind string, status int, _ time.Duration) {
			mu.Lock()
			defer mu.Unlock()
			seen[fmt.Sprint(kind, " ", status)]++
		}
	})
}

// TestTheRateCountsTheDeletesOfABatch: 25 tokens are at hand, the others come one by one, so these go alone.
func TestTheRateCountsTheDeletesOfABatch(t *testing.T) {
	t.Parallel()
	inBatches(t, func(t *testing.T, b *bubble) {
		t.Helper()
		begun := time.Now()
		b.deleteAll(b.put(125))
		if took := time.Since(begun).Round(time.Millisecond); took != time.Second {
			t.Errorf("took %v, want 1 s for 100 deletes without a token", took)
		}
		if stats := b.server.Stats(); stats.Batches != 1 || stats.Deletes != 125 {
			t.Errorf("got %d batches and %d deletes", stats.Batches, stats.Deletes)
		}
	}, func(c *gcs.Config) { c.DeleteRate = config.Rate{Start: 100, Ceiling: 100} })
}

func TestABatchHoldsOneBucket(t *testing.T) {
	t.Parallel()
	locations, err := purge.NewLocations([]purge.Location{
		{Name: "a", Bucket: purgetest.Bucket, DownloadsDir: "downloads", VerifyDir: "cert"},
		{Name: "b", Bucket: "other", DownloadsDir: "downloads", VerifyDir: "cert"},
	})
	if err != nil {
		t.Fatal(err)
	}
	inBatches(t, func(t *testing.T, b *bubble) {
		t.Helper()
		b.server.CreateBucket("other", gcstest.BucketConfig{})
		all := b.put(4)
		all[2].Directory.Bucket, all[3].Directory.Bucket = "other", "other"
		b.server.SetFaults(1, gcstest.Fault{Op: gcstest.OpDelete, Bucket: "other", Latency: time.Second})
		took := make([]time.Duration, len(all))
		var deleting sync.WaitGroup
		begun := time.Now()
		for i, g := range all {
			deleting.Go(func() {
				if err := b.Delete(t.Context(), g); err != nil {
					t.Error(err)
				}
				took[i] = time.Since(begun).Round(time.Millisecond)
			})
		}
		deleting.Wait()
		if got := b.server.Stats().Batches; got != 2 || took[0] > 0 || took[1] > 0 || took[2] != time.Second {
			t.Errorf("got %d batches and %v, want a slow bucket to hold up its own deletes only", got, took)
		}
	}, func(c *gcs.Config) { c.Locations = locations })
}

func TestEachDeleteOfABatchHasItsOwnAnswer(t *testing.T) {
	t.Parallel()
	inBatches(t, func(t *testing.T, b *bubble) {
		t.Helper()
		all := b.put(5)
		if err := b.server.SetHold(purgetest.Bucket, all[0].Name, true, false); err != nil {
			t.Fatal(err)
		}
		if err := b.server.Retain(purgetest.Bucket, all[1].Name, time.Now().Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
		b.server.SetFaults(1, gcstest.Fault{
			Op: gcstest.OpDelete, Name: all[2].Name, Status: http.StatusTooManyRequests, PerObject: true, Count: 1,
		}, gcstest.Fault{Op: gcstest.OpDelete, Name: all[3].Name, Status: http.StatusInternalServerError, Count: 1})
		errs := b.deleteAll(all)
		if purge.ClassOf(errs[0]) != purge.NoPermission || purge.ClassOf(errs[1]) != purge.Retained {
			t.Errorf("got %v and %v, want a hold and a retention", errs[0], errs[1])
		}
		for _, err := range errs[2:] {
			if err != nil {
				t.Errorf("got %v, want it deleted at the latest by a second try", err)
			}
		}
		stats := b.server.Stats()
		if left := len(b.server.Objects(purgetest.Bucket, "")); left != 2 || stats.Deletes != 7 || stats.Batches != 1 {
			t.Errorf("got %d objects left after %d deletes in %d batches, want second tries alone", left, stats.Deletes,
				stats.Batches)
		}
		if rate := b.deletes(); rate.Rate != 1000 || rate.Throttled != 1 {
			t.Errorf("got %+v, want nothing slowed down but one name", rate)
		}
	})
}

// TestASecondTryGoesAlone: an object whose delete hangs or fails must not do so to others again.
func TestASecondTryGoesAlone(t *testing.T) {
	t.Parallel()
	inOneBubble(t, func(t *testing.T, b *bubble) {
		t.Helper()
		b.server.SetFaults(1, gcstest.Fault{Op: gcstest.OpDelete, Status: http.StatusServiceUnavailable, Count: 1})
		err := b.Delete(t.Context(), b.put(1)[0])
		if got := b.server.Stats(); err != nil || got.Batches != 1 || got.Deletes != 2 {
			t.Errorf("got %v, %d batches and %d deletes", err, got.Batches, got.Deletes)
		}
	}, func(c *gcs.Config) { gcs.BatchFrom(c, 1, nil) })
}

func TestACallerWhoLeavesABatch(t *testing.T) {
	t.Parallel()
	inOneBubble(t, func(t *testing.T, b *bubble) {
		t.Helper()
		b.server.SetFaults(1, gcstest.Fault{Op: gcstest.OpDelete, Latency: 10 * time.Second})
		all := b.put(3)
		errs := make([]error, len(all))
		var deleting sync.WaitGroup
		begun := time.Now()
		for i, g := range all {
			deleting.Go(func() {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				if i == 0 { // it has sent the batch meanwhile
					time.AfterFunc(2*time.Second, cancel)
				}
				errs[i] = b.Delete(ctx, g)
				if took := time.Since(begun).Round(time.Second); i == 0 && took != 2*time.Second {
					t.Errorf("the one who leaves took %v", took)
				}
			})
			pause(time.Millisecond) // so the first is first
		}
		deleting.Wait()
		if purge.ClassOf(errs[0]) != purge.Transient || errs[0] == nil || errs[1] != nil || errs[2] != nil {
			t.Errorf("got %v, want one that does not know, and two that are done", errs)
		}
		if got := b.Stats()[0].InFlight; got != 0 {
			t.Errorf("%d calls are under way", got)
		}

		all = b.put(2) // names that are free again
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		for _, g := range all {
			deleting.Go(func() {
				if err := b.Delete(ctx, g); err == nil {
					t.Error("a delete that was not done succeeded")
				}
			})
		}
		deleting.Wait()
		pause(time.Minute)
		if left := len(b.server.Objects(purgetest.Bucket, "")); left != 2 {
			t.Errorf("%d objects left, want the request to end with its last caller", left)
		}
	}, func(c *gcs.Config) { gcs.BatchFrom(c, 2, func() { pause(time.Second) }) })
}

// TestACallerWhoLeavesBeforeTheBatchIsSent is not among what is sent.
func TestACallerWhoLeavesBeforeTheBatchIsSent(t *testing.T) {
	t.Parallel()
	inOneBubble(t, func(t *testing.T, b *bubble) {
		t.Helper()
		all := b.put(3)
		var deleting sync.WaitGroup
		for i, g := range all {
			pause(time.Millisecond) // so the first is first
			deleting.Go(func() {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				if i == 1 {
					time.AfterFunc(time.Second, cancel)
				}
				if err := b.Delete(ctx, g); (err == nil) != (i != 1) {
					t.Errorf("delete %d: %v", i, err)
				}
			})
		}
		deleting.Wait()
		if got := b.server.Stats(); got.Deletes != 2 || got.Batches != 1 {
			t.Errorf("got %d deletes in %d batches, want one of 2", got.Deletes, got.Batches)
		}
	}, func(c *gcs.Config) { gcs.BatchFrom(c, 2, func() { pause(5 * time.Second) }) })
}

func TestWhatAnswersAWholeBatch(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		fault   gcstest.Fault
		class   purge.Class // with one try
		batches int64       // for twice two deletes
	}{
		"503":          {gcstest.Fault{Status: http.StatusServiceUnavailable}, purge.Transient, 2},
		"429":          {gcstest.Fault{Status: http.StatusTooManyRequests}, purge.Throttled, 2},
		"401":          {gcstest.Fault{Status: http.StatusUnauthorized}, purge.Misconfigured, 2},
		"a reset":      {gcstest.Fault{Reset: true}, purge.Transient, 2},
		"501":          {gcstest.Fault{Status: http.StatusNotImplemented}, succeeds, 1},
		"400":          {gcstest.Fault{Status: http.StatusBadRequest}, succeeds, 1},
		"403":          {gcstest.Fault{Status: http.StatusForbidden}, succeeds, 1},
		"404":          {gcstest.Fault{Status: http.StatusNotFound}, succeeds, 1},
		"405":          {gcstest.Fault{Status: http.StatusMethodNotAllowed}, succeeds, 1},
		"200 with web": {gcstest.Fault{Proxy: gcstest.ProxyOKHTML}, succeeds, 1},
		"202":          {gcstest.Fault{Proxy: gcstest.ProxyAccepted}, succeeds, 1},
		"302":          {gcstest.Fault{Proxy: gcstest.ProxyRedirect}, succeeds, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inBatches(t, func(t *testing.T, b *bubble) {
				t.Helper()
				tc.fault.Op = gcstest.OpBatch
				b.server.SetFaults(1, tc.fault)
				for range 2 {
					for _, err := range b.deleteAll(b.put(2)) {
						if (err == nil) != (tc.class == succeeds) || err != nil && purge.ClassOf(err) != tc.class {
							t.Errorf("got %v, want class %v", err, tc.class)
						}
					}
					pause(time.Minute)
				}
				if got := b.server.Stats(); got.Batches != tc.batches || got.Others > 0 {
					t.Errorf("got %+v, want %d batches", got, tc.batches)
				}
				if lines := b.lines("takes no batch requests"); lines > 0 != (tc.batches == 1) || lines > 1 {
					t.Errorf("%d log lines", lines)
				}
			}, func(c *gcs.Config) { c.MaxTries = 1 })
			inBatches(t, func(t *testing.T, b *bubble) {
				t.Helper()
				b.server.SetFaults(1, tc.fault)
				for _, err := range b.deleteAll(b.put(2)) {
					if err != nil && tc.class != purge.Misconfigured { // which the library does not try again
						t.Errorf("with more tries: %v", err)
					}
				}
			})
		})
	}
}

// TestOnlyAWholePartIsBelieved: without an answer that is surely its own, a delete has failed.
func TestOnlyAWholePartIsBelieved(t *testing.T) {
	t.Parallel()
	part := func(id, answer string) string {
		return "--b\r\nContent-Type: application/http\r\nContent-ID: " + id + "\r\n\r\n" + answer + "\r\n"
	}
	const id, done, end = "<response-delete+0>", "HTTP/1.1 204 No Content\r\n\r\n", "--b--\r\n"
	refusal := `{"error": {"code": 403, "errors": [{"reason": "retentionPolicyNotMet"}]}}`
	for name, tc := range map[string]struct {
		answer string
		class  purge.Class
		status int
	}{
		"one":                         {part(id, done) + end, succeeds, 0},
		"one after a preamble":        {"batch\r\n" + part(id, done) + end, succeeds, 0},
		"one after the end":           {end + part(id, done) + end, purge.Transient, 0},
		"with a bare number":          {part("0>", done) + end, purge.Transient, 0},
		"with an id that is cut off":  {part("<response-delete+0", done) + end, purge.Transient, 0},
		"one with a lower-case name":  {strings.ReplaceAll(part(id, done)+end, "Content-ID", "content-id"), succeeds, 0},
		"one beside a stranger's":     {part("<response-delete+7>", "rubbish") + part(id, done) + end, succeeds, 0},
		"a 404, which the list tells": {part(id, "HTTP/1.1 404 Not Found\r\n\r\n") + end, succeeds, 0},
		"a refusal": {part(id, fmt.Sprintf("HTTP/1.1 403 Forbidden\r\nContent-Length: %d\r\n\r\n%s", len(refusal),
			refusal)) + end, purge.Retained, 0},
		"a refusal without a length":          {part(id, "HTTP/1.1 403 Forbidden\r\n\r\n"+refusal) + end, purge.Retained, 0},
		"of a status that is none of a batch": {part(id, done) + end, purge.Transient, http.StatusAccepted},
		"none":                                {end, purge.Transient, 0},
		"nothing":                             {"", purge.Transient, 0},
		"of another delete":                   {part("<response-delete+1>", done) + end, purge.Transient, 0},
		"of a number below":                   {part("<response-delete+-0>", done) + end, purge.Transient, 0},
		"with the id of the request":          {part("<delete+0>", done) + end, purge.Transient, 0},
		"without an id":                       {"--b\r\n\r\n" + done + "\r\n" + end, purge.Transient, 0},
		"with an id further down":             {"--b\r\n\r\n" + done + "Content-ID: " + id + "\r\n" + end, purge.Transient, 0},
		"twice":                               {part(id, done) + part(id, done) + end, purge.Transient, 0},
		"twice, one of them rubbish":          {part(id, done) + part(id, "rubbish") + end, purge.Transient, 0},
		"twice, the other is rubbish":         {part(id, "rubbish") + part(id, done) + end, purge.Transient, 0},
		"cut off in its status":               {part(id, "HTTP/1.1 204") + end, purge.Transient, 0},
		"cut off in its header":               {part(id, "HTTP/1.1 204 No Content\r\nDate: x") + end, purge.Transient, 0},
		"cut off in its body":                 {part(id, "HTTP/1.1 403 Forbidden\r\nContent-Length: 99\r\n\r\n{}") + end, purge.Transient, 0},
		"cut off before the end":              {part(id, done), purge.Transient, 0},
		"that goes on":                        {part(id, "HTTP/1.1 100 Continue\r\n\r\n") + end, purge.Transient, 0},
		"that is no answer":                   {part(id, "204 No Content") + end, purge.Transient, 0},
		"of another boundary":                 {strings.ReplaceAll(part(id, done)+end, "--b", "--c"), purge.Transient, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := gcs.Config{
				GCS:       config.GCS{CallTimeout: time.Minute, MaxTries: 1, MaxInFlight: 1, Anonymous: true},
				Locations: purgetest.OneLocation(t),
				Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
					if r.Method != http.MethodPost {
						return nil, errors.New("not a batch")
					}
					return answer(r, cmp.Or(tc.status, http.StatusOK), "multipart/mixed; boundary=b", tc.answer), nil
				}),
			}
			gcs.BatchFrom(&cfg, 1, nil)
			store, err := gcs.Open(t.Context(), cfg)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = store.Close() }) // nothing to lose
			err = store.Delete(t.Context(), purge.Generation{Directory: dirD, Name: dirD.Prefix + "x.pdf", Number: 1})
			if (err == nil) != (tc.class == succeeds) || err != nil && purge.ClassOf(err) != tc.class {
				t.Errorf("got %v, want class %v", err, tc.class)
			}
		})
	}
}

// TestABatchCarriesTheAccessToken, and each delete in it the token that makes its tries one.
func TestABatchCarriesTheAccessToken(t *testing.T) {
	t.Parallel()
	tokens := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"access_token":"t0ken","token_type":"Bearer","expires_in":3600}`) // a test server
	}))
	t.Cleanup(tokens.Close)
	w := newWorld(t)
	var outer atomic.Pointer[http.Request]
	var body atomic.Value
	front := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		content, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		outer.Store(r)
		body.Store(string(content))
		r.Body = io.NopCloser(strings.NewReader(string(content)))
		w.server.ServeHTTP(rw, r)
	}))
	t.Cleanup(front.Close)
	cfg := gcs.Config{
		GCS: config.GCS{
			MaxInFlight: 2, MaxTries: 1, CallTimeout: 5 * time.Second, Endpoint: front.URL + "/storage/v1/",
			CredentialsFile: serviceAccount(t, tokens.URL), UserProject: "payer",
		},
		Locations: purgetest.OneLocation(t),
	}
	gcs.BatchFrom(&cfg, 1, nil)
	store, err := gcs.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() }) // nothing to lose
	name := dirD.Prefix + "Certificate of Ä.pdf"
	w.Put(name)
	number := w.server.Objects(purgetest.Bucket, name)[0].Generation
	if err := store.Delete(t.Context(), purge.Generation{Directory: dirD, Name: name, Number: number}); err != nil {
		t.Fatal(err)
	}
	if got := w.Stored(); len(got) > 0 {
		t.Errorf("%v left", got)
	}
	r := outer.Load()
	if r.URL.Path != "/batch/storage/v1" || r.URL.RawQuery != "" || r.Header.Get("Authorization") != "Bearer t0ken" {
		t.Errorf("got a request of %s with authorization %q", r.URL, r.Header.Get("Authorization"))
	}
	content, _ := body.Load().(string)
	for _, part := range []string{"Idempotency-Token: ", "userProject=payer", fmt.Sprintf("generation=%d", number)} {
		if !strings.Contains(content, part) {
			t.Errorf("got a batch without %q: %s", part, content)
		}
	}
}
