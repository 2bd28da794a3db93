package gcstest

import (
	"net/http"
	"time"
)

// Fault makes chosen requests fail or wait. The zero Fault matches every request and does nothing to it.
//
// Which requests: the fields Op, Bucket, Name and Prefix, each empty for any. When: Skip, Count and Probability, all
// zero for always. What: one of Status, Reset, Proxy and Rate, or none; Latency goes with each of them and with none.
//
// Faults are tried in the order they were added. Latencies add up; the first fault that has an answer gives it.
type Fault struct {
	// Op is one of the Op constants; empty is every one but OpBatch.
	Op string
	// Bucket is the exact name of a bucket.
	Bucket string
	// Name is the exact name of an object, or the exact prefix of a listing.
	Name string
	// Prefix is how the name of an object, or the prefix of a listing, begins.
	Prefix string

	// Skip lets the first matching requests pass.
	Skip int
	// Count is how many times the fault happens before it is spent; zero is without end.
	Count int
	// Probability is the chance of each matching request, 0 to 1; zero is certainty. The draw depends on the seed of the
	// plan, the fault's place in it, the request's operation, bucket and name, and how often that very request came
	// before. So it is the same on every run, in any order of concurrent requests.
	Probability float64

	// Status is the code of an error answer, 400 to 599.
	Status int
	// Reason and Message go into the error body; empty is what the service usually says with that status.
	Reason, Message string
	// RetryAfter sends a Retry-After header, in whole seconds.
	RetryAfter time.Duration
	// Reset resets the TCP connection instead of answering. Go's transport silently sends a GET again after a reset on a
	// connection it had used before, so a listing may never see a single reset; it does not do so for a DELETE.
	Reset bool
	// Proxy answers in the place of the service, as network equipment does.
	Proxy Proxy
	// Location is where [ProxyRedirect] leads; empty is a page of this server that says 200.
	Location string
	// Rate lets this many matching requests a second through, counted on the server's clock, and answers the others with
	// Status, by default 429. The bucket of tokens is one for each storage bucket, or, with PerObject, for each name.
	Rate float64
	// Burst is how many requests may come at once under Rate; zero is one.
	Burst int
	// PerObject counts Rate by object, as the service does for its limit of one mutation a second (documented quota).
	PerObject bool

	// Latency and Jitter delay the request by Latency plus a part of Jitter that is drawn as Probability is. A client that
	// gives up ends the wait, and a request that waits before its work is then never done.
	Latency, Jitter time.Duration

	// AfterWork does the request's work first and strikes then: with Reset it is the lost answer, with Status 504 a
	// gateway that gave up on a delete that was done, with Latency a client's timeout whose outcome is unknown to it.
	AfterWork bool
}

// Proxy is an answer that does not come from the service.
type Proxy string

// The answers of network equipment, all of which a client library has been seen to take for the service's.
const (
	ProxyOKHTML        Proxy = "200 with HTML" // A captive portal; Go's client takes it for a success.
	ProxyAccepted      Proxy = "202 empty"
	ProxyRedirect      Proxy = "302" // Go follows it with a GET, whose answer it takes for the delete's.
	ProxyNotFoundHTML  Proxy = "404 with HTML"
	ProxyNotFoundEmpty Proxy = "404 empty"
)

// SetFaults replaces all faults and restarts their counting. The same seed and the same requests meet the same faults.
// Without faults the server is back to normal.
func (s *Server) SetFaults(seed uint64, faults ...Fault) {
	if len(faults) == 0 {
		s.faults.Store(nil)
		return
	}
	p := &plan{seed: seed}
	for _, f := range faults {
		p.add(f)
	}
	s.faults.Store(p)
}

// AddFault adds a fault behind those there are, under their seed, or under 0 if there were none.
func (s *Server) AddFault(f Fault) {
	if p := s.faults.Load(); p != nil {
		p.add(f)
		return
	}
	p := &plan{}
	p.add(f)
	if !s.faults.CompareAndSwap(nil, p) {
		s.AddFault(f)
	}
}

// reply is the fault's answer, nil if it has none.
func (f *Fault) reply(c *call) *reply {
	var answer reply
	switch {
	case f.Reset:
		answer = reply{reset: true}
	case f.Proxy == ProxyOKHTML:
		answer = htmlReply(http.StatusOK, "<html><body>Sign in to use this network.</body></html>")
	case f.Proxy == ProxyAccepted:
		answer = reply{status: http.StatusAccepted}
	case f.Proxy == ProxyRedirect:
		answer = htmlReply(http.StatusFound, "<html><body>Found.</body></html>")
		answer.location = portalPath
		if f.Location != "" {
			answer.location = f.Location
		}
	case f.Proxy == ProxyNotFoundHTML:
		answer = htmlReply(http.StatusNotFound, "<html><body><h1>404 Not Found</h1></body></html>")
	case f.Proxy == ProxyNotFoundEmpty:
		answer = reply{status: http.StatusNotFound}
	case f.Status != 0:
		answer = c.refusal(defaultError(f, c.bucket, c.name))
		answer.retryAfter = f.RetryAfter
	default:
		return nil
	}
	return &answer
}
