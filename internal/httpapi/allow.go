package httpapi

import (
	"errors"
	"net/http"
	"time"

	"github.com/certpurge/certpurge/internal/httpapi/auth"
)

// allowed lets only callers through that show who they are and have a right. limited holds them to their rate; the driver
// takes 429 for the end of a retirement, so its face is not.
func (s *Server) allowed(right auth.Right, limited bool, next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		caller, err := s.Auth.Authenticate(r)
		if err == nil {
			err = caller.Require(right)
		}
		if err != nil {
			refused(err).write(w)
			return
		}
		if limited {
			if wait := s.Limiter.Take(caller); wait > 0 {
				newProblem(http.StatusTooManyRequests, "rate_limited", "more requests than this caller may send").after(wait).write(w)
				return
			}
		}
		next(w, r)
	}
}

// refused is the answer to somebody who may not.
func refused(err error) *problem {
	e, ok := errors.AsType[*auth.Error](err)
	if !ok {
		e = &auth.Error{Code: auth.KeysUnavailable} // nothing is known against the caller
	}
	p := newProblem(e.Status(), string(e.Code), "%s", e.Sentence())
	p.challenge = e.Challenge()
	if p.Status == http.StatusServiceUnavailable {
		p.retryAfter = 5 * time.Second
	}
	return p
}
