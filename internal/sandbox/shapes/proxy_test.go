//go:build shapes

package shapes_test

import (
	"bufio"
	"encoding/binary"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/certpurge/certpurge/internal/sandbox"
	"github.com/certpurge/certpurge/internal/sandbox/sandboxtest"
)

// proxy stands between the programs and a MySQL server. It forwards what it reads, until strike sets a fault. Of the
// protocol it knows the headers of packets and which of them are commands: those with the sequence number 0.
type proxy struct {
	*sandbox.Proxy

	mu       sync.Mutex
	forgets  bool // statements that only set variables are answered, and go no further
	fault    *fault
	commands map[byte]int   // that were seen, by their codes
	queries  map[string]int // the first words of queries
}

// fault is what a proxy does with some queries instead of forwarding them.
type fault struct {
	concerns func(query string, inTransaction bool) bool
	does     effect
	answer   []byte        // of the effect answered
	left     int           // how many more queries it hits
	done     chan struct{} // closed when it has hit them all
}

type effect int

const (
	answered   effect = iota // the server does not see the query, the client gets the answer
	cut                      // the server does not see the query, both connections end
	unanswered               // the server carries it out, then the client's connection ends
)

// The codes of commands.
const (
	comQuit  = 0x01
	comQuery = 0x03
	comPing  = 0x0e
)

func startProxy(t *testing.T, target string) *proxy {
	t.Helper()
	p := &proxy{commands: map[byte]int{}, queries: map[string]int{}}
	var err error
	p.Proxy, err = sandbox.StartProxy(t.Context(), target, p.forward)
	must(t, err)
	t.Cleanup(p.Close)
	return p
}

// through is a DSN that leads to the proxy.
func (p *proxy) through(dsn string) string {
	before, rest, _ := strings.Cut(dsn, "@tcp(")
	_, after, _ := strings.Cut(rest, ")")
	return before + "@tcp(" + p.Addr + ")" + after
}

// strike makes a fault hit so many queries. The fault before must have ended.
func (p *proxy) strike(f fault, times int) *fault {
	f.left, f.done = times, make(chan struct{})
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fault = &f
	return &f
}

// heal ends a fault.
func (p *proxy) heal() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fault = nil
}

// hit is the fault that a query meets; nil for none.
func (p *proxy) hit(query string, inTransaction bool) *fault {
	p.mu.Lock()
	defer p.mu.Unlock()
	word, _, _ := strings.Cut(query, " ")
	p.queries[strings.ToUpper(word)]++
	if p.forgets && setsOnly(query) {
		return &fault{answer: success}
	}
	f := p.fault
	if f == nil || !f.concerns(query, inTransaction) {
		return nil
	}
	if f.left--; f.left == 0 {
		close(f.done)
		p.fault = nil
	}
	return f
}

// forward forwards one connection until it ends.
func (p *proxy) forward(client, server net.Conn) {
	var silent atomic.Bool
	answers := make(chan struct{})
	go func() {
		defer close(answers)
		defer func() { _ = client.Close() }() // what a client sees of a server that has gone
		buffer := make([]byte, 32<<10)
		for {
			n, err := server.Read(buffer)
			if err != nil {
				return
			}
			if silent.Load() {
				continue
			}
			if _, err := client.Write(buffer[:n]); err != nil {
				return
			}
		}
	}()
	defer func() { _ = server.Close(); <-answers }()
	in := bufio.NewReader(client)
	inTransaction := false
	for {
		packet, err := readPacket(in)
		if err != nil {
			return
		}
		var f *fault
		if query, ok := p.query(packet); ok {
			f = p.hit(query, inTransaction)
			inTransaction = strings.Contains(query, "START TRANSACTION") || inTransaction
			if commits(query, false) || strings.Contains(query, "ROLLBACK;") {
				inTransaction = false
			}
		}
		switch {
		case f == nil:
			_, err = server.Write(packet)
		case f.does == answered:
			_, err = client.Write(f.answer)
		case f.does == cut:
			return
		case f.does == unanswered:
			silent.Store(true)
			// The server ends the connection once it has carried out the query.
			if _, err := server.Write(append(packet, 1, 0, 0, 0, comQuit)); err == nil {
				<-answers
			}
			return
		}
		if err != nil {
			return
		}
	}
}

// readPacket reads a packet with its header.
func readPacket(in io.Reader) ([]byte, error) {
	var header [4]byte
	if _, err := io.ReadFull(in, header[:]); err != nil {
		return nil, err
	}
	length := int(header[0]) | int(header[1])<<8 | int(header[2])<<16
	packet := make([]byte, len(header)+length)
	copy(packet, header[:])
	_, err := io.ReadFull(in, packet[len(header):])
	return packet, err
}

// query is the text of a packet that holds one.
func (p *proxy) query(packet []byte) (string, bool) {
	if packet[3] != 0 || len(packet) < 5 { // a part of the login
		return "", false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.commands[packet[4]]++
	return string(packet[5:]), packet[4] == comQuery
}

// refusal is the packet of an error.
func refusal(number uint16, state, message string) []byte {
	body := binary.LittleEndian.AppendUint16([]byte{0xff}, number)
	body = append(body, "#"+state+message...)
	header := binary.LittleEndian.AppendUint32(nil, uint32(len(body))|1<<24) //nolint:gosec // a text of ours; number 1
	return append(header, body...)
}

// success is the packet that answers a statement which returns nothing.
var success = []byte{7, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0}

func anything(string, bool) bool { return true }

// writes are queries that change something, or that lock rows to do so.
func writes(query string, _ bool) bool {
	for _, word := range []string{"UPDATE ", "INSERT ", "DELETE "} {
		if strings.Contains(query, word) {
			return true
		}
	}
	return false
}

// commits are scripts that end their transaction.
func commits(query string, _ bool) bool { return strings.Contains(query, "COMMIT;") }

// setsOnly are statements that set variables of the session.
func setsOnly(query string) bool {
	return strings.HasPrefix(query, "SET ") && !strings.Contains(query, ";")
}

// TestProxySQL purges through a proxy that answers as ProxySQL does while it reaches no server, that loses the sessions'
// variables, and that loses connections at the worst moments.
func TestProxySQL(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ofTheDemo, many)
	w.migrate()
	p := startProxy(t, w.env.Servers.MySQL.Addr)
	p.forgets = true
	w.env.EnqueuerDSN, w.env.WorkerDSN = p.through(w.env.EnqueuerDSN), p.through(w.env.WorkerDSN)
	w.healthy()
	// Each fault has users of its own.
	parts := slices.Collect(slices.Chunk(w.data.Enqueued(), len(w.data.Enqueued())/11+1))
	w.work("worker-1")
	w.work("worker-2")
	must(t, w.submit("before", parts[0]).Wait(t.Context()))
	w.until(len(parts[0]) / 2)

	// A server that is away: every query gets the error, the checks' too.
	p.strike(fault{concerns: anything, answer: refusal(9001, "HY000",
		"Max connect timeout reached while reaching hostgroup 0 after 10000ms")}, 1<<30)
	for _, worker := range w.children {
		w.logs(worker, "worker paused", "9001")
	}
	p.heal()
	must(t, w.submit("after", parts[1]).Wait(t.Context()))

	for i, f := range []struct {
		name string
		fault
	}{
		{"the answer to a COMMIT is lost", fault{concerns: commits, does: unanswered}},
		{"a COMMIT does not reach the server", fault{concerns: commits, does: cut}},
		{"a connection ends within a transaction", fault{
			concerns: func(_ string, inTransaction bool) bool { return inTransaction }, does: cut,
		}},
		{"9002", fault{concerns: writes, answer: refusal(9002, "HY000", "Max connect failure while reaching hostgroup 0")}},
		{"9004", fault{concerns: writes, answer: refusal(9004, "HY000", "Backend Offline Detected")}},
		{"9006", fault{concerns: writes, answer: refusal(9006, "Y0000",
			"ProxySQL Error: connection is locked to hostgroup 0 but trying to reach hostgroup 1")}},
		{"1290", fault{concerns: writes, answer: refusal(1290, "HY000",
			"The MySQL server is running with the --read-only option so it cannot execute this statement")}},
		{"1836", fault{concerns: writes, answer: refusal(1836, "HY000", "Running in read-only mode")}},
		{"2013", fault{concerns: writes, answer: refusal(2013, "HY000", "Lost connection to server during query")}},
	} {
		struck := p.strike(f.fault, 4)
		submit := w.submit("part-"+strconv.Itoa(i), parts[2+i])
		sandboxtest.Receive(t, f.name, struck.done)
		must(t, submit.Wait(t.Context()))
	}
	w.finish()
	p.mu.Lock()
	defer p.mu.Unlock()
	for code := range p.commands {
		if code != comQuery && code != comPing && code != comQuit {
			t.Errorf("command %#x was sent %d times; docs/compatibility.md says that there are none", code, p.commands[code])
		}
	}
	t.Logf("%s, commands %v, queries %v", w.mysqlVersion(), p.commands, p.queries)
}
