// Package sandboxtest gives each test a database and a Redis of its own on real servers.
//
// The servers are those that the environment names (cmd/testenv starts a pair for a whole run), or a pair that this
// process starts when the first test asks. A test that cannot have its servers fails; it never skips.
//
// A package whose tests use it says
//
//	func TestMain(m *testing.M) { os.Exit(sandboxtest.Main(m)) }
package sandboxtest

import (
	"context"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/certpurge/certpurge/internal/sandbox"
)

// setUpTimeout is for anything that precedes a test: the download of the servers on a new machine included.
const setUpTimeout = 10 * time.Minute

// cleanUpTimeout is for dropping what a test has used.
const cleanUpTimeout = 30 * time.Second

// Main runs the tests, stops the servers if this process has started them, and removes what it has built. It returns
// the exit code.
func Main(m *testing.M) int {
	code := m.Run()
	shared.stop()
	shipped.remove()
	demoProgram.remove()
	return code
}

// shared is this process's own pair.
var shared pair

// pair is started by the first who needs it.
type pair struct {
	mu      sync.Mutex
	servers *sandbox.Servers
	err     error
}

func (p *pair) get(tb testing.TB) *sandbox.Servers {
	tb.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.servers == nil && p.err == nil {
		p.servers, p.err = startServers(sandbox.Options{NoSync: true})
	}
	if p.err != nil {
		tb.Fatal(p.err)
	}
	return p.servers
}

func (p *pair) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.servers != nil {
		p.servers.Stop()
	}
}

// OwnServers starts a pair for this test alone, which may stop, kill and flush them. It costs about half a second;
// MySQL and Redis are far cheaper. mariadb are further arguments of the database server.
func OwnServers(tb testing.TB, mariadb ...string) *sandbox.Servers {
	tb.Helper()
	return ownServers(tb, sandbox.Options{NoSync: true, MySQLArguments: mariadb})
}

// OwnServersWith is OwnServers with other options.
func OwnServersWith(tb testing.TB, opts sandbox.Options) *sandbox.Servers {
	tb.Helper()
	opts.NoSync = true
	return ownServers(tb, opts)
}

// OwnRedis starts a Redis for this test alone.
func OwnRedis(tb testing.TB, opts sandbox.Options) *sandbox.Redis {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), setUpTimeout)
	defer cancel()
	if err := sandbox.InstallCache(ctx, os.Stderr, opts.Cache); err != nil {
		tb.Fatal(err)
	}
	server, stop, err := sandbox.StartRedis(ctx, opts)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(stop)
	return server
}

func ownServers(tb testing.TB, opts sandbox.Options) *sandbox.Servers {
	tb.Helper()
	servers, err := startServers(opts)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(servers.Stop)
	return servers
}

func startServers(opts sandbox.Options) (*sandbox.Servers, error) {
	ctx, cancel := context.WithTimeout(context.Background(), setUpTimeout)
	defer cancel()
	if err := sandbox.Install(ctx, os.Stderr); err != nil {
		return nil, err
	}
	return sandbox.StartServers(ctx, opts)
}
