// Package driver behaves towards a service as the stock Open edX retirement driver (retire_one_learner.py) does: the
// same calls, the same treatment of every answer, the same way of asking again. It is for tests and demonstrations:
// what it reports is what would become of the learner.
//
// Its facts were measured on the driver's own service classes; docs/integrations.md has them as a table.
package driver

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// Service is one of the driver's service classes.
type Service struct {
	Path        string                       // what it appends to the base URL
	Body        func(Learner) map[string]any // what it sends
	MissingIsOK bool                         // whether it takes a 404 for success
}

// The service classes that can call a service of one's own.
var (
	LicenseManager = Service{
		Path: "/api/v1/retire_user/", MissingIsOK: true,
		Body: func(l Learner) map[string]any {
			return map[string]any{"lms_user_id": l.ID, "original_username": l.Name}
		},
	}
	Ecommerce = Service{
		Path: "/api/v2/user/retire/",
		Body: func(l Learner) map[string]any { return map[string]any{"username": l.Name} },
	}
	Credentials = Service{
		Path: "/user/retire/",
		Body: func(l Learner) map[string]any { return map[string]any{"username": l.Name} },
	}
	Demographics = Service{
		Path: "/demographics/api/v1/retire_demographics/", MissingIsOK: true,
		Body: func(l Learner) map[string]any { return map[string]any{"lms_user_id": l.ID} },
	}
)

// Learner is who is to be retired.
type Learner struct {
	ID   int
	Name string // original_username
}

// Outcome is what becomes of the learner.
type Outcome struct {
	Completed bool   // the stage is finished; otherwise the learner is in the state ERRORED
	Recorded  string // what the LMS stores of it
	Calls     int
}

// Driver calls one service.
type Driver struct {
	Service Service
	BaseURL string
	Token   string // of the LMS; sent as "Authorization: JWT …"
	Client  *http.Client
	// Wait waits between two calls. Tests make it shorter; the driver counts what it asked for.
	Wait func(ctx context.Context, d time.Duration)
}

// The driver's patience, and its waiting once after a 504.
const (
	maxTime        = 600 * time.Second
	gatewayTimeout = 60 * time.Second
)

// Retire runs the stage for one learner.
func (d *Driver) Retire(ctx context.Context, learner Learner) (Outcome, error) {
	body, err := json.Marshal(d.Service.Body(learner))
	if err != nil {
		return Outcome{}, fmt.Errorf("making the request for user %d: %w", learner.ID, err)
	}
	target := strings.TrimSuffix(d.BaseURL, "/") + d.Service.Path
	waited, timedOut := time.Duration(0), false
	for calls := 1; ; calls++ {
		status, answer, err := d.call(ctx, target, body)
		if ctx.Err() != nil {
			return Outcome{Calls: calls}, fmt.Errorf("retiring user %d: %w", learner.ID, context.Cause(ctx))
		}
		wait := jitter(time.Second << min(calls-1, 20))
		switch {
		case err == nil && status == http.StatusGatewayTimeout:
			if timedOut {
				return errored(status, target, calls), nil
			}
			timedOut, wait = true, jitter(gatewayTimeout)
		case err != nil || status >= 500:
			if waited+wait > maxTime {
				return errored(status, target, calls), nil
			}
			waited += wait
		default:
			return d.judge(status, answer, target, calls), nil
		}
		d.Wait(ctx, wait)
	}
}

// judge treats an answer that is not asked for again.
func (d *Driver) judge(status int, answer []byte, target string, calls int) Outcome {
	switch {
	case status == http.StatusNotFound && d.Service.MissingIsOK:
		return Outcome{Completed: true, Recorded: "True", Calls: calls}
	case status >= 400:
		return errored(status, target, calls)
	case status == http.StatusNoContent:
		return Outcome{Completed: true, Recorded: "<Response [204]>", Calls: calls}
	case !json.Valid(answer): // it wants JSON of every other success
		return Outcome{Recorded: "JSONDecodeError", Calls: calls}
	}
	return Outcome{Completed: true, Recorded: string(answer), Calls: calls}
}

// errored is what is recorded of a failure: status and reason phrase, never the body.
func errored(status int, target string, calls int) Outcome {
	kind := "Client"
	if status >= 500 {
		kind = "Server"
	}
	if status == 0 {
		return Outcome{Recorded: "ConnectionError", Calls: calls}
	}
	return Outcome{
		Recorded: fmt.Sprintf("%d %s Error: %s for url: %s", status, kind, http.StatusText(status), target),
		Calls:    calls,
	}
}

// call makes one call and follows redirects as Python's requests does: 301, 302 and 303 lose the body and become a GET.
func (d *Driver) call(ctx context.Context, target string, body []byte) (status int, answer []byte, err error) {
	method := http.MethodPost
	client := *d.Client
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	for range 30 { // requests' own limit
		r, err := http.NewRequestWithContext(ctx, method, target, bytes.NewReader(body))
		if err != nil {
			return 0, nil, err
		}
		r.Header.Set("Authorization", "JWT "+d.Token)
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("User-Agent", "scripts.user_retirement")
		response, err := client.Do(r)
		if err != nil {
			return 0, nil, err
		}
		answer, err = io.ReadAll(io.LimitReader(response.Body, 1<<20))
		_ = response.Body.Close() // it has been read
		if err != nil {
			return 0, nil, err
		}
		status = response.StatusCode
		location := response.Header.Get("Location")
		if status < 300 || status >= 400 || location == "" {
			return status, answer, nil
		}
		if status <= http.StatusSeeOther {
			method, body = http.MethodGet, nil
		}
		next, err := url.Parse(location)
		if err != nil {
			return 0, nil, err
		}
		base, err := url.Parse(target)
		if err != nil {
			return 0, nil, err
		}
		target = base.ResolveReference(next).String()
	}
	return 0, nil, errors.New("following redirects: more than 30")
}

// jitter draws a wait between zero and most.
func jitter(most time.Duration) time.Duration {
	return time.Duration(rand.Int64N(int64(most) + 1)) //nolint:gosec // no secret
}

// LMS issues tokens as the LMS does for the driver's client credentials.
type LMS struct {
	Secret   []byte // JWT_SECRET_KEY
	Issuer   string
	Audience string
}

// Token is what the driver would get for a user at this moment. It expires after an hour, as by default.
func (l LMS) Token(user string, now time.Time) (string, error) {
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.HS256, Key: l.Secret},
		(&jose.SignerOptions{}).WithType("JWT"))
	if err != nil {
		return "", fmt.Errorf("signing a token: %w", err)
	}
	token, err := jwt.Signed(signer).Claims(map[string]any{
		"aud": l.Audience, "iss": l.Issuer, "iat": now.Unix(), "exp": now.Add(time.Hour).Unix(),
		"grant_type":         "client-credentials",
		"preferred_username": user, "scopes": []string{"read", "write", "email", "profile"}, "version": "1.2.0", "sub": "0",
		"filters": []string{"user:me"}, "is_restricted": false, "email_verified": true, "administrator": false,
		"superuser": false,
	}).Serialize()
	if err != nil {
		return "", fmt.Errorf("signing a token: %w", err)
	}
	return token, nil
}
