package login

import (
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Failed logins that one address may have: some at once, because people mistype, then few.
const (
	failuresAtOnce = 10
	failureEvery   = 10 * time.Second
	maxAddresses   = 10_000 // kept in mind
)

// Limits counts the refusals of each remote address: failed logins, or credentials that were not accepted. It keeps
// 10,000 networks at most, and is safe for concurrent use. Make it with NewLimits.
type Limits struct {
	mu        sync.Mutex
	now       func() time.Time
	addresses map[netip.Prefix]*rate.Limiter
	others    *rate.Limiter // for all addresses that there is no room for
}

// NewLimits makes Limits that read the clock now.
func NewLimits(now func() time.Time) *Limits {
	return &Limits{now: now, addresses: map[netip.Prefix]*rate.Limiter{}, others: newLimiter()}
}

func newLimiter() *rate.Limiter { return rate.NewLimiter(rate.Every(failureEvery), failuresAtOnce) }

// Wait says how long an address must wait before it may try again, at least a second; zero for not at all.
func (l *Limits) Wait(address netip.Addr) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if missing := 1 - l.tokens(address); missing > 0 {
		return max(time.Second, time.Duration(missing*float64(failureEvery)))
	}
	return 0
}

// failures is the number of an address's failures that count now.
func (l *Limits) failures(address netip.Addr) float64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return failuresAtOnce - l.tokens(address)
}

// tokens is the number of failures that an address may still have. The caller holds the lock.
func (l *Limits) tokens(address netip.Addr) float64 {
	limiter, ok := l.addresses[network(address)]
	switch {
	case ok:
	case len(l.addresses) < maxAddresses:
		return failuresAtOnce
	default:
		limiter = l.others
	}
	return limiter.TokensAt(l.now())
}

// Failed counts a failure.
func (l *Limits) Failed(address netip.Addr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now, key := l.now(), network(address)
	limiter, ok := l.addresses[key]
	if !ok && len(l.addresses) >= maxAddresses {
		for key, other := range l.addresses {
			if other.TokensAt(now) >= failuresAtOnce { // it has nothing to remember any more
				delete(l.addresses, key)
			}
		}
	}
	switch {
	case ok:
	case len(l.addresses) < maxAddresses:
		limiter = newLimiter()
		l.addresses[key] = limiter
	default:
		limiter = l.others
	}
	limiter.AllowN(now, 1)
}

// network is what counts as one address: a client with an IPv6 address has the whole /64.
func network(address netip.Addr) netip.Prefix {
	bits := 64
	if address.Is4() {
		bits = 32
	}
	prefix, err := address.Prefix(bits)
	if err != nil {
		return netip.Prefix{} // of the invalid address: all such are one
	}
	return prefix
}
