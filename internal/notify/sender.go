package notify

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/certpurge/certpurge/internal/config"
)

// Sender sends events to the receiver.
type Sender struct {
	client  *http.Client
	url     string
	agent   string
	keys    [][]byte
	timeout time.Duration
}

// NewSender makes a Sender; version is that of the program.
func NewSender(cfg config.Notify, version string) (*Sender, error) {
	keys, err := cfg.Keys()
	if err != nil {
		return nil, fmt.Errorf("notify.secret: %w", err)
	}
	encryption, err := cfg.TLS.Client("notify.tls")
	if err != nil {
		return nil, err
	}
	return &Sender{
		url: cfg.URL, agent: "certpurge/" + version, keys: keys, timeout: cfg.Timeout,
		client: &http.Client{
			Transport: &http.Transport{
				Proxy:                  http.ProxyFromEnvironment,
				DialContext:            (&net.Dialer{Timeout: cfg.Timeout}).DialContext,
				TLSClientConfig:        encryption,
				TLSHandshakeTimeout:    cfg.Timeout,
				ForceAttemptHTTP2:      true,
				MaxResponseHeaderBytes: 64 << 10,
				MaxIdleConnsPerHost:    parallel,
				IdleConnTimeout:        time.Minute,
			},
			// A redirect may lead anywhere; the operator has configured one address.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}, nil
}

// Answer is the result of one try.
type Answer struct {
	Delivered bool
	Text      string        // the status, or what was wrong; nothing that the receiver wrote
	Wait      time.Duration // for which the receiver asks to be left alone
}

// maxWait bounds what a receiver may ask for, and is how long one that says 410 Gone is left alone: it may be a proxy
// that says so, and nothing is lost.
const maxWait = time.Hour

// maxAnswer is how much of an answer's body is read, so that its connection can be used again.
const maxAnswer = 4 << 10

// Send tries once to deliver an event. now is what the signature says, and what Retry-After counts from.
func (s *Sender) Send(ctx context.Context, id string, body []byte, now time.Time) Answer {
	ctx, cancel := context.WithTimeoutCause(ctx, s.timeout, fmt.Errorf("no answer within %s", s.timeout))
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url, bytes.NewReader(body))
	if err != nil {
		return Answer{Text: "notify.url is no URL"}
	}
	request.Header.Set("Content-Type", "application/cloudevents+json; charset=utf-8")
	request.Header.Set("User-Agent", s.agent)
	request.Header.Set("Webhook-Id", id)
	request.Header.Set("Webhook-Timestamp", strconv.FormatInt(now.Unix(), 10))
	request.Header.Set("Webhook-Signature", s.sign(id, body, now))
	response, err := s.client.Do(request)
	if err != nil {
		return Answer{Text: config.RequestError(ctx, err).Error()}
	}
	defer func() { _ = response.Body.Close() }()                         // only read from
	_, _ = io.Copy(io.Discard, io.LimitReader(response.Body, maxAnswer)) // the status has been said
	return judge(response, now)
}

// sign makes one signature for each key, as Standard Webhooks 1.0.0 describes it under "Signature scheme".
func (s *Sender) sign(id string, body []byte, now time.Time) string {
	var signatures []string
	for _, key := range s.keys {
		mac := hmac.New(sha256.New, key)
		fmt.Fprintf(mac, "%s.%d.%s", id, now.Unix(), body)
		signatures = append(signatures, "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	}
	return strings.Join(signatures, " ")
}

// judge reads the status of an answer.
func judge(response *http.Response, now time.Time) Answer {
	status := response.StatusCode
	a := Answer{Text: strings.TrimSpace(fmt.Sprintf("%d %s", status, http.StatusText(status)))}
	switch {
	case status >= 200 && status <= 299:
		a.Delivered = true
		return a
	case status >= 300 && status <= 399:
		a.Text += ", and redirects are not followed"
	case status == http.StatusGone:
		a.Wait = maxWait
	}
	a.Wait = max(a.Wait, retryAfter(response.Header.Get("Retry-After"), now))
	return a
}

// retryAfter reads the header of that name: seconds, or a date.
func retryAfter(value string, now time.Time) time.Duration {
	if seconds, err := strconv.ParseUint(value, 10, 32); err == nil {
		return min(time.Duration(seconds)*time.Second, maxWait)
	}
	if date, err := http.ParseTime(value); err == nil {
		return min(max(0, date.Sub(now)), maxWait)
	}
	return 0
}
