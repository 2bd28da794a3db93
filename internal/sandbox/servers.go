package sandbox

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
)

// The variables in which cmd/testenv passes the addresses of its servers to the tests of a whole run. A test run
// against other servers, such as those of docker compose, sets them itself.
const (
	// EnvMySQL holds the DSN of an account that may do everything, in go-sql-driver's form, without a database.
	EnvMySQL = "CERTPURGE_TEST_MYSQL"
	// EnvRedis holds a redis:// URL without a database number.
	EnvRedis = "CERTPURGE_TEST_REDIS"
)

// Options of StartServers. The zero value is for data that matters a little, such as a demo's.
type Options struct {
	// NoSync never waits for the disk. Data still survives a killed server, though not a power cut: right for tests,
	// which create and drop a database each.
	NoSync bool
	// RedisCluster makes the Redis a node of a cluster, without slots: the test assigns them.
	RedisCluster bool
	// MySQLArguments go behind the sandbox's own, RedisArguments before them: a Redis reads a file of settings as the
	// first.
	MySQLArguments, RedisArguments []string
	// MySQLScripts is a directory of programs that the MySQL server may start; empty for those of the system only.
	MySQLScripts string
	// Cache is the program of StartRedis; StartServers starts the installed one.
	Cache Cache
	// RedisTLS lets the Redis take encrypted connections only; RedisArguments name its certificate.
	RedisTLS bool
	// RedisHost is the address of the loopback network on which the Redis listens; empty for 127.0.0.1.
	RedisHost string
}

// Servers is a running pair. Each server can be stopped and started again on its own.
type Servers struct {
	MySQL *MySQL
	Redis *Redis

	remove func()
	once   sync.Once
}

// StartServers starts a MySQL server of the chosen engine and a Redis that share nothing with any other server on the
// machine, and waits until both answer. The context bounds the start, not the life of the servers. Stop ends them; so
// does the end of this process, however it comes.
func StartServers(ctx context.Context, opts Options) (*Servers, error) {
	locator, err := defaultLocator()
	if err != nil {
		return nil, err
	}
	programs, err := locator.programs()
	if err != nil {
		return nil, fmt.Errorf("starting the sandbox servers: %w", err)
	}
	dir, remove, err := Directory()
	if err != nil {
		return nil, fmt.Errorf("starting the sandbox servers: %w", err)
	}
	s := &Servers{
		MySQL:  newMySQL(locator, programs.mysql, dir, opts),
		Redis:  newRedis(programs.redis, dir, opts),
		remove: remove,
	}
	var wg sync.WaitGroup
	var mysqlErr, redisErr error
	wg.Go(func() { mysqlErr = s.MySQL.create(ctx) })
	wg.Go(func() { redisErr = s.Redis.startOnFreePort(ctx, s.Redis.lastPort(), s.Redis.listenOn) })
	wg.Wait()
	if err := errors.Join(mysqlErr, redisErr); err != nil {
		s.Stop()
		return nil, err
	}
	return s, nil
}

// Stop ends both servers and removes their data. When it returns, the processes and the directory are gone. It may be
// called again, also at the same time.
func (s *Servers) Stop() {
	s.once.Do(func() {
		var wg sync.WaitGroup
		wg.Go(s.MySQL.Stop)
		wg.Go(s.Redis.Stop)
		wg.Wait()
		s.remove()
	})
}

// Directory makes a directory for servers of this process, which only this user may enter. It is removed by remove, or
// when this process ends, however it comes; the children of StartChild that still run in it are killed then.
func Directory() (dir string, remove func(), err error) {
	if dir, err = privateDirectory(); err != nil {
		return "", nil, err
	}
	// The watchdog comes before the first server: from here on, nothing can be left behind.
	dog, err := startWatchdog(dir)
	if err != nil {
		return "", nil, errors.Join(err, os.RemoveAll(dir))
	}
	return dir, func() {
		// The watchdog removes the directory as well, and is more patient; an error here is its work to do.
		_ = os.RemoveAll(dir)
		dog.release()
	}, nil
}

// longestSocketPath is what a socket address holds on every system (macOS: 104 bytes with the closing NUL).
const longestSocketPath = 100

// privateDirectory makes the directory that holds data, sockets and logs; only this user may enter it, which is what
// keeps the password-less root account of the MySQL server private.
func privateDirectory() (string, error) {
	parent := os.TempDir()
	if len(filepath.Join(parent, "certpurge-0123456789", mysqlSocket)) > longestSocketPath {
		parent = "/tmp"
	}
	return os.MkdirTemp(parent, "certpurge-")
}
