package queue_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/certpurge/certpurge/internal/config"
	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/queue"
	"github.com/certpurge/certpurge/internal/sandbox"
	"github.com/certpurge/certpurge/internal/sandbox/sandboxtest"
)

// encrypted starts a Redis on host that takes encrypted connections only. Its certificate is for hosts.
func encrypted(t *testing.T, a *sandboxtest.Authority, host string, opts sandbox.Options,
	hosts ...string,
) *sandbox.Redis {
	t.Helper()
	certificate, key := a.Issue(t, "server-"+strings.ReplaceAll(host, ".", "-"), hosts...)
	opts.RedisTLS, opts.RedisHost = true, host
	opts.RedisArguments = append(opts.RedisArguments, "--tls-cert-file", certificate, "--tls-key-file", key,
		"--tls-ca-cert-file", a.File,
		"--tls-replication", "yes", "--tls-cluster", "yes")
	return sandboxtest.OwnServersWith(t, opts).Redis
}

// inside runs a command through the server's socket.
func inside(ctx context.Context, t *testing.T, server *sandbox.Redis, command ...any) any {
	t.Helper()
	client := redis.NewClient(&redis.Options{Network: "unix", Addr: server.Socket})
	defer client.Close()
	answer, err := client.Do(ctx, command...).Result()
	if err != nil {
		t.Fatalf("%v: %v", command, err)
	}
	return answer
}

// trusting returns settings with the authority and a client's certificate, which a Redis asks for by default.
func trusting(t *testing.T, a *sandboxtest.Authority) config.TLS {
	t.Helper()
	certificate, key := a.Issue(t, "client")
	return config.TLS{CAFile: a.File, CertificateFile: certificate, KeyFile: key}
}

// redisWith returns settings of Redis with this URL and encryption.
func redisWith(url string, encryption config.TLS) config.Redis {
	return config.Redis{URL: config.NewSecret(url), TLS: encryption}
}

func TestRedisOverTLS(t *testing.T) {
	t.Parallel()
	authority := sandboxtest.NewAuthority(t)
	address := encrypted(t, authority, "127.0.0.1", sandbox.Options{}, "cache.example").Addr
	trusted := trusting(t, authority)
	named := trusted
	named.ServerName = "cache.example"
	anonymous := config.TLS{CAFile: named.CAFile, ServerName: named.ServerName}
	if err := queue.Ping(t.Context(), openWith(t, redisWith("rediss://"+address, named))); err != nil {
		t.Errorf("all is given: %v", err)
	}
	for name, cfg := range map[string]config.Redis{
		"unknown authority":     redisWith("rediss://"+address, config.TLS{}),
		"another name":          redisWith("rediss://"+address, trusted), // that of the URL, 127.0.0.1
		"no client certificate": redisWith("rediss://"+address, anonymous),
	} {
		err := queue.Ping(t.Context(), openWith(t, cfg))
		if purge.ClassOf(err) != purge.Misconfigured || !strings.Contains(err.Error(), "redis.tls") {
			t.Errorf("%s: got %v, want a misconfiguration", name, err)
		}
	}
}

// eventually asks until the answer is right; servers need a moment to hear of each other.
func eventually(t *testing.T, what string, ask func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := ask(ctx)
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("%s: %v", what, err)
		case <-tick.C:
		}
	}
}

// TestEachNodeOfAClusterHasItsOwnCertificate: each is checked against the address of its own node.
func TestEachNodeOfAClusterHasItsOwnCertificate(t *testing.T) {
	t.Parallel()
	authority := sandboxtest.NewAuthority(t)
	var nodes []*sandbox.Redis
	for _, host := range []string{"127.0.0.1", "127.0.0.2"} {
		nodes = append(nodes, encrypted(t, authority, host, sandbox.Options{
			RedisCluster: true, RedisArguments: []string{"--cluster-announce-ip", host},
		}, host))
	}
	const half, last = 8191, 16383
	inside(t.Context(), t, nodes[0], "CLUSTER", "ADDSLOTSRANGE", 0, half)
	inside(t.Context(), t, nodes[1], "CLUSTER", "ADDSLOTSRANGE", half+1, last)
	host, port, err := net.SplitHostPort(nodes[1].Addr)
	if err != nil {
		t.Fatal(err)
	}
	inside(t.Context(), t, nodes[0], "CLUSTER", "MEET", host, port)
	for _, node := range nodes {
		eventually(t, "the nodes meet", func(ctx context.Context) error {
			if info, ok := inside(ctx, t, node, "CLUSTER", "INFO").(string); !ok || !strings.Contains(info, "cluster_state:ok") {
				return fmt.Errorf("got %q", info)
			}
			return nil
		})
	}
	rdb := openWith(t, redisWith("rediss+cluster://"+nodes[0].Addr, trusting(t, authority)))
	for i := range 20 { // on both nodes
		if err := rdb.Set(t.Context(), fmt.Sprintf("key-%d", i), i, time.Minute).Err(); err != nil {
			t.Fatalf("writing to the cluster: %v", err)
		}
	}
	named := trusting(t, sandboxtest.NewAuthority(t))
	err = queue.Ping(t.Context(), openWith(t, redisWith("rediss+cluster://"+nodes[0].Addr, named)))
	if purge.ClassOf(err) != purge.Misconfigured {
		t.Errorf("another authority: got %v, want a misconfiguration", err)
	}
}

// TestSentinelWithPasswordsAndCertificates: the Sentinel and the server have a certificate and a password of their own
// each.
func TestSentinelWithPasswordsAndCertificates(t *testing.T) {
	t.Parallel()
	authority := sandboxtest.NewAuthority(t)
	server := encrypted(t, authority, "127.0.0.2", sandbox.Options{}, "127.0.0.2")
	inside(t.Context(), t, server, "CONFIG", "SET", "requirepass", "of-the-server")
	host, port, err := net.SplitHostPort(server.Addr)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "sentinel.conf")
	settings := fmt.Sprintf("sentinel monitor theirs %s %s 1\nsentinel auth-pass theirs of-the-server\n", host, port)
	if err := os.WriteFile(file, []byte(settings), 0o600); err != nil {
		t.Fatal(err)
	}
	sentinel := encrypted(t, authority, "127.0.0.1", sandbox.Options{RedisArguments: []string{file, "--sentinel"}},
		"127.0.0.1")
	inside(t.Context(), t, sentinel, "ACL", "SETUSER", "default", "resetpass", ">of-the-sentinel")
	url := "rediss+sentinel://" + sentinel.Addr + "/0?master_name=theirs"
	cfg := redisWith(url, trusting(t, authority))
	cfg.Password, cfg.SentinelPassword = config.NewSecret("of-the-server"), config.NewSecret("of-the-sentinel")
	rdb := openWith(t, cfg)
	eventually(t, "the server is found", func(ctx context.Context) error { return queue.Ping(ctx, rdb) })
	for name, wrong := range map[string]config.Redis{
		"no password of the Sentinel": {URL: cfg.URL, Password: cfg.Password, TLS: cfg.TLS},
		"no password of the server":   {URL: cfg.URL, SentinelPassword: cfg.SentinelPassword, TLS: cfg.TLS},
	} {
		if err := queue.Ping(t.Context(), openWith(t, wrong)); err == nil {
			t.Errorf("%s: let in", name)
		}
	}
	byURL := strings.Replace(url, "://", "://:of-the-sentinel@", 1) + "&password=of-the-server"
	if err := queue.Ping(t.Context(), openWith(t, redisWith(byURL, cfg.TLS))); err != nil {
		t.Errorf("both in the URL: %v", err)
	}
	for _, key := range []string{"redis.password", "redis.sentinel_password"} {
		twice := redisWith(byURL, config.TLS{})
		if key == "redis.password" {
			twice.Password = config.NewSecret("a")
		} else {
			twice.SentinelPassword = config.NewSecret("a")
		}
		if _, err := queue.NewRedis(twice); err == nil || !strings.Contains(err.Error(), key+":") {
			t.Errorf("%s is set twice: got %v", key, err)
		}
	}
}
