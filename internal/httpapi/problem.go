package httpapi

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/certpurge/certpurge/internal/purge"
)

// problem is an answer that is not a success, in the form of RFC 9457. Code is for programs and for
// docs/integrations.md: it never changes its meaning. Detail is a sentence without personal data.
type problem struct {
	Status  int    `json:"status"`
	Code    string `json:"code"`
	Title   string `json:"title"`
	Detail  string `json:"detail,omitempty"`
	Request int64  `json:"request_id,omitempty"`

	retryAfter time.Duration
	challenge  string // for WWW-Authenticate
}

// handler answers a request, or returns the problem to answer with.
type handler func(w http.ResponseWriter, r *http.Request) *problem

// answered is a handler that answers in any case.
func answered(h handler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if p := h(w, r); p != nil {
			p.write(w)
		}
	}
}

// newProblem makes a problem whose title is the status's own text.
func newProblem(status int, code, format string, args ...any) *problem {
	return &problem{Status: status, Code: code, Title: http.StatusText(status), Detail: fmt.Sprintf(format, args...)}
}

// of names the request that the problem is about.
func (p *problem) of(request purge.RequestID) *problem {
	p.Request = int64(request)
	return p
}

// after says when to ask again.
func (p *problem) after(wait time.Duration) *problem {
	p.retryAfter = wait
	return p
}

// write answers with the problem.
func (p *problem) write(w http.ResponseWriter) {
	if answered, ok := w.(*recorder); ok {
		answered.code, answered.request = p.Code, p.Request
	}
	h := w.Header()
	h.Set("Content-Type", "application/problem+json")
	h.Set("Cache-Control", "no-store")
	if p.retryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(int(math.Ceil(p.retryAfter.Seconds()))))
	}
	if p.challenge != "" {
		h.Set("WWW-Authenticate", p.challenge)
	}
	w.WriteHeader(p.Status)
	send(w, p)
}

// writeJSON answers with a value. There is no problem with that.
func writeJSON(w http.ResponseWriter, status int, v any) *problem {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	send(w, v)
	return nil
}

// send writes one value as a line of JSON. An error means that the client is gone.
func send(w io.Writer, v any) {
	_ = json.NewEncoder(w).Encode(v) //nolint:errchkjson // all values are structs of ours
}
