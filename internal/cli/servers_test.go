package cli_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/certpurge/certpurge/internal/cli"
	"github.com/certpurge/certpurge/internal/config"
	"github.com/certpurge/certpurge/internal/queue"
	"github.com/certpurge/certpurge/internal/sandbox"
	"github.com/certpurge/certpurge/internal/sandbox/lms"
	"github.com/certpurge/certpurge/internal/sandbox/sandboxtest"
)

func TestMain(m *testing.M) { os.Exit(sandboxtest.Main(m)) }

// TestTheFilesOfBothBinariesReachEncryptedServers: what is written in a file arrives at the clients.
func TestTheFilesOfBothBinariesReachEncryptedServers(t *testing.T) {
	t.Parallel()
	authority := sandboxtest.NewAuthority(t)
	certificate, key := authority.Issue(t, "server", "servers.example")
	servers := sandboxtest.OwnServersWith(t, sandbox.Options{
		MySQLArguments: []string{"--ssl-ca=" + authority.File, "--ssl-cert=" + certificate, "--ssl-key=" +
			key}, RedisTLS: true,
		RedisArguments: []string{"--tls-cert-file", certificate, "--tls-key-file", key, "--tls-ca-cert-file", authority.File},
	})
	socket := redis.NewClient(&redis.Options{Network: "unix", Addr: servers.Redis.Socket})
	defer socket.Close()
	if err := socket.ConfigSet(t.Context(), "requirepass", "hunter2").Err(); err != nil {
		t.Fatal(err)
	}
	db := sandboxtest.On(t, servers.MySQL, lms.UTF8MB4)
	user, password := db.AddAccount(t)
	db.Exec(t, "ALTER USER '"+user+"'@'%' REQUIRE X509")
	db.Exec(t, "GRANT SELECT ON "+db.Ledger+".* TO '"+user+"'@'%'")
	mine, myKey := authority.Issue(t, "client")
	tls := fmt.Sprintf("{ca_file: %s, certificate_file: %s, key_file: %s, server_name: servers.example}", authority.File,
		mine, myKey)
	secret := filepath.Join(t.TempDir(), "redis-password")
	if err := os.WriteFile(secret, []byte("hunter2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	shared := fmt.Sprintf("mysql:\n  dsn: %s\n  tls: %s\nredis:\n  url: rediss://%s/0\n  password_file: %s\n  tls: %s\n",
		servers.MySQL.DSN(user, password, db.Ledger), tls, servers.Redis.Addr, secret, tls)
	file := filepath.Join(t.TempDir(), "certpurge.yaml")
	check := func(name string, m config.MySQL, l config.LMS, r config.Redis) {
		t.Helper()
		store, err := cli.OpenStore(m, l)
		if err != nil {
			t.Fatal(err)
		}
		defer store.Close()
		if err := store.Ping(t.Context()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		client, err := cli.NewRedis(r)
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		if err := queue.Ping(t.Context(), client); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := os.WriteFile(file, []byte(shared), 0o600); err != nil {
		t.Fatal(err)
	}
	enqueuer, err := config.LoadEnqueuer(file, nil)
	if err != nil {
		t.Fatal(err)
	}
	check("enqueuer", enqueuer.MySQL, enqueuer.LMS, enqueuer.Redis)
	if err := os.WriteFile(file, []byte(shared+"locations: [{name: a, bucket: certs}]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	worker, err := config.LoadWorker(file, nil)
	if err != nil {
		t.Fatal(err)
	}
	check("worker", worker.MySQL, worker.LMS, worker.Redis)

	enqueuer.MySQL.TLS.CAFile, enqueuer.Redis.TLS.CAFile = "no-such-file", "no-such-file"
	_, mysqlErr := cli.OpenStore(enqueuer.MySQL, enqueuer.LMS)
	_, redisErr := cli.NewRedis(enqueuer.Redis)
	for _, err := range []error{mysqlErr, redisErr} {
		if e, ok := errors.AsType[*cli.Error](err); !ok || e.Code != cli.ExitConfiguration {
			t.Errorf("a file that is missing: got %v, want exit code %d", err, cli.ExitConfiguration)
		}
	}
}
