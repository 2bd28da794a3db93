package mysql

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	driversql "github.com/go-sql-driver/mysql"
	gormmysql "gorm.io/driver/mysql"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	"github.com/certpurge/certpurge/internal/config"
	"github.com/certpurge/certpurge/internal/evidence"
)

// Config says which server and which schemas a Store works on.
type Config struct {
	config.MySQL

	LMS config.LMS
	// DialFunc replaces the network; nil for the ordinary one. Tests count packets with it.
	DialFunc func(ctx context.Context, network, address string) (net.Conn, error)
}

// Store is the LMS database and the ledger. It is safe for concurrent use.
type Store struct {
	gorm   *gorm.DB
	sql    *sql.DB
	tables tables
	// migrating makes the connections of Migrate.
	migrating driver.Connector

	ledger  string // schema name
	clear   bool
	now     func() time.Time
	batches batches

	// Writer says who writes evidence through this Store. It is set before the first attempt.
	Writer evidence.Writer
}

// Open prepares a Store without connecting. The error never holds the DSN, which may hold a password.
func Open(cfg Config) (*Store, error) {
	parsed, err := driversql.ParseDSN(cfg.DSN.Reveal())
	if err != nil {
		return nil, errors.New("mysql.dsn: expected user:password@tcp(host:3306)/certpurge")
	}
	parsed.ParseTime, parsed.Loc = true, time.UTC
	// One round trip for a script or a statement with arguments. All SQL texts of this package are constants; values
	// are only ever arguments, which the driver escapes by the session's own rules.
	parsed.MultiStatements, parsed.InterpolateParams = true, true
	parsed.ClientFoundRows = false     // ROW_COUNT() must count changes, not matches: Begin asks it
	parsed.RejectReadOnly = false      // it would hide the server's reason; conn does the same and keeps it
	parsed.MaxAllowedPacket = 64 << 20 // the driver's limit only; scripts keep to the server's
	encryption, err := cfg.TLS.Client("mysql.tls")
	if err != nil {
		return nil, err
	}
	if encryption != nil {
		parsed.TLS = encryption // the driver fills an empty server name with the DSN's host
	}
	parsed.Timeout, parsed.ReadTimeout, parsed.WriteTimeout = cfg.ConnectTimeout, cfg.QueryTimeout, cfg.QueryTimeout
	parsed.Logger = &driversql.NopLogger{} // every error is returned; the driver's own log would say it twice
	if err := parsed.Apply(driversql.Charset("utf8mb4", "")); err != nil {
		return nil, fmt.Errorf("choosing the character set: %w", err)
	}
	if parsed.Params == nil {
		parsed.Params = map[string]string{}
	}
	// What the statements stand on is not left to the server's defaults, nor to the DSN.
	parsed.Params["time_zone"] = "'+00:00'"
	parsed.Params["autocommit"] = "1"
	if cfg.QueryTimeout > 0 {
		// A lock that is held for long must be answered as such, before the connection is taken for a broken one.
		parsed.Params["innodb_lock_wait_timeout"] = wholeSeconds(cfg.QueryTimeout / 2)
		parsed.Params["lock_wait_timeout"] = wholeSeconds(cfg.QueryTimeout / 2)
	}
	parsed.Params["sql_mode"] = "'STRICT_TRANS_TABLES,NO_ENGINE_SUBSTITUTION'"
	if cfg.DialFunc != nil {
		parsed.DialFunc = cfg.DialFunc
	}
	connector, err := driversql.NewConnector(parsed)
	if err != nil {
		return nil, errors.New("mysql.dsn: the driver does not accept it")
	}
	migrating, err := driversql.NewConnector(forMigrations(parsed))
	if err != nil {
		return nil, errors.New("mysql.dsn: the driver does not accept it")
	}
	db := sql.OpenDB(connectors{connector})
	db.SetMaxOpenConns(max(2, cfg.MaxOpenConnections)) // a leader holds its lock on one and works on another
	db.SetMaxIdleConns(max(2, cfg.MaxOpenConnections))
	db.SetConnMaxIdleTime(5 * time.Minute)
	db.SetConnMaxLifetime(time.Hour) // lets a load balancer or a failover take hold
	orm, err := gorm.Open(gormmysql.New(gormmysql.Config{
		Conn: db,
		// MariaDB would be asked with RETURNING, MySQL has none: take the path that both share.
		DisableWithReturning: true, SkipInitializeWithVersion: true,
	}), &gorm.Config{
		SkipDefaultTransaction: true, // single statements commit themselves
		DisableAutomaticPing:   true,
		Logger:                 logger.Discard,
		NowFunc:                func() time.Time { return time.Now().UTC().Truncate(time.Microsecond) },
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("preparing gorm: %w", err), db.Close())
	}
	s := &Store{
		gorm: orm, sql: db, migrating: migrating,
		tables: newTables(cfg.LMS.Database), ledger: parsed.DBName, clear: cfg.LMS.ClearHistory,
		now: func() time.Time { return time.Now().UTC().Truncate(time.Microsecond) }, // as precise as DATETIME(6)
	}
	s.batches = newBatches(s, cfg.Batch)
	return s, nil
}

// Close closes all connections.
func (s *Store) Close() error { return s.sql.Close() }

// Ping reports whether the server answers and lets us in.
func (s *Store) Ping(ctx context.Context) error {
	return classify("connecting to MySQL", s.sql.PingContext(ctx))
}

func wholeSeconds(d time.Duration) string { return strconv.Itoa(max(1, int(d/time.Second))) }

// discard closes a connection instead of letting it back into the pool, with all that its session holds.
func discard(conn *sql.Conn) {
	_ = conn.Raw(func(any) error { return driver.ErrBadConn }) // its only effect is the closing
}

// querier is a connection, or the pool.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// each sends a query and scans its rows. On the pool, a script may precede the SELECT only if each of its statements
// commits by itself. On a connection of its own (run) it may hold a transaction: run drops the connection on failure.
func each(ctx context.Context, on querier, scan func(*sql.Rows) error, text string, args ...any) (err error) {
	rows, err := on.QueryContext(ctx, text, args...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

// read scans the rows of a query into dest as gorm does: dest points to a value, to a struct, or to a slice of either,
// and stays as it is if there is no row. A placeholder takes a slice, too: id IN ?.
func (s *Store) read(ctx context.Context, what string, dest any, query string, args ...any) error {
	return classify(what, s.gorm.WithContext(ctx).Raw(query, args...).Scan(dest).Error)
}

// exec runs a statement that commits by itself, and returns the number of rows that it changed.
func (s *Store) exec(ctx context.Context, what, statement string, args ...any) (int64, error) {
	result, err := s.sql.ExecContext(ctx, statement, args...)
	if err != nil {
		return 0, classify(what, err)
	}
	changed, err := result.RowsAffected()
	return changed, classify(what, err)
}

// ignoreClosed drops the complaint about a connection that was thrown away already.
func ignoreClosed(err error) error {
	if errors.Is(err, sql.ErrConnDone) {
		return nil
	}
	return err
}
