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

const mysqlSocket = "mysql.sock"

// sqlMode is MySQL 8's default: what an LMS database on it runs with, and stricter than MariaDB's own.
const sqlMode = "ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE," +
	"ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION"

// MySQL is a private mariadbd or mysqld. Its only account is root without a password, and only through the socket,
// which no other user of the machine can reach; give accounts made for TCP the host '%' or '127.0.0.1' (names are not
// resolved). Committed data survives Restart and os.Kill.
type MySQL struct {
	*server

	Engine Engine
	Addr   string // 127.0.0.1:port
	Socket string // path of the unix socket

	program program
	cache   string // where a filled data directory is kept for the next start; empty for nowhere
	opts    Options
}

func newMySQL(locator locator, program program, dir string, opts Options) *MySQL {
	m := &MySQL{
		Engine:  locator.engine,
		Socket:  filepath.Join(dir, mysqlSocket),
		program: program,
		cache:   locator.cache,
		opts:    opts,
	}
	m.server = &server{
		name: string(m.Engine),
		dir:  dir,
		command: func() *exec.Cmd {
			cmd := program.command(m.arguments()...)
			if opts.MySQLScripts != "" {
				cmd.Env = append(cmd.Env, "PATH="+opts.MySQLScripts+":"+systemPath)
			}
			return cmd
		},
		ready: m.ping,
	}
	return m
}

// DSN is for a connection over TCP, in go-sql-driver's form. The database may be empty.
func (m *MySQL) DSN(user, password, database string) string {
	return dsn("tcp", m.Addr, user, password, database)
}

// SocketDSN is for a connection through the unix socket; the only way in for root.
func (m *MySQL) SocketDSN(user, password, database string) string {
	return dsn("unix", m.Socket, user, password, database)
}

func dsn(network, address, user, password, database string) string {
	cfg := mysql.NewConfig()
	cfg.Net, cfg.Addr = network, address
	cfg.User, cfg.Passwd, cfg.DBName = user, password, database
	return cfg.FormatDSN()
}

func (m *MySQL) listenOn(addr string) { m.Addr = addr }

func (m *MySQL) dataDirectory() string { return filepath.Join(m.dir, string(m.Engine)) }

// create fills the data directory and starts the server for the first time.
func (m *MySQL) create(ctx context.Context) error {
	fill := m.bootstrap
	if m.Engine == OracleMySQL {
		fill = m.initialize
	}
	if err := fill(ctx); err != nil {
		return fmt.Errorf("creating the %s system tables: %w", m.name, err)
	}
	return m.startOnFreePort(ctx, lastPort, m.listenOn)
}

func (m *MySQL) arguments() []string {
	_, port, _ := net.SplitHostPort(m.Addr) // our own making
	args := append(m.commonArguments(),
		"--socket="+m.Socket,
		"--pid-file="+filepath.Join(m.dataDirectory(), "server.pid"),
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
		// As MySQL ships. Old files go at once: no replica reads them.
		"--log-bin=binlog", "--server-id=1", "--binlog-format=ROW",
		"--max-binlog-size=16M", "--loose-binlog-expire-logs-seconds=1",
	)
	if m.Engine == OracleMySQL {
		args = append(args, m.mysqldArguments()...)
	}
	if m.opts.NoSync {
		// 2 hands each commit to the kernel: it outlives the server, though not the machine.
		args = append(args, "--innodb-flush-log-at-trx-commit=2", "--sync-binlog=0")
	}
	return append(args, m.opts.MySQLArguments...)
}

// commonArguments are those of the server and of the run that fills its data directory. --no-defaults has to be the
// first: no option file of the machine counts.
func (m *MySQL) commonArguments() []string {
	args := []string{
		"--no-defaults",
		"--datadir=" + m.dataDirectory(),
		"--tmpdir=" + m.dir,
	}
	if os.Getuid() == 0 {
		args = append(args, "--user=root") // the server refuses to run as root without this
	}
	if m.Engine == OracleMySQL {
		return append(args, m.mysqldCommonArguments()...)
	}
	return append(args, m.mariadbdCommonArguments()...)
}

// ping connects through the socket: it lies in our directory, so what answers is our server.
func (m *MySQL) ping(ctx context.Context) error {
	cfg := mysql.NewConfig()
	cfg.Net, cfg.Addr, cfg.User = "unix", m.Socket, "root"
	cfg.Logger = &mysql.NopLogger{} // a failed attempt is expected here
	connector, err := mysql.NewConnector(cfg)
	if err != nil {
		return err
	}
	db := sql.OpenDB(connector)
	defer db.Close()
	_, err = db.ExecContext(ctx, "DO 0") // a node that is about to join a cluster takes pings, but no statements
	return err
}
