package gcstest

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// replayWindow is how long a delete's answer is replayed to the same idempotency token. The real service was
// measured to do so for 115 to 130 seconds (2026-09-30).
const replayWindow = 120 * stamp(1e6)

// Server is the emulator. It implements http.Handler and is safe for concurrent use. The zero value is not usable, see
// [New].
type Server struct {
	now func() time.Time

	mu      sync.RWMutex
	buckets map[string]*bucket

	noBatches  bool
	emptyPages atomic.Bool
	// denied holds the permissions the caller lacks, by bucket name. The inner maps are replaced, never changed, so that a
	// request may keep one after it let go of mu.
	denied map[string]map[string]bool

	faults atomic.Pointer[plan]
	hook   atomic.Pointer[func(op, bucket, name string)]
	stats  counters
}

// Option changes how a [Server] behaves.
type Option func(*Server)

// WithClock makes the server read the time from now instead of [time.Now]. Creation times, retention, soft delete,
// token replay and the rate of a [Fault] follow it; the latency of a [Fault] is always real time.
func WithClock(now func() time.Time) Option {
	return func(s *Server) { s.now = now }
}

// New returns a server without buckets. It holds no goroutine and no port until [Server.Start].
func New(opts ...Option) *Server {
	s := &Server{
		now:     time.Now,
		buckets: map[string]*bucket{},
		denied:  map[string]map[string]bool{},
	}
	for _, opt := range opts {
		opt(s)
	}
	return s
}

// SetHook makes the server call hook as each request arrives, before the faults are drawn and before the work, so that
// a test can change the world between two requests or inject a fault into this very one. For a listing name is the
// prefix; for requests that concern a bucket only it is empty. No lock is held: hook may call every method of the
// server, from many goroutines at once. Nil removes the hook.
func (s *Server) SetHook(hook func(op, bucket, name string)) {
	if hook == nil {
		s.hook.Store(nil)
		return
	}
	s.hook.Store(&hook)
}

// SetEmptyPages makes every listing, from now on, have pages without items: one before each other page, and one at the
// end. The service may answer such pages.
func (s *Server) SetEmptyPages(on bool) { s.emptyPages.Store(on) }

// Start listens on a free port of 127.0.0.1 and serves until stop is called. baseURL,
// "http://127.0.0.1:PORT/storage/v1/", is what option.WithEndpoint of the storage client takes. stop closes the
// listener and every connection, wakes requests that wait for a fault's latency, and returns when the last connection
// is closed; it may be called more than once. The only error is a port that could not be opened.
func (s *Server) Start() (baseURL string, stop func(), err error) { return s.StartOn("127.0.0.1:0") }

// StartOn is Start on another address, host:port.
func (s *Server) StartOn(address string) (baseURL string, stop func(), err error) {
	ctx, cancel := context.WithCancel(context.Background())
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		cancel()
		return "", nil, fmt.Errorf("opening a port for the storage emulator: %w", err)
	}
	var open, serving sync.WaitGroup
	srv := &http.Server{
		Handler:           s,
		ReadHeaderTimeout: 10 * time.Second,
		// Both run during a fault's latency, so they are its upper bound.
		ReadTimeout:  10 * time.Minute,
		WriteTimeout: 10 * time.Minute,
		// Longer than the 90 s after which Go's transport drops an idle connection itself, so that the server never closes
		// one under a request that is being sent.
		IdleTimeout: 2 * time.Minute,
		BaseContext: func(net.Listener) context.Context { return ctx },
		ConnState: func(_ net.Conn, state http.ConnState) {
			switch state {
			case http.StateNew:
				open.Add(1)
			case http.StateClosed, http.StateHijacked:
				open.Done()
			default:
			}
		},
	}
	serving.Go(func() { _ = srv.Serve(listener) }) // It ends when the listener is closed, and only then.
	stop = sync.OnceFunc(func() {
		cancel()
		// Close and not Shutdown: a connection on which no request was sent yet would hold Shutdown up for five seconds.
		_ = srv.Close()
		serving.Wait()
		open.Wait()
	})
	return "http://" + listener.Addr().String() + "/storage/v1/", stop, nil
}
