package admin

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/certpurge/certpurge/internal/login"
)

// Listener is where a handler is served.
type Listener struct {
	Key     string // of the configuration, for errors
	Address string // empty for nowhere
	Handler http.Handler
	// Local requests an address of this machine, because every client that can connect sees everything.
	Local bool
}

// Serve answers on all listeners until ctx ends, or one of them fails. started is called with each address that was
// bound.
func Serve(ctx context.Context, listeners []Listener, started func(key string, address net.Addr)) error {
	serving, stop := context.WithCancel(ctx)
	defer stop()
	ends := make(chan error, len(listeners))
	begun := 0
	var failure error
	for _, l := range listeners {
		if l.Address == "" {
			continue
		}
		bound, err := l.bind(ctx)
		if err != nil {
			failure = err
			stop()
			break
		}
		begun++
		go func() { ends <- l.serve(serving, bound) }()
		started(l.Key, bound.Addr())
	}
	for range begun {
		if err := <-ends; err != nil {
			failure = errors.Join(failure, err)
			stop() // one is not worth much without the other
		}
	}
	if ctx.Err() != nil {
		return nil
	}
	return failure
}

func (l Listener) bind(ctx context.Context) (net.Listener, error) {
	bound, err := new(net.ListenConfig).Listen(ctx, "tcp", l.Address)
	if err != nil {
		return nil, fmt.Errorf("%s: give each process of a machine an address of its own, or switch it off: %w", l.Key, err)
	}
	if l.Local && !login.IsLocal(bound.Addr().String()) {
		return nil, errors.Join(fmt.Errorf("%s: %s is reached from other machines, and no login is required: set admin.users",
			l.Key, bound.Addr()), bound.Close())
	}
	return bound, nil
}

// Times that one exchange may take. A profile is taken for half a minute by default.
const (
	readTime  = 10 * time.Second
	writeTime = 2 * time.Minute
)

func (l Listener) serve(ctx context.Context, bound net.Listener) error {
	server := &http.Server{
		Handler: l.Handler, ReadHeaderTimeout: readTime, ReadTimeout: readTime, WriteTimeout: writeTime,
		IdleTimeout:    time.Minute,
		MaxHeaderBytes: 64 << 10,
	}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() }) // clients that are being answered repeat their call
	defer stop()
	if err := server.Serve(bound); ctx.Err() == nil {
		return fmt.Errorf("%s: serving: %w", l.Key, err)
	}
	return nil
}
