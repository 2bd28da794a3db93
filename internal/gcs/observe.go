package gcs

import (
	"context"
	"net/http"
	"strings"
	"sync/atomic"
	"time"
)

// Observe is called after every request to the service, also after retries and further pages, with its kind, the status
// of the answer or 0 if none came, and the time until then. It is called concurrently and must be quick.
type Observe func(kind string, status int, took time.Duration)

// Trace is called before every request, with the context of its caller. It returns the function to call with the
// status, as Observe's.
type Trace func(ctx context.Context, kind string) (answered func(status int))

// The kinds of requests.
const (
	KindList   = "list"
	KindDelete = "delete"
	KindBucket = "bucket" // questions about settings and permissions
)

// observed reports each request when it is sent, after its admission.
type observed struct {
	next    http.RoundTripper
	observe Observe
	trace   Trace
	clock   *clock // reads the service's clock from the answers
}

// RoundTrip sends the request.
func (o observed) RoundTrip(r *http.Request) (*http.Response, error) {
	kind, answered := kindOf(r), func(int) {}
	if o.trace != nil {
		answered = o.trace(r.Context(), kind)
	}
	sent := time.Now()
	resp, err := o.next.RoundTrip(r)
	status := 0
	if err == nil {
		status = resp.StatusCode
		o.clock.read(resp.Header, sent, time.Now())
	}
	if o.observe != nil {
		o.observe(kind, status, time.Since(sent))
	}
	answered(status)
	return resp, err
}

func kindOf(r *http.Request) string {
	switch {
	case r.Method == http.MethodDelete:
		return KindDelete
	case r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, "/o"):
		return KindList
	default:
		return KindBucket
	}
}

// clock holds the service's clock as of the latest answer.
type clock struct{ latest atomic.Pointer[dated] }

// dated is a reading with the header it was read from.
type dated struct {
	Reading

	date string
}

// Reading is what a clock showed at some time between two readings of our own.
type Reading struct{ Before, Theirs, After time.Time }

// read keeps the date of an answer, to the second. It reads only one of the answers of a second.
func (c *clock) read(header http.Header, before, after time.Time) {
	date := header.Get("Date")
	if latest := c.latest.Load(); latest != nil && latest.date == date && after.Sub(latest.After) < time.Second {
		return
	}
	if theirs, err := http.ParseTime(date); err == nil {
		c.latest.Store(&dated{Reading{before, theirs, after}, date})
	}
}

// Clock returns the service's clock as of the latest answer, to the second; false if no answer had a date.
func (s *Store) Clock() (Reading, bool) {
	latest := s.clock.latest.Load()
	if latest == nil {
		return Reading{}, false
	}
	return latest.Reading, true
}
