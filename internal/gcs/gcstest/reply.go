package gcstest

import (
	"bytes"
	"cmp"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"
)

// reply is an answer that has not been written yet.
type reply struct {
	status      int
	contentType string
	body        []byte
	media       *view         // The content of an object, instead of body.
	location    string        // Of a redirect.
	retryAfter  time.Duration // Rounded up to seconds.
	reset       bool          // No answer: the connection is reset.
}

func jsonReply(body []byte) reply {
	return reply{status: http.StatusOK, contentType: "application/json; charset=UTF-8", body: body}
}

func htmlReply(status int, body string) reply {
	return reply{status: status, contentType: "text/html; charset=utf-8", body: []byte(body)}
}

// errorBody is the JSON of a refusal (measured 2026-09-30).
type errorBody struct {
	Error struct {
		Code    int           `json:"code"`
		Message string        `json:"message"`
		Errors  []errorDetail `json:"errors"`
	} `json:"error"`
}

type errorDetail struct {
	Message      string `json:"message"`
	Domain       string `json:"domain"`
	Reason       string `json:"reason"`
	LocationType string `json:"locationType,omitempty"`
	Location     string `json:"location,omitempty"`
}

// refusal is the answer that carries an error.
func (c *call) refusal(e *Error) reply {
	detail := errorDetail{Message: e.Message, Domain: "global", Reason: e.Reason}
	switch e.Code {
	case http.StatusTooManyRequests:
		detail.Domain = "usageLimits"
	case http.StatusPreconditionFailed:
		detail.LocationType, detail.Location = "header", "If-Match"
	default:
	}
	var body errorBody
	body.Error.Code, body.Error.Message, body.Error.Errors = e.Code, e.Message, []errorDetail{detail}
	answer := marshalReply(body)
	answer.status = e.Code
	return answer
}

// write sends the answer.
func (a *reply) write(w http.ResponseWriter, r *http.Request) {
	if a.media != nil {
		a.media.serve(w, r)
		return
	}
	header := w.Header()
	if a.contentType != "" {
		header["Content-Type"] = []string{a.contentType}
	}
	if a.location != "" {
		header.Set("Location", a.location)
	}
	if a.retryAfter > 0 {
		header.Set("Retry-After", strconv.Itoa(int((a.retryAfter+time.Second-1)/time.Second)))
	}
	if a.status != http.StatusNoContent && a.status != http.StatusNotModified {
		header["Content-Length"] = []string{strconv.Itoa(len(a.body))}
	}
	w.WriteHeader(a.status)
	_, _ = io.Copy(w, bytes.NewReader(a.body)) // an error is a client that has gone
}

// serve sends the content of an object.
func (v *view) serve(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	header.Set("Content-Type", cmp.Or(v.contentType, "application/octet-stream"))
	if v.cacheControl != "" {
		header.Set("Cache-Control", v.cacheControl)
	}
	http.ServeContent(w, r, "", v.updated.time(), bytes.NewReader(v.data))
}

// abort ends the connection without an answer: with a reset, which a client sees as "connection reset by peer", or,
// where the connection cannot be had, with an end of file.
func abort(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // Closing then discards what is unsent and resets.
	}
	_ = conn.Close()
}
