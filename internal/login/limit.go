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
	mostAddresses  = 10_000 // kept in mind
)

// limits counts the failed logins of each remote address.
type limits struct {
	mu        sync.Mutex
	now       func() time.Time
	addresses map[netip.Prefix]*rate.Limiter
	others    *rate.Limiter // for all addresses that there is no room for
}

func newLimits(now func() time.Time) *limits {
	return &limits{now: now, addresses: map[netip.Prefix]*rate.Limiter{}, others: newLimiter()}
}

func newLimiter() *rate.Limiter { return rate.NewLimiter(rate.Every(failureEvery), failuresAtOnce) }

// wait says how long an address must wait before it may try a password; zero for not at all.
func (l *limits) wait(address netip.Addr) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	limiter, ok := l.addresses[network(address)]
	if !ok && len(l.addresses) < mostAddresses {
		return 0
	}
	if !ok {
		limiter = l.others
	}
	if missing := 1 - limiter.TokensAt(l.now()); missing > 0 {
		return max(time.Second, time.Duration(missing*float64(failureEvery)))
	}
	return 0
}

// failed counts a failure.
func (l *limits) failed(address netip.Addr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now, key := l.now(), network(address)
	limiter, ok := l.addresses[key]
	if !ok && len(l.addresses) >= mostAddresses {
		for key, other := range l.addresses {
			if other.TokensAt(now) >= failuresAtOnce { // it has nothing to remember any more
				delete(l.addresses, key)
			}
		}
	}
	switch {
	case ok:
	case len(l.addresses) < mostAddresses:
		limiter = newLimiter()
		l.addresses[key] = limiter
	default:
		limiter = l.others
	}
	limiter.AllowN(now, 1)
}

// network is what counts as one address: whoever has an IPv6 address has the whole /64.
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
