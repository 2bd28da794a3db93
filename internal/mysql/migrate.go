package mysql

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"time"

	driversql "github.com/go-sql-driver/mysql"
	"github.com/pressly/goose/v3"

	"github.com/certpurge/certpurge/internal/purge"
)

//go:embed migrations/*.sql
var migrations embed.FS

// migrationLock is the name of the lock that keeps two migrations apart; locks are per server, so it holds the schema.
const migrationLock = "certpurge_migrate:%.40s"

// lockPatience is how long a migration waits for another one, which may have a large table to change.
const lockPatience = 10 * time.Minute

// tablePatience is how long a statement of a migration waits, in seconds, for transactions that use its table. The
// server's own limit is a year.
const tablePatience = "60"

// forMigrations changes the settings of a connection for Migrate: query_timeout bounds what the running programs read,
// but a statement that changes a large table takes as long as it takes. What a migration waits for is bounded all the
// same, by the two limits above; and a server that is gone is noticed by TCP.
func forMigrations(running *driversql.Config) *driversql.Config {
	cfg := running.Clone()
	cfg.ReadTimeout, cfg.WriteTimeout = 0, 0
	cfg.Params["lock_wait_timeout"] = tablePatience
	return cfg
}

// Migration is one step that was applied.
type Migration struct {
	Version int64
	File    string
	Took    time.Duration
}

// Migrate brings the ledger's tables to the newest version. Running it twice, or twice at a time, is harmless.
func (s *Store) Migrate(ctx context.Context) (applied []Migration, err error) {
	db := sql.OpenDB(s.migrating)
	defer func() { err = errors.Join(err, db.Close()) }() // the lock goes with its connection
	conn, err := db.Conn(ctx)
	if err != nil {
		return nil, classify("connecting to MySQL", err)
	}
	defer conn.Close()
	var locked sql.NullInt64
	name := fmt.Sprintf(migrationLock, s.ledger)
	if err := conn.QueryRowContext(ctx, "SELECT GET_LOCK(?, ?)", name,
		int(lockPatience.Seconds())).Scan(&locked); err != nil {
		return nil, classify("locking the ledger for migration", err)
	}
	if locked.Int64 != 1 {
		return nil, fmt.Errorf("another migration of schema %s is running; waited %v for it", s.ledger, lockPatience)
	}
	provider, err := newProvider(db)
	if err != nil {
		return nil, err
	}
	results, err := provider.Up(ctx)
	for _, r := range results {
		applied = append(applied, Migration{Version: r.Source.Version, File: r.Source.Path, Took: r.Duration})
	}
	if err == nil && len(applied) > 0 && applied[0].Version == 1 { // no earlier program has ever used this ledger
		_, err = s.DropSuperseded(ctx)
	}
	return applied, classify("migrating schema "+s.ledger, err)
}

func newProvider(db *sql.DB) (*goose.Provider, error) {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, fmt.Errorf("opening the embedded migrations: %w", err)
	}
	provider, err := goose.NewProvider(goose.DialectMySQL, db, files, goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return nil, fmt.Errorf("reading the embedded migrations: %w", err)
	}
	return provider, nil
}

// checkVersion reports a ledger that is older than this program. It only reads.
func (s *Store) checkVersion(ctx context.Context) error {
	provider, err := newProvider(s.sql)
	if err != nil {
		return err
	}
	sources := provider.ListSources()
	newest := sources[len(sources)-1].Version
	var version sql.NullInt64
	err = s.sql.QueryRowContext(ctx, "SELECT MAX(version_id) FROM goose_db_version WHERE is_applied = 1").Scan(&version)
	if e, ok := errors.AsType[*driversql.MySQLError](err); ok &&
		(e.Number == erNoSuchTable || e.Number == erTableAccessDenied) {
		return &purge.Error{Class: purge.Misconfigured, Cause: err, Text: fmt.Sprintf(
			"schema %s holds no ledger that this account may read: run `enqueuer migrate` first", s.ledger)}
	}
	if err != nil {
		return classify("reading the ledger's version", err)
	}
	if version.Int64 < newest {
		return &purge.Error{Class: purge.Misconfigured, Text: fmt.Sprintf(
			"the ledger in schema %s has version %d, this program needs %d: run `enqueuer migrate`", s.ledger, version.Int64,
			newest)}
	}
	return nil
}
