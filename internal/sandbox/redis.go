package sandbox

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"io"
	"net"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
)

// Cache is a program that serves Redis's protocol.
type Cache string

// The caches.
const (
	InstalledRedis Cache = ""       // the machine's redis-server, or the copy that Install has unpacked
	UnstableRedis  Cache = "redis"  // redis-server of Debian's unstable
	UnstableValkey Cache = "valkey" // valkey-server of Debian's unstable
)

// InstallCache makes sure that StartRedis finds the program. Those of Debian's unstable are unpacked into the user's
// cache directory, like the MySQL that Install unpacks.
func InstallCache(ctx context.Context, out io.Writer, cache Cache) error {
	if cache == InstalledRedis {
		return Install(ctx, out)
	}
	locator, err := defaultLocator()
	if err != nil {
		return err
	}
	in := installer{locator: locator, run: runCommand, out: out, newest: true}
	_, err = in.unpackTree(ctx, cache.tree(), []string{cache.server()})
	return err
}

func (c Cache) tree() string   { return string(c) + "-unstable" }
func (c Cache) server() string { return string(c) + "-server" }

// redis finds the program of a cache.
func (l locator) redis(cache Cache) (program, error) {
	if cache == InstalledRedis {
		return l.find(redisServer, treeServers, treeRedis)
	}
	tree := Tree{filepath.Join(l.cache, cache.tree())}
	path, err := l.lookPath(filepath.Join(tree.Root, "usr", "bin", cache.server()))
	if err != nil {
		return program{}, fmt.Errorf("finding %s: %w", cache.server(), err)
	}
	return tree.program(path), nil
}

// StartRedis starts a Redis alone, as StartServers does beside a MySQL server. Stop ends the server and removes its
// directory.
func StartRedis(ctx context.Context, opts Options) (_ *Redis, stop func(), err error) {
	locator, err := defaultLocator()
	if err != nil {
		return nil, nil, err
	}
	program, err := locator.redis(opts.Cache)
	if err != nil {
		return nil, nil, err
	}
	dir, remove, err := Directory()
	if err != nil {
		return nil, nil, fmt.Errorf("starting a Redis: %w", err)
	}
	r := newRedis(program, dir, opts)
	stop = sync.OnceFunc(func() { r.Stop(); remove() })
	if err := r.startOnFreePort(ctx, r.lastPort(), r.listenOn); err != nil {
		stop()
		return nil, nil, err
	}
	return r, stop, nil
}

// redisDatabases is how many logical databases the Redis has: enough for one a test in any run, at about a kilobyte
// each.
const redisDatabases = "8192"

// Redis is a private redis-server without a password, on the loopback interface. It keeps nothing on disk: what Stop,
// Restart and os.Kill leave behind is an empty Redis, as after a real loss.
type Redis struct {
	*server

	Addr   string // 127.0.0.1:port
	Socket string // path of the unix socket

	opts Options
}

func newRedis(program program, dir string, opts Options) *Redis {
	r := &Redis{Socket: filepath.Join(dir, "redis.sock"), opts: opts}
	r.server = &server{
		name:    "redis",
		dir:     dir,
		command: func() *exec.Cmd { return program.command(r.arguments()...) },
		ready:   r.ping,
	}
	return r
}

// URL names the logical database db in the form that redis and asynq clients read.
func (r *Redis) URL(db int) string { return fmt.Sprintf("redis://%s/%d", r.Addr, db) }

func (r *Redis) listenOn(addr string) {
	_, port, _ := net.SplitHostPort(addr) // our own making
	r.Addr = net.JoinHostPort(cmp.Or(r.opts.RedisHost, "127.0.0.1"), port)
}

// clusterBus is how far the port of the talk between nodes lies above the clients' one.
const clusterBus = 10_000

// lastPort keeps both ports of a cluster's node out of the range of outgoing connections.
func (r *Redis) lastPort() int {
	if r.opts.RedisCluster {
		return lastPort - clusterBus
	}
	return lastPort
}

func (r *Redis) arguments() []string {
	host, port, _ := net.SplitHostPort(r.Addr) // our own making
	plain, encrypted := port, "0"
	if r.opts.RedisTLS {
		plain, encrypted = "0", port
	}
	arguments := append(slices.Clone(r.opts.RedisArguments),
		"--bind", host,
		"--port", plain,
		"--tls-port", encrypted,
		"--unixsocket", r.Socket,
		"--unixsocketperm", "700",
		"--dir", r.dir,
		"--save", "",
		"--appendonly", "no",
		"--databases", redisDatabases,
		"--maxmemory-policy", "noeviction",
		// A machine that is busy for seconds must not make a short script look like one that does not end.
		"--lua-time-limit", "0",
		// asynq keeps a task as a hash: this holds it in the compact form. Redis 6 knows the option by this name only, later
		// ones by this and by hash-max-listpack-value.
		"--hash-max-ziplist-value", "1024",
	)
	if r.opts.RedisCluster {
		arguments = append(arguments, "--cluster-enabled", "yes", "--cluster-config-file", "redis-nodes.conf")
	}
	return arguments
}

// ping connects through the socket: it lies in our directory, so what answers is our server. A client library would
// log each attempt that comes too early.
func (r *Redis) ping(ctx context.Context) error {
	conn, err := new(net.Dialer).DialContext(ctx, "unix", r.Socket)
	if err != nil {
		return err
	}
	defer conn.Close()
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			return err
		}
	}
	if _, err := conn.Write([]byte("PING\r\n")); err != nil {
		return err
	}
	answer, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		return err
	}
	// A server with passwords asks for one: it answers.
	if answer != "+PONG\r\n" && !strings.HasPrefix(answer, "-NOAUTH ") {
		return fmt.Errorf("unexpected answer %q", answer)
	}
	return nil
}
