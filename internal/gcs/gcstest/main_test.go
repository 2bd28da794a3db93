package gcstest_test

import (
	"context"
	"errors"
	"io"
	"maps"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"cloud.google.com/go/storage"
	"github.com/googleapis/gax-go/v2"
	"go.uber.org/goleak"
	"google.golang.org/api/googleapi"
	"google.golang.org/api/iterator"
	"google.golang.org/api/option"

	"github.com/certpurge/certpurge/internal/gcs/gcstest"
)

// TestMain fails the package if any test leaves a goroutine behind.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// noon is when every test begins.
var noon = time.Date(2026, time.March, 2, 12, 0, 0, 0, time.UTC)

// clock is a clock that only a test moves.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// world is a server with a bucket "b", and the real client that talks to it.
type world struct {
	*gcstest.Server

	clock   *clock
	client  *storage.Client
	bucket  *storage.BucketHandle
	baseURL string
}

func newWorld(t *testing.T, cfg gcstest.BucketConfig, how ...gcstest.Option) *world {
	t.Helper()
	w := &world{clock: &clock{now: noon}}
	w.Server = gcstest.New(append(how, gcstest.WithClock(w.clock.Now))...)
	w.CreateBucket("b", cfg)
	var stop func()
	var err error
	if w.baseURL, stop, err = w.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	w.client, err = storage.NewClient(t.Context(), option.WithEndpoint(w.baseURL), option.WithoutAuthentication())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.client.Close() })
	w.client.SetRetry(storage.WithMaxAttempts(3),
		storage.WithBackoff(gax.Backoff{Initial: time.Millisecond, Max: time.Millisecond}))
	w.bucket = w.client.Bucket("b")
	return w
}

// put seeds an object into bucket "b".
func (w *world) put(t *testing.T, name string, o gcstest.ObjectOptions) int64 {
	t.Helper()
	generation, err := w.Put("b", name, []byte("%PDF-1.7 "+name), o)
	if err != nil {
		t.Fatal(err)
	}
	return generation
}

// names lists through the client.
func (w *world) names(t *testing.T, q *storage.Query) []string {
	t.Helper()
	found, err := attrs(t.Context(), w.bucket, q)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, a := range found {
		names = append(names, a.Name)
	}
	return names
}

func attrs(ctx context.Context, bucket *storage.BucketHandle, q *storage.Query) ([]*storage.ObjectAttrs, error) {
	var found []*storage.ObjectAttrs
	it := bucket.Objects(ctx, q)
	for {
		a, err := it.Next()
		if errors.Is(err, iterator.Done) {
			return found, nil
		}
		if err != nil {
			return found, err
		}
		found = append(found, a)
	}
}

// states says what is stored under a prefix in bucket "b": one of live, noncurrent, soft-deleted a generation.
func (w *world) states(prefix string) []string {
	var states []string
	for _, o := range w.Objects("b", prefix) {
		switch {
		case o.Live:
			states = append(states, "live")
		case !o.SoftDeletedUntil.IsZero():
			states = append(states, "soft-deleted")
		default:
			states = append(states, "noncurrent")
		}
	}
	return states
}

// refusal is the part of an API error that decides what to do, empty if err is none.
func refusal(err error) (code int, reason string) {
	e, ok := errors.AsType[*googleapi.Error](err)
	if !ok {
		return 0, ""
	}
	if len(e.Errors) > 0 {
		reason = e.Errors[0].Reason
	}
	return e.Code, reason
}

func equal[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

func equalSlices[T comparable](t *testing.T, what string, got, want []T) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

// answer is what a raw request got.
type answer struct {
	status int
	header http.Header
	body   string
}

// send sends one raw request, without the client library.
func (w *world) send(t *testing.T, method, url string, header http.Header) answer {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	maps.Copy(r.Header, header)
	// A transport of its own, because it neither follows redirects nor keeps connections.
	got, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = got.Body.Close() }()
	content, err := io.ReadAll(got.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{got.StatusCode, got.Header, string(content)}
}
