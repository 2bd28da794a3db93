package httpapi

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"strings"
	"time"
	"unicode"

	"github.com/certpurge/certpurge/internal/httpapi/auth"
	"github.com/certpurge/certpurge/internal/login"
)

// face is one of the two ways to call.
type face string

const (
	faceNative face = "v1"
	faceDriver face = "driver" // which takes every 4xx for the end of a retirement, 429 too
)

type callerKey struct{}

// callerOf is who sends a request that has come through allowed.
func callerOf(ctx context.Context) auth.Caller {
	c, _ := ctx.Value(callerKey{}).(auth.Caller)
	return c
}

// maxBy is how many bytes of by the ledger keeps.
const maxBy = 160

// by says who sends a request, on whose behalf, by which face and from where, as the ledger keeps it: "token portal for
// alice, v1, 10.0.0.7". The driver's face has the service class that the path belongs to. It has at most 160 bytes, all
// of them printable: a long name of a caller is cut.
func by(r *http.Request, f face, behalf string) string {
	c := callerOf(r.Context())
	who := string(c.Kind) + " " + c.Name
	if c.Client != "" {
		who += " by client " + c.Client
	}
	who = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) || r == unicode.ReplacementChar {
			return -1
		}
		return r
	}, who)
	how := ", " + string(f)
	if behalf != "" {
		how = " for " + behalf + how
	}
	if service := driverPaths[r.URL.Path]; service != "" {
		how += " " + service
	}
	how += ", " + login.Remote(r).String()
	return strings.ToValidUTF8(who[:min(len(who), maxBy-len(how))], "") + how
}

// allowed lets only callers through that show who they are and have a right, and holds them to their rate. An address
// whose credentials are refused again and again has to wait, on the native API: the driver must hear what is
// wrong.
func (s *Server) allowed(right auth.Rights, f face, next handler) http.HandlerFunc {
	tooMany := http.StatusTooManyRequests
	if f == faceDriver {
		tooMany = http.StatusServiceUnavailable
	}
	return answered(func(w http.ResponseWriter, r *http.Request) *problem {
		caller, err := s.Auth.Authenticate(r)
		if answered, ok := w.(*recorder); ok {
			answered.face, answered.caller = f, caller
		}
		if err == nil {
			err = caller.Require(right)
		}
		if err != nil {
			p := refused(err)
			if p.Status != http.StatusServiceUnavailable && p.Code != string(auth.RightMissing) { // whose credentials are right
				address := login.Remote(r)
				if wait := s.refusals.Wait(address); wait > 0 && f == faceNative {
					p = newProblem(tooMany, "refused_too_often", "the credentials of this address were refused too often").after(wait)
				}
				s.refusals.Failed(address) // counts for nothing while it has to wait
			}
			return p
		}
		if wait := s.Limiter.Take(caller); wait > 0 {
			return newProblem(tooMany, "rate_limited", "more requests than this caller may send").after(wait)
		}
		return next(w, r.WithContext(context.WithValue(r.Context(), callerKey{}, caller)))
	})
}

// refused is the answer to a caller who may not.
func refused(err error) *problem {
	e, ok := errors.AsType[*auth.Error](err)
	if !ok {
		e = &auth.Error{Code: auth.KeysUnavailable} // nothing is known against the caller
	}
	p := newProblem(e.Status(), string(e.Code), "%s", e.Sentence())
	p.challenge = e.Challenge()
	if p.Status == http.StatusServiceUnavailable {
		p.retryAfter = cmp.Or(e.After, 5*time.Second)
	}
	return p
}
