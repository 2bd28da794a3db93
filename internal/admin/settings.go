package admin

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"sync"

	"github.com/certpurge/certpurge/internal/config"
	"github.com/certpurge/certpurge/internal/login"
)

// Listeners makes what a configuration requests.
func Listeners(cfg config.Admin, parts Parts, log *slog.Logger) ([]Listener, error) {
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

// ServeBeside serves until stop is called, so also while the process drains after the end of ctx. failed is told why it
// cannot.
func ServeBeside(ctx context.Context, listeners []Listener, log *slog.Logger, failed func(error)) (stop func()) {
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
