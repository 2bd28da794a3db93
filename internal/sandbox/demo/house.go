package demo

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/go-sql-driver/mysql"

	"github.com/certpurge/certpurge/configs"
	"github.com/certpurge/certpurge/internal/gcs/gcstest"
	"github.com/certpurge/certpurge/internal/sandbox"
	"github.com/certpurge/certpurge/internal/sandbox/lms"
)

// The databases, named as in configs/mysql/grants.sql.
const (
	lmsDatabase    = "openedx"
	ledgerDatabase = "certpurge"
)

// house is where the demo plays: the servers, the accounts and a directory.
type house struct {
	servers     *sandbox.Servers
	storage     *gcstest.Server
	storageURL  string
	stopStorage func()
	root        *sql.DB

	// dir belongs to the servers: they remove it at their end, even if this process is killed, together with every process
	// whose id is in a file *.pid there.
	dir        string
	dsn        string // of the account of worker and enqueuer
	migrateDSN string // of the account of the migration
	redisURL   string
}

// openHouse starts everything that the binaries need.
func openHouse(ctx context.Context) (_ *house, err error) {
	h := &house{}
	defer func() {
		if err != nil {
			h.close()
		}
	}()
	// The demo's data need not survive a power cut.
	if h.servers, err = sandbox.StartServers(ctx, sandbox.Options{NoSync: true}); err != nil {
		return nil, err
	}
	h.dir = filepath.Dir(h.servers.MariaDB.Socket)
	h.redisURL = h.servers.Redis.URL(0)
	h.storage = gcstest.New()
	h.storageURL, h.stopStorage, err = h.storage.Start() //nolint:contextcheck // it serves until it is stopped, not until ctx ends
	if err != nil {
		return nil, err
	}
	if h.root, err = openRoot(h.servers.MariaDB); err != nil {
		return nil, err
	}
	if err := lms.CreateLMS(ctx, h.root, lmsDatabase, lms.Mixed); err != nil {
		return nil, err
	}
	if err := h.grant(ctx); err != nil {
		return nil, err
	}
	return h, h.writeSettings()
}

func openRoot(server *sandbox.MariaDB) (*sql.DB, error) {
	cfg, err := mysql.ParseDSN(server.SocketDSN("root", "", ""))
	if err != nil {
		return nil, fmt.Errorf("connecting as root: %w", err)
	}
	cfg.InterpolateParams = true // one round trip for each of the large INSERTs
	connector, err := mysql.NewConnector(cfg)
	if err != nil {
		return nil, fmt.Errorf("connecting as root: %w", err)
	}
	return sql.OpenDB(connector), nil
}

// sqlComment is a comment on a line of its own, as all of grants.sql are.
var sqlComment = regexp.MustCompile(`(?m)^\s*--.*$`)

// grant makes the ledger's schema and the two accounts as configs/mysql/grants.sql tells operators to, with passwords that
// nobody has had before, for this machine only.
func (h *house) grant(ctx context.Context) error {
	passwords := map[string]string{"'change-me-runtime'": rand.Text(), "'change-me-migrate'": rand.Text()}
	script := sqlComment.ReplaceAllString(configs.Grants, "")
	for placeholder, password := range passwords {
		if strings.Count(script, placeholder) != 1 {
			return fmt.Errorf("reading configs/mysql/grants.sql: expected %s once", placeholder)
		}
		script = strings.ReplaceAll(script, placeholder, "'"+password+"'")
	}
	script = strings.ReplaceAll(script, "@'%'", "@'127.0.0.1'")
	for statement := range strings.SplitSeq(script, ";") {
		if strings.TrimSpace(statement) == "" {
			continue
		}
		if _, err := h.root.ExecContext(ctx, statement); err != nil {
			return fmt.Errorf("granting rights as configs/mysql/grants.sql does: %w", err)
		}
	}
	h.dsn = h.servers.MariaDB.DSN("certpurge", passwords["'change-me-runtime'"], ledgerDatabase)
	h.migrateDSN = h.servers.MariaDB.DSN("certpurge_migrate", passwords["'change-me-migrate'"], ledgerDatabase)
	return nil
}

// close stops and removes everything. It may be called on a half-open house.
func (h *house) close() {
	if h.root != nil {
		_ = h.root.Close() // nothing is lost: the server goes next
	}
	if h.stopStorage != nil {
		h.stopStorage()
	}
	if h.servers != nil {
		h.servers.Stop()
	}
}

// path is a file in the directory.
func (h *house) path(name string) string { return filepath.Join(h.dir, name) }

// write makes a file that nobody else can read.
func (h *house) write(name string, content []byte) error {
	file, err := os.OpenFile(h.path(name), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("writing %s: %w", name, err)
	}
	_, err = file.Write(content)
	if err = errors.Join(err, file.Close()); err != nil {
		return fmt.Errorf("writing %s: %w", name, err)
	}
	return nil
}
