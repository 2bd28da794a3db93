package sandbox

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"slices"
)

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
	if answer != "+PONG\r\n" {
		return fmt.Errorf("unexpected answer %q", answer)
	}
	return nil
}
