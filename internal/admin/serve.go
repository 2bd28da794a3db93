package admin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/certpurge/certpurge/internal/config"
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
	serving, whileServing := errgroup.WithContext(ctx) // one is not worth much without the other
	for _, l := range listeners {
		if l.Address == "" {
			continue
		}
		bound, err := l.bind(ctx)
		if err != nil {
			serving.Go(func() error { return err })
			break
		}
		serving.Go(func() error { return l.serve(whileServing, bound) })
		started(l.Key, bound.Addr())
	}
	if err := serving.Wait(); ctx.Err() == nil {
		return err
	}
	return nil
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

// listenersOf makes what a configuration requests.
func listenersOf(cfg config.Admin, parts Parts, log *slog.Logger) ([]Listener, error) {
	users, err := login.ParseUsers(cfg.Users.Reveal())
	if err != nil {
		return nil, fmt.Errorf("admin.users: %w", err)
	}
	addresses, err := login.ParseAddresses(cfg.Proxy.Addresses)
	if err != nil {
		return nil, fmt.Errorf("admin.proxy.addresses: %w", err)
	}
	access := Access{
		Users: users,
		Proxy: login.Proxy{
			Addresses: addresses, UserHeader: cfg.Proxy.UserHeader, GroupsHeader: cfg.Proxy.GroupsHeader,
			ViewGroups: cfg.Proxy.ViewGroups, OperateGroups: cfg.Proxy.OperateGroups,
		},
		BasePath: cfg.BasePath, MetricsOpen: cfg.MetricsOpen, Pprof: cfg.Pprof || login.IsLocal(cfg.Listen),
	}
	return []Listener{
		{Key: "admin.listen", Address: cfg.Listen, Handler: New(parts, access, log), Local: access.open()},
		{Key: "admin.probes_listen", Address: cfg.ProbesListen, Handler: Probes(parts, access)},
	}, nil
}

// serveBeside serves until stop is called, so also while the process drains after the end of ctx. It calls failed with
// the reason if it cannot.
func serveBeside(ctx context.Context, listeners []Listener, log *slog.Logger, failed func(error)) (stop func()) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var serving sync.WaitGroup
	serving.Go(func() {
		err := Serve(ctx, listeners, func(key string, address net.Addr) {
			log.InfoContext(ctx, "listening", slog.String("key", key), slog.String("address", address.String()))
		})
		if err != nil {
			failed(err)
		}
	})
	return func() { cancel(); serving.Wait() }
}
