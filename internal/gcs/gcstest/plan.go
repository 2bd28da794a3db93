package gcstest

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"time"
)

// plan is the faults in force, with what they have counted.
type plan struct {
	seed   uint64
	mu     sync.Mutex
	faults []*armed
}

// armed is a fault and its counters.
type armed struct {
	Fault

	matched, struck int
	seen            map[uint64]uint64 // How often each request came, by its hash, where that decides.
	tokens          map[string]*tokens
}

// tokens is a token bucket.
type tokens struct {
	left float64
	at   stamp
}

// verdict is what the faults do to one request.
type verdict struct {
	before, after time.Duration
	answer        *reply
	afterWork     bool // The answer takes the place of the work's, and not of the work.
}

func (p *plan) add(f Fault) {
	if f.Rate > 0 && f.Status == 0 {
		f.Status = http.StatusTooManyRequests
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.faults = append(p.faults, &armed{Fault: f, seen: map[uint64]uint64{}, tokens: map[string]*tokens{}})
}

// draw decides what happens to a request.
func (s *Server) draw(c *call) (v verdict) {
	p := s.faults.Load()
	if p == nil {
		return v
	}
	now := at(s.now())
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, f := range p.faults {
		if v.answer != nil {
			break
		}
		if f.matches(c) {
			f.strike(c, now, p.seed+uint64(i)<<32, &v)
		}
	}
	if v.answer != nil {
		s.stats.faulted.Add(1)
	}
	return v
}

func (f *armed) matches(c *call) bool {
	return (f.Op == c.op || f.Op == "" && c.op != OpBatch) && (f.Bucket == "" || f.Bucket == c.bucket) &&
		(f.Name == "" || f.Name == c.name) && strings.HasPrefix(c.name, f.Prefix)
}

// strike applies a matching fault to the verdict, if its turn has come.
func (f *armed) strike(c *call, now stamp, seed uint64, v *verdict) {
	f.matched++
	if f.matched <= f.Skip || f.Count > 0 && f.struck >= f.Count {
		return
	}
	var chance, part float64
	if f.Probability > 0 || f.Jitter > 0 {
		request := hash(c.op + "\x00" + c.bucket + "\x00" + c.name)
		addPage := f.seen[request]
		f.seen[request] = addPage + 1
		chance, part = draws(seed, request, addPage)
	}
	if f.Probability > 0 && chance >= f.Probability || f.Rate > 0 && f.take(c, now) {
		return
	}
	f.struck++
	delay := f.Latency + time.Duration(part*float64(f.Jitter))
	if f.AfterWork {
		v.after += delay
	} else {
		v.before += delay
	}
	v.answer, v.afterWork = f.reply(c), f.AfterWork
}

// take takes a token and reports whether there was one.
func (f *armed) take(c *call, now stamp) bool {
	key := c.bucket
	if f.PerObject {
		key += "/" + c.name
	}
	burst := float64(max(f.Burst, 1))
	t, ok := f.tokens[key]
	if !ok {
		t = &tokens{left: burst, at: now}
		f.tokens[key] = t
	}
	if now > t.at {
		t.left = min(burst, t.left+f.Rate*float64(now-t.at)/1e6)
		t.at = now
	}
	if t.left < 1 {
		return false
	}
	t.left--
	return true
}

// hash is FNV-1a.
func hash(text string) uint64 {
	sum := uint64(14695981039346656037)
	for i := range len(text) {
		sum = (sum ^ uint64(text[i])) * 1099511628211
	}
	return sum
}

// draws returns two numbers from 0 to 1 that depend on nothing but the arguments, spread by the finalizer of
// SplitMix64.
func draws(seed, request, addPage uint64) (first, second float64) {
	const golden = uint64(0x9e3779b97f4a7c15)
	spread := func(x uint64) float64 {
		x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
		x = (x ^ x>>27) * 0x94d049bb133111eb
		return float64((x^x>>31)>>11) / (1 << 53)
	}
	state := (request ^ seed*golden) + addPage*0xd1342543de82ef95 + golden
	return spread(state), spread(state + golden)
}

// wait waits, and reports false if the client went away or the server stopped meanwhile.
func wait(ctx context.Context, delay time.Duration) bool {
	if delay <= 0 {
		return true
	}
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
