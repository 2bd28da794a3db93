package sandbox

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"strconv"
)

// Ports are taken from below the ranges that systems give to outgoing connections (Linux: from 32768, macOS: from
// 49152): otherwise a stranger's connection could take a server's port while it restarts.
const (
	firstPort = 10_000
	lastPort  = 29_999
	portTries = 20
)

var errNoPort = errors.New("finding a free port: every one tried was taken")

// startOnFreePort starts the server on a free port, which it passes to listenOn. Between check and start another
// process may take the port: then the next one is tried.
func (s *server) startOnFreePort(ctx context.Context, last int, listenOn func(addr string)) error {
	for range portTries {
		addr, err := freeAddress(ctx, last)
		if err != nil {
			return err
		}
		listenOn(addr)
		err = s.Start(ctx)
		if err == nil || ctx.Err() != nil || canListen(ctx, addr) {
			return err
		}
	}
	return errNoPort
}

// FreeAddress returns an address 127.0.0.1:port on which no process listens. Nothing keeps it free; only connections
// that go out do not take it.
func FreeAddress(ctx context.Context) (string, error) { return freeAddress(ctx, lastPort) }

func freeAddress(ctx context.Context, last int) (string, error) {
	for range portTries {
		port := firstPort + rand.IntN(last-firstPort+1) //nolint:gosec // spreads the ports, guards nothing
		if addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(port)); canListen(ctx, addr) {
			return addr, nil
		}
	}
	return "", errNoPort
}

func canListen(ctx context.Context, addr string) bool {
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", addr)
	if err != nil {
		return false
	}
	return listener.Close() == nil
}
