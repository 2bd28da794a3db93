package demo

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/go-sql-driver/mysql"

	"github.com/certpurge/certpurge/internal/gcs/gcstest"
	"github.com/certpurge/certpurge/internal/sandbox"
	"github.com/certpurge/certpurge/internal/sandbox/lms"
)

// The databases, named as in configs/mysql/grants.sql.
const (
	LMSDatabase    = "openedx"
	LedgerDatabase = "certpurge"
)

// Variant is what environments differ in.
type Variant struct {
	Servers sandbox.Options
	LMS     string // name of the LMS's database
	Charset lms.Charset
}

// Environment is where the real binaries run: the servers, the accounts and a directory. The chaos suite lives in one,
// too.
type Environment struct {
	Variant

	Servers     *sandbox.Servers
	Storage     *gcstest.Server
	StorageURL  string
	stopStorage func()
	Root        *sql.DB

	// Dir belongs to the servers: they remove it at their end, even if this process is killed, together with every process
	// whose id is in a file *.pid there.
	Dir      string
	RedisURL string
	Callers  Callers // of its server

	EnqueuerDSN, WorkerDSN, MigrateDSN string // of the three accounts of configs/mysql/grants.sql
}

// MigrateArguments are for the enqueuer: the accounts are those of this machine only.
func (h *Environment) MigrateArguments() []string {
	return []string{
		"migrate", "--enqueuer-account", "certpurge_enqueuer@127.0.0.1", "--worker-account",
		"certpurge_worker@127.0.0.1",
	}
}

// OpenEnvironment opens the demo's environment. Its data need not survive a power cut.
func OpenEnvironment(ctx context.Context) (*Environment, error) {
	return OpenVariant(ctx, Variant{Servers: sandbox.Options{NoSync: true}, LMS: LMSDatabase, Charset: lms.Mixed})
}

// OpenVariant starts everything that the binaries need, and writes their configuration files. Close ends it.
func OpenVariant(ctx context.Context, v Variant) (_ *Environment, err error) {
	h := &Environment{Variant: v, Callers: newCallers()}
	defer func() {
		if err != nil {
			h.Close()
		}
	}()
	if h.Servers, err = sandbox.StartServers(ctx, v.Servers); err != nil {
		return nil, err
	}
	h.Dir = filepath.Dir(h.Servers.MySQL.Socket)
	h.RedisURL = h.Servers.Redis.URL(0)
	h.Storage = gcstest.New()
	h.StorageURL, h.stopStorage, err = h.Storage.Start() //nolint:contextcheck // it serves until it is stopped
	if err != nil {
		return nil, err
	}
	if h.Root, err = openRoot(h.Servers.MySQL.SocketDSN("root", "", "")); err != nil {
		return nil, err
	}
	if err := lms.CreateLMS(ctx, h.Root, v.LMS, v.Charset); err != nil {
		return nil, err
	}
	if err := h.grant(ctx); err != nil {
		return nil, err
	}
	return h, h.writeSettings()
}

// openRoot opens a pool of connections that may do everything.
func openRoot(dsn string) (*sql.DB, error) {
	cfg, err := mysql.ParseDSN(dsn)
	if err != nil {
		return nil, fmt.Errorf("connecting as root: %w", err)
	}
	cfg.Logger = &mysql.NopLogger{} // its calls return what it would say; the chaos suite restarts the server under it
	cfg.InterpolateParams = true    // one round trip for each of the large INSERTs
	connector, err := mysql.NewConnector(cfg)
	if err != nil {
		return nil, fmt.Errorf("connecting as root: %w", err)
	}
	return sql.OpenDB(connector), nil
}

// grant makes the ledger's schema and the three accounts, with new passwords, for this machine only.
func (h *Environment) grant(ctx context.Context) error {
	account := func(role string) lms.Account {
		return lms.Account{Name: "certpurge_" + role, Host: "127.0.0.1", Password: rand.Text()}
	}
	accounts := lms.Accounts{Enqueuer: account("enqueuer"), Worker: account("worker"), Migrate: account("migrate")}
	if err := lms.Grant(ctx, h.Root, h.LMS, LedgerDatabase, accounts); err != nil {
		return err
	}
	dsn := func(a lms.Account) string { return h.Servers.MySQL.DSN(a.Name, a.Password, LedgerDatabase) }
	h.EnqueuerDSN, h.WorkerDSN, h.MigrateDSN = dsn(accounts.Enqueuer), dsn(accounts.Worker), dsn(accounts.Migrate)
	return nil
}

// Close stops and removes everything. It may be called when OpenEnvironment has failed.
func (h *Environment) Close() {
	if h.Root != nil {
		_ = h.Root.Close() // nothing is lost: the server goes next
	}
	if h.stopStorage != nil {
		h.stopStorage()
	}
	if h.Servers != nil {
		h.Servers.Stop()
	}
}

// Command is a run of a binary with an account's DSN. It inherits nothing of this process's environment but what it
// needs: a CERTPURGE_MYSQL_DSN of production must not reach it. Of environ, the last setting of a variable counts.
func (h *Environment) Command(binary, dsn string, environ []string, args ...string) *exec.Cmd {
	cmd := exec.Command(binary, args...) //nolint:gosec,noctx // our own binary; sandbox.Child ends it
	cmd.Env = []string{"CERTPURGE_MYSQL_DSN=" + dsn, "CERTPURGE_REDIS_URL=" + h.RedisURL}
	for _, name := range []string{"PATH", "HOME", "TMPDIR", "GOCOVERDIR"} {
		if value, ok := os.LookupEnv(name); ok {
			cmd.Env = append(cmd.Env, name+"="+value)
		}
	}
	cmd.Env = append(cmd.Env, environ...)
	return cmd
}

// Path is a file in the directory.
func (h *Environment) Path(name string) string { return filepath.Join(h.Dir, name) }

// Write makes a file that no other user can read.
func (h *Environment) Write(name string, content []byte) error {
	file, err := os.OpenFile(h.Path(name), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("writing %s: %w", name, err)
	}
	_, err = file.Write(content)
	if err = errors.Join(err, file.Close()); err != nil {
		return fmt.Errorf("writing %s: %w", name, err)
	}
	return nil
}
