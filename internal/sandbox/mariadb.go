package sandbox

import (
	"context"
	"database/sql"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/go-sql-driver/mysql"
)

const mariadbSocket = "mariadb.sock"

// sqlMode is MySQL 8's default: what an LMS database on it runs with, and stricter than MariaDB's own.
const sqlMode = "ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION"

// MariaDB is a private mariadbd. Its only account is root without a password, and only through the socket, which no other
// user of the machine can reach; give accounts made for TCP the host '%' or '127.0.0.1' (names are not resolved).
// Committed data survives Restart and os.Kill.
type MariaDB struct {
	*process

	Addr   string // 127.0.0.1:port
	Socket string // path of the unix socket

	program program
	opts    Options
}

func newMariaDB(program program, dir string, opts Options) *MariaDB {
	m := &MariaDB{Socket: filepath.Join(dir, mariadbSocket), program: program, opts: opts}
	m.process = &process{
		name:    "mariadb",
		dir:     dir,
		command: func() *exec.Cmd { return program.command(m.arguments()...) },
		ready:   m.ping,
	}
	return m
}

// DSN is for a connection over TCP, in go-sql-driver's form. The database may be empty.
func (m *MariaDB) DSN(user, password, database string) string {
	return dsn("tcp", m.Addr, user, password, database)
}

// SocketDSN is for a connection through the unix socket; the only way in for root.
func (m *MariaDB) SocketDSN(user, password, database string) string {
	return dsn("unix", m.Socket, user, password, database)
}

func dsn(network, address, user, password, database string) string {
	cfg := mysql.NewConfig()
	cfg.Net, cfg.Addr = network, address
	cfg.User, cfg.Passwd, cfg.DBName = user, password, database
	return cfg.FormatDSN()
}

func (m *MariaDB) listenOn(addr string) { m.Addr = addr }

func (m *MariaDB) dataDirectory() string { return filepath.Join(m.dir, "mariadb") }

// create fills the data directory and starts the server for the first time.
func (m *MariaDB) create(ctx context.Context) error {
	if err := os.Mkdir(m.dataDirectory(), 0o700); err != nil {
		return fmt.Errorf("creating the mariadb data directory: %w", err)
	}
	if err := m.bootstrap(ctx); err != nil {
		return fmt.Errorf("creating the mariadb system tables: %w", err)
	}
	return m.startOnFreePort(ctx, lastPort, m.listenOn)
}

func (m *MariaDB) arguments() []string {
	_, port, _ := net.SplitHostPort(m.Addr) // our own making
	args := append(m.commonArguments(),
		"--socket="+m.Socket,
		"--pid-file="+filepath.Join(m.dataDirectory(), "mariadbd.pid"),
		"--bind-address=127.0.0.1",
		"--port="+port,
		"--skip-name-resolve",
		"--max-connections=500",
		"--max-allowed-packet=64M", // MySQL 8's default
		"--character-set-server=utf8mb4",
		"--collation-server=utf8mb4_unicode_ci",
		"--default-time-zone=+00:00",
		"--sql-mode="+sqlMode,
		"--innodb-stats-persistent=0", // no background writes into a database that is about to be dropped
	)
	if m.opts.NoSync {
		// 2 hands each commit to the kernel: it outlives the server, though not the machine.
		args = append(args, "--innodb-flush-log-at-trx-commit=2")
	}
	return append(args, m.opts.MariaDBArguments...)
}

// commonArguments are those of the server and of the run that fills its data directory. --no-defaults has to be the
// first: no option file of the machine counts.
func (m *MariaDB) commonArguments() []string {
	args := []string{
		"--no-defaults",
		"--datadir=" + m.dataDirectory(),
		"--tmpdir=" + m.dir,
		"--innodb-log-file-size=16M",
	}
	if messages := m.program.messages(); messages != "" {
		args = append(args, "--lc-messages-dir="+messages)
	}
	if os.Getuid() == 0 {
		args = append(args, "--user=root") // mariadbd refuses to run as root unless told to
	}
	if m.opts.NoSync {
		args = append(args, "--debug-no-sync")
	}
	return args
}

// ping connects through the socket: it lies in our directory, so whoever answers is our server.
func (m *MariaDB) ping(ctx context.Context) error {
	cfg := mysql.NewConfig()
	cfg.Net, cfg.Addr, cfg.User = "unix", m.Socket, "root"
	cfg.Logger = &mysql.NopLogger{} // a failed attempt is expected here
	connector, err := mysql.NewConnector(cfg)
	if err != nil {
		return err
	}
	db := sql.OpenDB(connector)
	defer db.Close()
	return db.PingContext(ctx)
}
