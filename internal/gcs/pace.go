package gcs

import (
	"log/slog"
	"math"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/certpurge/certpurge/internal/config"
)

// A bucket bears about 1,000 mutations and 5,000 reads a second, listings included, at any time. Above that the rate
// may at most double in 20 minutes, because the service needs minutes to spread a bucket over more servers; a client
// that meets errors is to pause the growth or to go slower for a while; and a bucket that was used little for days
// begins anew. (https://cloud.google.com/storage/docs/request-rate, "Ramp up request rate gradually".)
const (
	doubling    = 20 * time.Minute
	forgetAfter = 24 * time.Hour
)

// How the rate follows the service. What was sent before the rate was halved says nothing about the new one, and
// neither does what is sent in the second after it, because the service counts over some time: so many requests that
// were under way together halve the rate once.
const (
	afterCut    = time.Second
	minRate     = 0.01 // of the starting rate, and at least one request a second, so that a recovery is noticed
	gain        = 0.01 // of the starting rate, a second: from half to whole in 50 seconds
	maxGain     = 0.1  // of the present rate, a second, so that a very slow one does not leap
	burstWindow = 250 * time.Millisecond
	maxPause    = 10 * time.Minute // longer than any sensible Retry-After: a mistaken one must not stop a bucket for days
)

// pace is the rate of one kind of requests to one bucket.
type pace struct {
	limits config.Rate // the zero Rate is no bound
	log    *slog.Logger
	head   chan struct{} // holds one: the call that is next; the others queue behind it in the order in which they came

	mu       sync.Mutex
	tokens   *rate.Limiter
	rate     float64   // of tokens
	stepped  time.Time // up to when the growth of the rate has been computed
	wanted   time.Time // when a call last found no token
	failed   time.Time // when the service last failed for other reasons
	cut      time.Time // when the rate was last halved
	paused   time.Time // no request before this: the service's Retry-After
	queued   int       // calls that wait for a token
	waiting  int       // calls of any kind that wait for an admission
	waited   time.Duration
	answers  int64 // that asked for fewer requests
	halvings int64
}

func newPace(limits config.Rate, log *slog.Logger) *pace {
	limits.Ceiling = max(limits.Start, limits.Ceiling)
	p := &pace{limits: limits, log: log, head: make(chan struct{}, 1), rate: float64(limits.Start), stepped: time.Now()}
	p.tokens = rate.NewLimiter(rate.Limit(p.rate), burst(p.rate))
	if limits.Start == 0 {
		p.tokens.SetLimit(rate.Inf)
	}
	return p
}

// burst is how many unused tokens are kept: those of a quarter of a second, so that a wave of requests need not drip.
func burst(r float64) int { return max(1, int(r*burstWindow.Seconds())) }

func (p *pace) setRate(now time.Time, r float64) {
	p.rate = r
	p.tokens.SetLimitAt(now, rate.Limit(r))
	p.tokens.SetBurstAt(now, burst(r))
}

// take takes a token, if there is one. While calls queue, only the first of them (next) gets one.
func (p *pace) take(next bool) bool {
	now := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.grow(now)
	if now.Before(p.paused) || p.queued > 0 && !next {
		return false
	}
	if !p.tokens.AllowN(now, 1) {
		p.wanted = now
		return false
	}
	return true
}

// untilToken is how long it takes until there is a token, if nothing changes meanwhile.
func (p *pace) untilToken() time.Duration {
	now := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	wait := max(0, p.paused.Sub(now))
	if missing := 1 - p.tokens.TokensAt(now.Add(wait)); missing > 0 && p.limits.Start > 0 {
		// Never zero: by rounding, the fractions may add up to slightly less than a whole token.
		wait += max(10*time.Microsecond, time.Duration(math.Ceil(missing/p.rate*float64(time.Second))))
	}
	return wait
}

// grow lets the rate grow for the whole seconds that have passed since it last did.
func (p *pace) grow(now time.Time) {
	if p.limits.Start == 0 || now.Sub(p.stepped) < time.Second {
		return
	}
	start, r := float64(p.limits.Start), p.rate
	switch {
	case r < start:
		for ; r < start && now.Sub(p.stepped) >= time.Second; p.stepped = p.stepped.Add(time.Second) {
			r = min(start, r+min(start*gain, r*maxGain))
		}
		if r == start {
			p.stepped = now
			p.log.Info("rate towards Cloud Storage recovered", slog.Float64("per_second", r))
		}
	case p.wanted.After(p.stepped) && !p.failed.After(p.stepped): // the service spreads a bucket only for rates in use
		r, p.stepped = min(float64(p.limits.Ceiling), r*math.Exp2(float64(time.Second)/float64(doubling))), now
	case now.Sub(p.wanted) > forgetAfter:
		r, p.stepped = start, now
	default:
		p.stepped = now
	}
	if r != p.rate {
		p.setRate(now, r)
	}
}

// throttle lowers the rate after an answer that asked for fewer requests; sent is when its request was sent.
func (p *pace) throttle(sent time.Time, retryAfter time.Duration) {
	now := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answers++
	if until := now.Add(min(retryAfter, maxPause)); retryAfter > 0 && until.After(p.paused) {
		p.paused = until
	}
	if p.limits.Start == 0 || sent.Before(p.cut.Add(afterCut)) {
		return
	}
	p.cut, p.stepped = now, now
	floor := max(1, float64(p.limits.Start)*minRate)
	if p.rate <= floor {
		return
	}
	p.setRate(now, max(floor, p.rate/2))
	p.halvings++
	p.log.Warn("Cloud Storage asks for less: rate halved",
		slog.Float64("per_second", math.Round(p.rate*10)/10), slog.Duration("retry_after", retryAfter))
}

// recordServerError records any other failure of the service: the rate does not grow above its start in that second.
func (p *pace) recordServerError() {
	now := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.failed = now
}

// slowed reports whether the rate is lowered, or paused, because the service asked for fewer requests.
func (p *pace) slowed() bool {
	now := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.grow(now)
	return p.rate < float64(p.limits.Start) || now.Before(p.paused)
}

// countThrottled counts an answer that asked for fewer requests to one object, not to the bucket.
func (p *pace) countThrottled() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answers++
}

// wait increments the waiting gauge and returns the function that decrements it.
func (p *pace) wait() (done func()) {
	begun := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.waiting++
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.waiting--
		p.waited += time.Since(begun)
	}
}

// queue adds n to the number of calls that wait for a token.
func (p *pace) queue(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.queued += n
}
