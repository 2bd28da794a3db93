package chaos

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math"
	"net"
	"sync"
	"sync/atomic"

	"github.com/tidwall/redcon"
)

// proxy stands in front of Redis. A reply that it drops is one whose command Redis has carried out: the client sees a
// broken connection and cannot know. It reads the commands, so that a fault can be aimed at one of them.
type proxy struct {
	addr     string
	listener net.Listener
	target   string
	dice     *dice
	chance   atomic.Uint64 // of each reply to be dropped: the bits of a float64
	dropped  atomic.Int64
	aimed    atomic.Pointer[strike]

	mu     sync.Mutex
	open   map[net.Conn]struct{} // nil when closed
	serves sync.WaitGroup
}

func startProxy(ctx context.Context, target string, seed uint64) (*proxy, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("opening a port for the proxy of Redis: %w", err)
	}
	p := &proxy{
		addr: listener.Addr().String(), listener: listener, target: target, dice: newDice(seed),
		open: map[net.Conn]struct{}{},
	}
	p.serves.Go(p.accept)
	return p, nil
}

// url is Redis through the proxy.
func (p *proxy) url() string { return "redis://" + p.addr + "/0" }

// drop sets the chance of each reply to be dropped.
func (p *proxy) drop(chance float64) { p.chance.Store(math.Float64bits(chance)) }

func (p *proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return // closed
		}
		server, err := new(net.Dialer).DialContext(context.Background(), "tcp", p.target)
		if err != nil {
			_ = client.Close() // what a client sees of a server that is down
			continue
		}
		if !p.keep(client, server) {
			return
		}
		p.serves.Go(func() {
			defer p.end(client, server)
			p.command(server, client)
		})
		p.serves.Go(func() {
			defer p.end(client, server)
			p.reply(client, server)
		})
	}
}

// command hands on commands, those of a pipeline together, until one side ends the connection.
func (p *proxy) command(server io.Writer, client io.Reader) {
	commands, out := redcon.NewReader(client), bufio.NewWriter(server)
	for {
		pipeline, err := commands.ReadCommands()
		if err != nil {
			return
		}
		for _, c := range pipeline {
			forward := func() {
				_, _ = out.Write(c.Raw) // the Flush below tells
				_ = out.Flush()
			}
			if !p.struck(c.Args, forward) {
				_, _ = out.Write(c.Raw)
			}
		}
		if out.Flush() != nil {
			return
		}
	}
}

// reply hands on replies until one is dropped, and with it the connection.
func (p *proxy) reply(client io.Writer, server io.Reader) {
	buffer := make([]byte, 32<<10)
	for {
		n, err := server.Read(buffer)
		if err != nil {
			return
		}
		if chance := math.Float64frombits(p.chance.Load()); chance > 0 && p.dice.chance(chance) {
			p.dropped.Add(1)
			return
		}
		if _, err := client.Write(buffer[:n]); err != nil {
			return
		}
	}
}

func (p *proxy) keep(conns ...net.Conn) bool {
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

// end closes both sides. Closing twice is an error that says nothing.
func (p *proxy) end(conns ...net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range conns {
		_ = c.Close()
		delete(p.open, c)
	}
}

func (p *proxy) close() {
	_ = p.listener.Close()
	p.mu.Lock()
	for c := range p.open {
		_ = c.Close()
	}
	p.open = nil
	p.mu.Unlock()
	p.serves.Wait()
}
