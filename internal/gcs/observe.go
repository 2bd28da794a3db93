package gcs

import (
	"net/http"
	"strings"
	"time"
)

// Observe is told of every request that was sent to the service, also of new tries and further pages: its kind, the status of
// the answer or 0 if none came, and the time until then. It is called by many at a time and must be quick.
type Observe func(kind string, status int, took time.Duration)

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
}

// RoundTrip sends the request.
func (o observed) RoundTrip(r *http.Request) (*http.Response, error) {
	if o.observe == nil {
		return o.next.RoundTrip(r)
	}
	sent := time.Now()
	resp, err := o.next.RoundTrip(r)
	status := 0
	if err == nil {
		status = resp.StatusCode
	}
	o.observe(kindOf(r), status, time.Since(sent))
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
