package gcs

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strconv"
	"time"

	"google.golang.org/api/googleapi"
)

// pacer is a RoundTripper for every request, also for retries and further pages, which the client library sends by
// itself. Each request waits for its admission; the answers set the rate of those that follow.
type pacer struct{ next http.RoundTripper }

// RoundTrip waits for the request's admission, sends it and observes the answer.
func (t pacer) RoundTrip(r *http.Request) (*http.Response, error) {
	c, ok := r.Context().Value(callKey{}).(*call)
	if !ok {
		return t.next.RoundTrip(r)
	}
	if err := c.request(r.Context()); err != nil {
		return nil, err
	}
	c.tries++
	sent := time.Now()
	resp, err := t.next.RoundTrip(r)
	if err == nil && resp.StatusCode >= http.StatusBadRequest {
		if err = c.observe(resp, sent); err != nil {
			return nil, err
		}
	}
	if c.nameLock != nil && c.nameLock.slow.Load() {
		c.nameLock.next = latest(c.nameLock.next, time.Now().Add(mutationGap))
	}
	return resp, err
}

// maxRefusal is far above the service's own error bodies.
const maxRefusal = 64 << 10

// observe slows down after an answer that requests it. The body is read and put back.
func (c *call) observe(resp *http.Response, sent time.Time) error {
	if resp.StatusCode >= http.StatusInternalServerError || resp.StatusCode == http.StatusRequestTimeout {
		c.pace.recordServerError()
	}
	switch resp.StatusCode {
	case http.StatusTooManyRequests, http.StatusForbidden, http.StatusServiceUnavailable:
	default:
		return nil
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxRefusal))
	if closeErr := resp.Body.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return err
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	again := *resp
	again.Body = io.NopCloser(bytes.NewReader(body))
	refusal, ok := errors.AsType[*googleapi.Error](googleapi.CheckResponse(&again))
	wait := retryAfter(resp.Header, time.Now())
	switch {
	case !ok || !asksForLess(refusal):
	case c.nameLock != nil && isAboutOneName(refusal):
		c.pace.countThrottled()
		c.nameLock.slow.Store(true)
		c.nameLock.next = time.Now().Add(min(wait, maxPause))
	default:
		c.pace.throttle(sent, wait)
	}
	return nil
}

// retryAfter reads the header of that name (RFC 9110, section 10.2.3: seconds, or a date); zero if there is none.
func retryAfter(h http.Header, now time.Time) time.Duration {
	value := h.Get("Retry-After")
	if seconds, err := strconv.ParseUint(value, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second
	}
	if date, err := http.ParseTime(value); err == nil {
		return max(0, date.Sub(now))
	}
	return 0
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
