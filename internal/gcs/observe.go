package gcs

import (
	"context"
	"net/http"
	"strings"
	"time"
)

// Observe is told of every request that was sent to the service, also of new tries and further pages: its kind, the status of
// the answer or 0 if none came, and the time until then. It is called by many at a time and must be quick.
type Observe func(kind string, status int, took time.Duration)

// Trace is told that a request is sent, with the context of whoever asked for it, and then, like Observe, of the status.
type Trace func(ctx context.Context, kind string) (answered func(status int))

// The kinds of requests.
const (
	KindList   = "list"
	KindDelete = "delete"
	KindBucket = "bucket" // questions about settings and permissions
)

// observed stands right before the network.
type observed struct {
	next    http.RoundTripper
	observe Observe
	trace   Trace
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
