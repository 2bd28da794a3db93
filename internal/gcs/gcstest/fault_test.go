package gcstest_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"cloud.google.com/go/storage"

	"github.com/certpurge/certpurge/internal/gcs/gcstest"
)

func TestProxyAnswersDeceiveTheClient(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		fault   gcstest.Fault
		missing bool // Otherwise the client reports success.
	}{
		"200 with HTML is a success": {fault: gcstest.Fault{Proxy: gcstest.ProxyOKHTML}},
		"202 is a success":           {fault: gcstest.Fault{Proxy: gcstest.ProxyAccepted}},
		"302 to a page is a success": {fault: gcstest.Fault{Proxy: gcstest.ProxyRedirect}},
		"302 to a missing object is not found": {fault: gcstest.Fault{
			Proxy:    gcstest.ProxyRedirect,
			Location: "/storage/v1/b/b/o/none",
		}, missing: true},
		"404 with HTML is a missing object":      {fault: gcstest.Fault{Proxy: gcstest.ProxyNotFoundHTML}, missing: true},
		"404 without a body is a missing object": {fault: gcstest.Fault{Proxy: gcstest.ProxyNotFoundEmpty}, missing: true},
	}
	for behaviour, tc := range tests {
		t.Run(behaviour, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, gcstest.BucketConfig{})
			w.put(t, "a", gcstest.ObjectOptions{})
			tc.fault.Op = gcstest.OpDelete
			w.AddFault(tc.fault)
			err := w.bucket.Object("a").Delete(t.Context())
			equal(t, "ErrObjectNotExist", errors.Is(err, storage.ErrObjectNotExist), tc.missing)
			equal(t, "success", err == nil, !tc.missing)
			equalSlices(t, "nothing was deleted", w.states(""), []string{"live"})
			equal(t, "faulted", w.Stats().Faulted, 1)
		})
	}
}

func TestFaultsStrikeWhereTheyAreAimed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, gcstest.BucketConfig{})
	w.CreateBucket("other", gcstest.BucketConfig{})
	w.SetFaults(0,
		gcstest.Fault{Op: gcstest.OpDelete, Name: "exact", Status: 401},
		gcstest.Fault{Op: gcstest.OpDelete, Prefix: "dir/", Status: 402},
		gcstest.Fault{Op: gcstest.OpList, Status: 405},
		gcstest.Fault{Bucket: "other", Status: 406},
	)
	steps := []struct {
		method, path string
		status       int
	}{
		{http.MethodDelete, "b/b/o/exact", 401},
		{http.MethodDelete, "b/b/o/exactly", 404},
		{http.MethodGet, "b/b/o/exact", 404},
		{http.MethodDelete, "b/b/o/dir%2Fx", 402},
		{http.MethodGet, "b/b/o?prefix=x", 405},
		{http.MethodGet, "b/b", 200},
		{http.MethodGet, "b/other", 406},
		{http.MethodDelete, "b/other/o/exact", 401},
	}
	for _, step := range steps {
		answer := w.send(t, step.method, w.baseURL+step.path, nil)
		equal(t, step.method+" "+step.path, answer.status, step.status)
	}
	w.SetFaults(0)
	answer := w.send(t, http.MethodGet, w.baseURL+"b/other", nil)
	equal(t, "after the faults were taken away", answer.status, 200)
}

// TestSameSeedSameFaults sends the same requests in three orders, one of them concurrent.
func TestSameSeedSameFaults(t *testing.T) {
	t.Parallel()
	const count = 300
	run := func(seed uint64, order func(send func(i int))) string {
		s := gcstest.New()
		s.CreateBucket("b", gcstest.BucketConfig{})
		s.SetFaults(seed, gcstest.Fault{Op: gcstest.OpGet, Status: 503, Probability: 0.3})
		struck := make([]bool, 2*count) // Each name is asked for twice.
		var mu sync.Mutex
		turns := map[int]int{}
		order(func(i int) {
			mu.Lock()
			addPage := turns[i]
			turns[i]++
			mu.Unlock()
			struck[2*i+addPage] = status(t, s, fmt.Sprintf("/storage/v1/b/b/o/name-%d", i)) == http.StatusServiceUnavailable
		})
		return fmt.Sprint(struck)
	}
	up := func(send func(int)) {
		for range 2 {
			for i := range count {
				send(i)
			}
		}
	}
	down := func(send func(int)) {
		for i := range count {
			send(count - 1 - i)
			send(count - 1 - i)
		}
	}
	together := func(send func(int)) {
		var wg sync.WaitGroup
		for i := range count {
			wg.Go(func() { send(i); send(i) })
		}
		wg.Wait()
	}
	first := run(7, up)
	if n := strings.Count(first, "true"); n < 120 || n > 240 {
		t.Errorf("faults: got %d of 600 with probability 0.3", n)
	}
	equal(t, "backwards", run(7, down), first)
	equal(t, "concurrently", run(7, together), first)
	if run(8, up) == first {
		t.Error("another seed gave the same faults")
	}
}

func TestRateFollowsTheClock(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		fault gcstest.Fault
		want  []int // The answers to a, a, b, then, half a second later, a, b.
		text  string
	}{
		"per object, as the service's own limit": {
			gcstest.Fault{Rate: 1, PerObject: true},
			[]int{204, 429, 204, 429, 429},
			"The object b/a exceeded the rate limit for object mutation operations (create, update, and delete).",
		},
		"per bucket": {
			gcstest.Fault{Rate: 4, Burst: 2},
			[]int{204, 404, 429, 404, 204},
			"You have exceeded your bucket's IO capacity.",
		},
	}
	for behaviour, tc := range tests {
		t.Run(behaviour, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, gcstest.BucketConfig{})
			w.put(t, "a", gcstest.ObjectOptions{})
			w.put(t, "b", gcstest.ObjectOptions{})
			tc.fault.Op, tc.fault.RetryAfter = gcstest.OpDelete, 1500*time.Millisecond
			w.AddFault(tc.fault)
			var got []int
			for i, name := range []string{"a", "a", "b", "a", "b"} {
				if i == 3 {
					w.clock.Advance(500 * time.Millisecond)
				}
				answer := w.send(t, http.MethodDelete, w.baseURL+"b/b/o/"+name, nil)
				got = append(got, answer.status)
				if answer.status == http.StatusTooManyRequests {
					equal(t, "Retry-After", answer.header.Get("Retry-After"), "2")
					if name == "a" && !strings.Contains(answer.body, tc.text) ||
						!strings.Contains(answer.body, `"domain":"usageLimits","reason":"rateLimitExceeded"`) {
						t.Errorf("body: got %s", answer.body)
					}
				}
			}
			equalSlices(t, "answers", got, tc.want)
		})
	}
}

func TestLatencyEndsWithTheClient(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		afterWork bool
		left      []string
	}{
		"before the work nothing is done":   {false, []string{"live"}},
		"after the work the object is gone": {true, nil},
	}
	for behaviour, tc := range tests {
		t.Run(behaviour, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, gcstest.BucketConfig{})
			generation := w.put(t, "a", gcstest.ObjectOptions{})
			arrived := make(chan struct{})
			w.SetHook(func(string, string, string) { close(arrived) })
			w.AddFault(gcstest.Fault{Op: gcstest.OpDelete, Latency: time.Hour, Jitter: time.Hour, AfterWork: tc.afterWork})
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			result := make(chan error, 1)
			go func() { result <- w.bucket.Object("a").Generation(generation).Delete(ctx) }()
			<-arrived
			for len(w.Objects("b", "")) != len(tc.left) {
				runtime.Gosched()
			}
			cancel()
			if err := <-result; !errors.Is(err, context.Canceled) {
				t.Errorf("got %v, want context.Canceled", err)
			}
			equalSlices(t, "left", w.states(""), tc.left)
		})
	}
}

// TestResetOfAListingIsInvisible shows why a single reset cannot fail a listing: Go's transport repeats a GET by
// itself.
func TestResetOfAListingIsInvisible(t *testing.T) {
	t.Parallel()
	w := newWorld(t, gcstest.BucketConfig{})
	w.client.SetRetry(storage.WithPolicy(storage.RetryNever))
	w.names(t, nil) // From here on the connection is one that was used before.
	w.AddFault(gcstest.Fault{Op: gcstest.OpList, Reset: true, Count: 1})
	w.names(t, nil)
	stats := w.Stats()
	equal(t, "listings", stats.Lists, 3)
	equal(t, "resets", stats.Faulted, 1)
}

func TestDeadlineInFlightIsTheClientsOwn(t *testing.T) {
	t.Parallel()
	w := newWorld(t, gcstest.BucketConfig{})
	generation := w.put(t, "a", gcstest.ObjectOptions{})
	w.AddFault(gcstest.Fault{Latency: time.Hour})
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	err := w.bucket.Object("a").Generation(generation).Delete(ctx)
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want context.DeadlineExceeded", err)
	}
	if code, _ := refusal(err); code != 0 {
		t.Errorf("got an API error with code %d", code)
	}
}
