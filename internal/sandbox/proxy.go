package sandbox

import (
	"context"
	"fmt"
	"net"
	"sync"
)

// Proxy listens on a port of the loopback device and connects each client to its target.
type Proxy struct {
	Addr string // host:port to connect to

	listener net.Listener
	forward  func(client, server net.Conn)

	mu     sync.Mutex
	target string
	open   map[net.Conn]struct{} // nil when closed
	serves sync.WaitGroup
}

// StartProxy starts a proxy of target, a host:port. It calls forward in a goroutine for each client, with the client's
// connection and one to the target, and closes both when forward returns. If the target does not answer, the client's
// connection is closed.
func StartProxy(ctx context.Context, target string, forward func(client, server net.Conn)) (*Proxy, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("opening a port for a proxy of %s: %w", target, err)
	}
	p := &Proxy{
		Addr: listener.Addr().String(), listener: listener, forward: forward, target: target,
		open: map[net.Conn]struct{}{},
	}
	p.serves.Go(p.accept)
	return p, nil
}

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return // closed
		}
		p.mu.Lock()
		target := p.target
		p.mu.Unlock()
		server, err := new(net.Dialer).DialContext(context.Background(), "tcp", target)
		if err != nil {
			_ = client.Close() // what a client sees of a server that is down
			continue
		}
		if !p.add(client, server) {
			return
		}
		p.serves.Go(func() {
			defer p.remove(client, server)
			p.forward(client, server)
		})
	}
}

// add registers connections for Close. It closes them and returns false if the proxy is closed already.
func (p *Proxy) add(conns ...net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range conns {
		if p.open == nil {
			_ = c.Close()
			continue
		}
		p.open[c] = struct{}{}
	}
	return p.open != nil
}

func (p *Proxy) remove(conns ...net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range conns {
		_ = c.Close() // closing twice is an error without a meaning here
		delete(p.open, c)
	}
}

// SetTarget closes all connections; new ones are made to the new target.
func (p *Proxy) SetTarget(target string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.target = target
	p.closeConnections()
}

// Close closes the port and all connections, and waits for the end of every forward.
func (p *Proxy) Close() {
	_ = p.listener.Close()
	p.mu.Lock()
	p.closeConnections()
	p.open = nil
	p.mu.Unlock()
	p.serves.Wait()
}

func (p *Proxy) closeConnections() {
	for c := range p.open {
		_ = c.Close()
	}
}
