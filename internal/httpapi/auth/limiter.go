package auth

import (
	"time"

	"golang.org/x/time/rate"
)

// Limiter holds each caller to a rate of requests, with a token bucket. It is safe for concurrent use.
type Limiter struct {
	buckets map[string]*rate.Limiter
	now     func() time.Time
}

// NewLimiter makes a Limiter with the rates of cfg: one for each static token, one for the service user, and one that
// all superusers share.
func NewLimiter(cfg Config) *Limiter {
	l := &Limiter{buckets: map[string]*rate.Limiter{}, now: clock(cfg.Now)}
	add := func(kind Kind, name string, perSecond, burst int) {
		l.buckets[newCaller(kind, name, 0).RateKey] = rate.NewLimiter(rate.Limit(perSecond), burst)
	}
	for _, t := range cfg.Tokens {
		add(KindToken, t.Name, t.Rate, t.Burst)
	}
	add(KindJWT, cfg.JWT.ServiceUser, cfg.JWT.Rate, cfg.JWT.Burst)
	add(KindJWT, superuser, cfg.JWT.Rate, cfg.JWT.Burst)
	return l
}

// Take counts one request of the caller. It returns 0 if the caller may proceed, and otherwise, without counting it,
// how long to wait before asking again. The retirement driver takes 429 for the end: answer it 503.
func (l *Limiter) Take(c Caller) time.Duration {
	bucket, ok := l.buckets[c.RateKey]
	if !ok {
		return time.Second // A caller of another Authenticator: no rate is known, so none is granted.
	}
	now := l.now()
	if bucket.AllowN(now, 1) {
		return 0
	}
	missing := 1 - bucket.TokensAt(now)
	return max(time.Millisecond, time.Duration(missing/float64(bucket.Limit())*float64(time.Second)))
}

func clock(now func() time.Time) func() time.Time {
	if now == nil {
		return time.Now
	}
	return now
}
