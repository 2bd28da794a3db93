package login

import (
	"cmp"
	"context"
	"crypto/sha256"
	"net/netip"
	"slices"
	"sync"
)

// maxChecks is how many password checks may wait: at about a fifth of a second each, the last one waits three seconds.
const maxChecks = 16

// checks is the queue of password checks. One check runs at a time, because the machine has other work; each network
// has one, running or waiting. The network with the fewest failures goes first, and takes the place of the one with the
// most where the queue is full. So a guesser's second guess never delays a login from a network that has not failed,
// however many networks guess.
type checks struct {
	mu      sync.Mutex
	running *check
	waiting []*check
}

// check is one check of a name and a password.
type check struct {
	id       [sha256.Size]byte // of the name and the password
	network  netip.Prefix
	failures float64 // of the network, when the check came

	admitted chan bool     // true: the check may run; false: it has lost its place
	ended    chan struct{} // closed when the check has run, or will not run
	ran      bool          // to be read once ended is closed
}

// enter waits until c may run; then leave must be called. same reports that the same credentials were being checked for
// the same network, as when a browser sends several requests at once: that check has run, and c has no need to. Without
// either, there is no room, or ctx has ended.
func (q *checks) enter(ctx context.Context, c *check) (leave func(), same, ok bool) {
	c.admitted, c.ended = make(chan bool, 1), make(chan struct{})
	q.mu.Lock()
	if other := q.of(c.network); other != nil {
		q.mu.Unlock()
		if other.id != c.id {
			return nil, false, false
		}
		select {
		case <-other.ended:
			return nil, other.ran, false
		case <-ctx.Done():
			return nil, false, false
		}
	}
	switch {
	case q.running == nil:
		q.running = c
		c.admitted <- true
	case len(q.waiting) < maxChecks || q.evict(c.failures):
		q.waiting = append(q.waiting, c)
	default:
		c.admitted <- false
	}
	q.mu.Unlock()
	select {
	case ok = <-c.admitted:
	case <-ctx.Done():
		ok = q.abandon(c)
	}
	if !ok {
		close(c.ended)
		return nil, false, false
	}
	if ctx.Err() != nil { // the client is gone
		q.leave(c)
		return nil, false, false
	}
	return func() { c.ran = true; q.leave(c) }, false, true
}

// of returns the check of a network. The caller holds the lock.
func (q *checks) of(network netip.Prefix) *check {
	if q.running != nil && q.running.network == network {
		return q.running
	}
	if i := slices.IndexFunc(q.waiting, func(c *check) bool { return c.network == network }); i >= 0 {
		return q.waiting[i]
	}
	return nil
}

// evict takes its place from the check whose network has failed most, if that is more than failures. The caller holds
// the lock.
func (q *checks) evict(failures float64) bool {
	last := slices.MaxFunc(q.waiting, byFailures)
	if last.failures <= failures {
		return false
	}
	q.remove(last)
	last.admitted <- false
	return true
}

// abandon takes a check whose client is gone out of the queue, and reports whether its turn had come before.
func (q *checks) abandon(c *check) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.remove(c)
	return q.running == c
}

// leave ends the check whose turn it was, and lets the next one run.
func (q *checks) leave(c *check) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.running = nil
	close(c.ended)
	if len(q.waiting) > 0 {
		next := slices.MinFunc(q.waiting, byFailures) // of several, the one that came first
		q.remove(next)
		q.running = next
		next.admitted <- true
	}
}

func (q *checks) remove(c *check) {
	q.waiting = slices.DeleteFunc(q.waiting, func(other *check) bool { return other == c })
}

func byFailures(a, b *check) int { return cmp.Compare(a.failures, b.failures) }
