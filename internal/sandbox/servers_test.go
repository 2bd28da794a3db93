package sandbox_test

import (
	"context"
	"database/sql"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"

	_ "github.com/go-sql-driver/mysql"
	"github.com/redis/go-redis/v9"

	"github.com/certpurge/certpurge/internal/sandbox"
)

// start gives the test a pair that is stopped with it. A machine that cannot have one fails the test.
func start(t *testing.T) *sandbox.Servers {
	t.Helper()
	if err := sandbox.Install(t.Context(), t.Output()); err != nil {
		t.Fatal(err)
	}
	servers, err := sandbox.StartServers(t.Context(), sandbox.Options{NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(servers.Stop)
	return servers
}

func open(t *testing.T, dsn string) *sql.DB {
	t.Helper()
	db, err := sql.Open("mysql", dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func root(t *testing.T, servers *sandbox.Servers) *sql.DB {
	t.Helper()
	return open(t, servers.MySQL.SocketDSN("root", "", ""))
}

func execute(t *testing.T, db *sql.DB, statements ...string) {
	t.Helper()
	for _, statement := range statements {
		if _, err := db.ExecContext(t.Context(), statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
}

func query(t *testing.T, db *sql.DB, statement string) (value string) {
	t.Helper()
	if err := db.QueryRowContext(t.Context(), statement).Scan(&value); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
	return value
}

func client(t *testing.T, url string) *redis.Client {
	t.Helper()
	options, err := redis.ParseURL(url)
	if err != nil {
		t.Fatal(err)
	}
	c := redis.NewClient(options)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// pids reads the pid files of the servers in the directory of the socket.
func pids(t *testing.T, socket string) []int {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(filepath.Dir(socket), "*.pid"))
	if err != nil || len(files) != 2 {
		t.Fatalf("pid files: got %v, %v, want two", files, err)
	}
	var found []int
	for _, file := range files {
		text, err := os.ReadFile(file) // the sandbox wrote it
		if err != nil {
			t.Fatal(err)
		}
		pid, err := strconv.Atoi(string(text))
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, pid)
	}
	return found
}

func listens(ctx context.Context, addr string) bool {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return false
	}
	return conn.Close() == nil
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return !errors.Is(err, fs.ErrNotExist)
}

func TestStopLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	servers := start(t)
	directory := filepath.Dir(servers.MySQL.Socket)
	info, err := os.Stat(directory)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := info.Mode().Perm(), os.FileMode(0o700); got != want {
		t.Errorf("mode of the directory: got %o, want %o", got, want)
	}
	processes := pids(t, servers.MySQL.Socket)

	var wg sync.WaitGroup
	for range 2 {
		wg.Go(servers.Stop)
	}
	wg.Wait()
	servers.Stop()

	for _, pid := range processes {
		if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
			t.Errorf("process %d after Stop: got %v, want %v", pid, err, syscall.ESRCH)
		}
	}
	if exists(directory) {
		t.Errorf("directory %s after Stop: it is still there", directory)
	}
}

func TestTwoPairsRunSideBySide(t *testing.T) {
	t.Parallel()
	var pairs [2]*sandbox.Servers
	for i := range pairs {
		pairs[i] = start(t)
		execute(t, root(t, pairs[i]), "CREATE DATABASE mine") // would exist already on a shared server
		fresh, err := client(t, pairs[i].Redis.URL(0)).SetNX(t.Context(), "mine", i, 0).Result()
		if err != nil || !fresh {
			t.Errorf("pair %d: claiming a key: got %t, %v, want true", i, fresh, err)
		}
	}
	pairs[0].Stop()
	if got, want := query(t, root(t, pairs[1]), "SELECT 1"), "1"; got != want {
		t.Errorf("the second server after the first has stopped: got %s, want %s", got, want)
	}
	if err := client(t, pairs[1].Redis.URL(0)).Ping(t.Context()).Err(); err != nil {
		t.Errorf("the second Redis after the first has stopped: %v", err)
	}
}

func TestMySQLKeepsDataAndAddress(t *testing.T) {
	t.Parallel()
	servers := start(t)
	m := servers.MySQL
	addr := m.Addr
	execute(t, root(t, servers), "CREATE DATABASE d", "CREATE TABLE d.t (n int NOT NULL)", "INSERT INTO d.t VALUES (41)")

	for name, again := range map[string]func() error{
		"Restart":        func() error { return m.Restart(t.Context()) },
		"Stop and Start": func() error { m.Stop(); m.Stop(); return m.Start(t.Context()) },
		"kill and Start": func() error { return errors.Join(m.Signal(os.Kill), m.Start(t.Context())) },
	} {
		execute(t, root(t, servers), "UPDATE d.t SET n = n + 1")
		want := query(t, root(t, servers), "SELECT n FROM d.t")
		if err := again(); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got := query(t, root(t, servers), "SELECT n FROM d.t"); got != want {
			t.Errorf("%s: got %s, want %s", name, got, want)
		}
		if m.Addr != addr || !listens(t.Context(), addr) {
			t.Errorf("%s: got address %s, want %s and a listener there", name, m.Addr, addr)
		}
	}
}

func TestRedisForgetsEverythingAndKeepsItsAddress(t *testing.T) {
	t.Parallel()
	r := start(t).Redis
	addr := r.Addr
	for name, again := range map[string]func() error{
		"Restart":        func() error { return r.Restart(t.Context()) },
		"kill and Start": func() error { return errors.Join(r.Signal(os.Kill), r.Start(t.Context())) },
	} {
		c := client(t, r.URL(8191))
		if err := c.Set(t.Context(), "k", "v", 0).Err(); err != nil {
			t.Fatal(err)
		}
		if err := again(); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got, err := client(t, r.URL(8191)).Get(t.Context(), "k").Result(); !errors.Is(err, redis.Nil) {
			t.Errorf("%s: got %q, %v, want %v", name, got, err, redis.Nil)
		}
		if r.Addr != addr {
			t.Errorf("%s: got address %s, want %s", name, r.Addr, addr)
		}
	}
}

func TestStopEndsAFrozenServer(t *testing.T) {
	t.Parallel()
	servers := start(t)
	if err := servers.MySQL.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	if err := servers.Redis.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	servers.Stop()
	if exists(servers.MySQL.Socket) {
		t.Error("the directory of the servers is still there")
	}
}

func TestMisuseIsAnError(t *testing.T) {
	t.Parallel()
	r := start(t).Redis
	if err := r.Start(t.Context()); err == nil {
		t.Error("starting a running server: got nil, want an error")
	}
	r.Stop()
	if err := r.Signal(os.Kill); err == nil {
		t.Error("signalling a stopped server: got nil, want an error")
	}
}

func TestSettingsOfTheServers(t *testing.T) {
	t.Parallel()
	servers := start(t)
	db := root(t, servers)
	for variable, want := range map[string]string{
		"character_set_server":    "utf8mb4",
		"collation_server":        "utf8mb4_unicode_ci",
		"time_zone":               "+00:00",
		"max_connections":         "500",
		"innodb_stats_persistent": "0",
		"bind_address":            "127.0.0.1",
		"log_bin":                 "1",
		"binlog_format":           "ROW",
	} {
		if got := query(t, db, "SELECT @@GLOBAL."+variable); got != want {
			t.Errorf("%s: got %s, want %s", variable, got, want)
		}
	}
	execute(t, db, "CREATE DATABASE d", "CREATE TABLE d.t (s varchar(2) NOT NULL)")
	if _, err := db.ExecContext(t.Context(), "INSERT INTO d.t VALUES ('abc')"); err == nil {
		t.Error("a text that is too long: got nil, want the error of strict mode")
	}

	c := client(t, servers.Redis.URL(0))
	for option, want := range map[string]string{
		"save": "", "appendonly": "no", "databases": "8192", "maxmemory-policy": "noeviction",
		"hash-max-ziplist-value": "1024",
	} {
		got, err := c.ConfigGet(t.Context(), option).Result()
		if err != nil || got[option] != want {
			t.Errorf("%s: got %q, %v, want %q", option, got[option], err, want)
		}
	}
}

// The port is open to every user of the machine; the socket lies in a directory that is not.
func TestRootNeedsTheSocket(t *testing.T) {
	t.Parallel()
	servers := start(t)
	if err := open(t, servers.MySQL.DSN("root", "", "")).PingContext(t.Context()); err == nil {
		t.Error("root over TCP: got in, want a refusal")
	}
	execute(t, root(t, servers), "CREATE USER 'app'@'%' IDENTIFIED BY 'p@ss:/w?rd'")
	for name, dsn := range map[string]string{
		"TCP":    servers.MySQL.DSN("app", "p@ss:/w?rd", ""),
		"socket": servers.MySQL.SocketDSN("app", "p@ss:/w?rd", ""),
	} {
		if err := open(t, dsn).PingContext(t.Context()); err != nil {
			t.Errorf("an account over %s: %v", name, err)
		}
	}
}
