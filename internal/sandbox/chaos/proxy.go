package chaos

import (
	"bufio"
	"context"
	"io"
	"math"
	"net"
	"sync"
	"sync/atomic"

	"github.com/tidwall/redcon"

	"github.com/certpurge/certpurge/internal/sandbox"
)

// proxy stands in front of Redis. A reply that it drops is one whose command Redis has carried out: the client sees a
// broken connection and cannot know. It reads the commands, so that a fault can be aimed at one of them.
type proxy struct {
	*sandbox.Proxy

	dice    *dice
	chance  atomic.Uint64 // of each reply to be dropped: the bits of a float64
	dropped atomic.Int64
	aimed   atomic.Pointer[strike]
}

func startProxy(ctx context.Context, target string, seed uint64) (*proxy, error) {
	p := &proxy{dice: newDice(seed)}
	var err error
	p.Proxy, err = sandbox.StartProxy(ctx, target, p.forward)
	return p, err
}

// url is Redis through the proxy.
func (p *proxy) url() string { return "redis://" + p.Addr + "/0" }

// drop sets the chance of each reply to be dropped.
func (p *proxy) drop(chance float64) { p.chance.Store(math.Float64bits(chance)) }

// forward closes both connections as soon as one direction ends.
func (p *proxy) forward(client, server net.Conn) {
	var replies sync.WaitGroup
	replies.Go(func() {
		p.reply(client, server)
		_ = client.Close()
	})
	p.command(server, client)
	_ = server.Close()
	replies.Wait()
}

// command forwards commands, those of a pipeline together, until one side ends the connection.
func (p *proxy) command(server io.Writer, client io.Reader) {
	commands, out := redcon.NewReader(client), bufio.NewWriter(server)
	for {
		pipeline, err := commands.ReadCommands()
		if err != nil {
			return
		}
		for _, c := range pipeline {
			forward := func() {
				_, _ = out.Write(c.Raw) // the Flush below returns its error
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

// reply forwards replies until one is dropped, and with it the connection.
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
