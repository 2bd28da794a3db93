//go:build shapes

package shapes_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/certpurge/certpurge/configs"
	"github.com/certpurge/certpurge/internal/config"
	"github.com/certpurge/certpurge/internal/queue"
	"github.com/certpurge/certpurge/internal/queue/dashboard"
	"github.com/certpurge/certpurge/internal/sandbox"
	"github.com/certpurge/certpurge/internal/sandbox/sandboxtest"
)

// caches are the programs that serve Redis's protocol, by their names in subtests.
var caches = map[string]sandbox.Cache{
	"redis": sandbox.InstalledRedis, "redis-unstable": sandbox.UnstableRedis, "valkey-unstable": sandbox.UnstableValkey,
}

// admin is the password of the tests' own account, which may do everything.
const admin = "of-the-tests"

// nodes start servers with the accounts of configs/redis/users.acl and a certificate of their own each.
type nodes struct {
	t         *testing.T
	cache     sandbox.Cache
	authority *sandboxtest.Authority
	accounts  string // path of the file
	started   int
	trusted   config.TLS // of the programs
}

func newNodes(t *testing.T, cache sandbox.Cache) *nodes {
	t.Helper()
	n := &nodes{
		t: t, cache: cache, authority: sandboxtest.NewAuthority(t), accounts: filepath.Join(t.TempDir(), "users.acl"),
	}
	text := configs.RedisUsers + "user admin on >" + admin + " ~* &* +@all\n"
	must(t, os.WriteFile(n.accounts, []byte(text), 0o600))
	return n
}

// host is the address of the next server. It must announce it: connections within the machine come from 127.0.0.1.
func (n *nodes) host() string { return fmt.Sprintf("127.0.0.%d", n.started+1) }

// start starts the next server, on an address of the loopback network that no other has.
func (n *nodes) start(opts sandbox.Options, arguments ...string) *sandbox.Redis {
	n.t.Helper()
	host := n.host()
	n.started++
	certificate, key := n.authority.Issue(n.t, host, host)
	opts.Cache, opts.RedisTLS, opts.RedisHost = n.cache, true, host
	opts.RedisArguments = slices.Concat(arguments, []string{
		"--tls-cert-file", certificate, "--tls-key-file", key, "--tls-ca-cert-file",
		n.authority.File, "--tls-replication", "yes", "--tls-cluster", "yes",
	})
	return sandboxtest.OwnRedis(n.t, opts)
}

// store starts a server that keeps tasks.
func (n *nodes) store(opts sandbox.Options, arguments ...string) *sandbox.Redis {
	n.t.Helper()
	return n.start(opts, append(arguments, "--aclfile", n.accounts, "--masteruser", "replica", "--masterauth",
		"change-me-replica", "--repl-diskless-sync-delay", "0", "--replica-announce-ip", n.host(),
		"--cluster-announce-ip", n.host())...)
}

// client is for the tests' own commands, through the socket of the server.
func (n *nodes) client(server *sandbox.Redis) *redis.Client {
	n.t.Helper()
	client := redis.NewClient(&redis.Options{
		Network: "unix", Addr: server.Socket, Username: "admin", Password: admin, TLSConfig: (*tls.Config)(nil),
	})
	n.t.Cleanup(func() { _ = client.Close() })
	return client
}

// do sends a command that must succeed.
func (n *nodes) do(server *sandbox.Redis, command ...any) any {
	n.t.Helper()
	answer, err := n.client(server).Do(n.t.Context(), command...).Result()
	if err != nil {
		n.t.Fatalf("%v: %v", command, err)
	}
	return answer
}

// connect gives the programs their accounts at the address that rest continues.
func (n *nodes) connect(w *world, scheme, rest string) {
	n.t.Helper()
	certificate, key := n.authority.Issue(n.t, "client")
	n.trusted = config.TLS{CAFile: n.authority.File, CertificateFile: certificate, KeyFile: key}
	w.both = append(w.both, "CERTPURGE_REDIS_TLS_CA_FILE="+n.authority.File,
		"CERTPURGE_REDIS_TLS_CERTIFICATE_FILE="+certificate, "CERTPURGE_REDIS_TLS_KEY_FILE="+key)
	url := func(role string) string {
		account := "certpurge_" + role + ":change-me-" + role
		if scheme == "rediss+sentinel" {
			return scheme + "://:" + ofSentinels + "@" + rest + "&username=certpurge_" + role + "&password=change-me-" + role
		}
		return scheme + "://" + account + "@" + rest
	}
	w.enqueuerRedis, w.workerRedis, w.readerRedis = url("enqueuer"), url("worker"), url("reader")
}

// refused fails the test if a server has refused a command to one of our accounts.
func (n *nodes) refused(servers ...*sandbox.Redis) {
	n.t.Helper()
	for _, server := range servers {
		entries, err := n.client(server).ACLLog(n.t.Context(), 100).Result()
		must(n.t, err)
		for _, entry := range entries {
			if strings.HasPrefix(entry.Username, "certpurge_") {
				n.t.Errorf("the server refuses %s to %s (%s, %s)", entry.Object, entry.Username, entry.Reason, entry.Context)
			}
		}
	}
}

var versionLine = regexp.MustCompile(`(?m)^(redis|valkey)_version:(\S+)`)

// version is the server's own word for itself.
func (n *nodes) version(server *sandbox.Redis) string {
	n.t.Helper()
	lines := versionLine.FindAllStringSubmatch(n.client(server).Info(n.t.Context(), "server").Val(), -1)
	if len(lines) == 0 {
		n.t.Fatal("INFO has no version")
	}
	last := lines[len(lines)-1] // Valkey reports Redis's version, for compatibility, before its own
	return last[1] + " " + last[2]
}

// TestOneRedis is killed in the middle, and comes back empty.
func TestOneRedis(t *testing.T) {
	t.Parallel()
	for name, cache := range caches {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, n := newWorld(t, ofTheDemo, many), newNodes(t, cache)
			server := n.store(sandbox.Options{})
			n.connect(w, "rediss", server.Addr+"/0")
			w.migrate()
			backfill := w.backfill("--high-water", "300")
			w.work("worker-1")
			w.work("worker-2")
			w.until(w.all() / 3)
			must(t, server.Signal(os.Kill))
			must(t, server.Start(t.Context()))
			must(t, backfill.Wait(t.Context()))
			w.finish()
			n.look(w)
			n.refused(server)
			w.read()
			t.Logf("%s, alone, TLS, accounts; killed, back without data", n.version(server))
		})
	}
}

// look opens the dashboard's pages of the servers and of the queues, with the worker's account.
func (n *nodes) look(w *world) {
	n.t.Helper()
	rdb, err := queue.NewRedis(config.Redis{URL: config.NewSecret(w.workerRedis), TLS: n.trusted})
	must(n.t, err)
	defer rdb.Close()
	handler := dashboard.New(rdb, "/monitoring").Handler(false)
	for _, page := range []string{"redis_info", "queues", "servers"} {
		answer := httptest.NewRecorder()
		handler.ServeHTTP(answer, httptest.NewRequestWithContext(n.t.Context(), http.MethodGet, "/monitoring/api/"+page,
			http.NoBody))
		if answer.Code != http.StatusOK {
			n.t.Errorf("the dashboard's %s: got %d %s", page, answer.Code, answer.Body)
		}
	}
}

// hostPort splits the address of a server.
func hostPort(server *sandbox.Redis) (host, port string) {
	host, port, _ = net.SplitHostPort(server.Addr) // of our own making
	return host, port
}

// eventually waits until a server is in a state.
func (n *nodes) eventually(what string, server *sandbox.Redis, is func(context.Context, *redis.Client) bool) {
	n.t.Helper()
	client := n.client(server)
	sandboxtest.Eventually(n.t, what, func() bool { return is(n.t.Context(), client) })
}
