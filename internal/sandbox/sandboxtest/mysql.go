package sandboxtest

import (
	"context"
	"crypto/rand"
	"database/sql"
	"os"
	"strings"
	"testing"

	"github.com/go-sql-driver/mysql"

	"github.com/certpurge/certpurge/internal/sandbox"
	"github.com/certpurge/certpurge/internal/sandbox/lms"
)

// Database is what one test has on the MySQL server.
type Database struct {
	Root   *sql.DB // may do everything; bound to no database, so statements name theirs
	LMS    string  // a database with the LMS's tables and no users
	Ledger string  // a database with nothing in it

	root *mysql.Config
}

// MySQL creates the two databases under names that no other test has, in this process or another, and drops them when
// the test ends. Connections with a transaction on them must be closed by then.
func MySQL(tb testing.TB, charset lms.Charset) *Database {
	tb.Helper()
	if dsn := os.Getenv(sandbox.EnvMySQL); dsn != "" {
		return newDatabase(tb, dsn, charset)
	}
	return newDatabase(tb, shared.get(tb).MySQL.SocketDSN("root", "", ""), charset)
}

// On creates the two databases on a server of the test's own.
func On(tb testing.TB, server *sandbox.MySQL, charset lms.Charset) *Database {
	tb.Helper()
	return newDatabase(tb, server.SocketDSN("root", "", ""), charset)
}

func newDatabase(tb testing.TB, rootDSN string, charset lms.Charset) *Database {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), setUpTimeout)
	defer cancel()
	root, err := mysql.ParseDSN(rootDSN)
	if err != nil {
		tb.Fatalf("reading %s: %v", sandbox.EnvMySQL, err)
	}
	connector, err := mysql.NewConnector(root)
	if err != nil {
		tb.Fatalf("reading %s: %v", sandbox.EnvMySQL, err)
	}
	suffix := unique()
	d := &Database{Root: sql.OpenDB(connector), LMS: "lms_" + suffix, Ledger: "ledger_" + suffix, root: root}
	tb.Cleanup(func() { d.drop(tb) })
	if err := lms.CreateLMS(ctx, d.Root, d.LMS, charset); err != nil {
		tb.Fatal(err)
	}
	d.Exec(tb, "CREATE DATABASE "+d.Ledger+" DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci")
	return d
}

// DSN is for a connection of an account to a database of this server, in go-sql-driver's form. Both the database and
// the password may be empty.
func (d *Database) DSN(user, password, database string) string {
	cfg := mysql.NewConfig()
	cfg.Net, cfg.Addr = d.root.Net, d.root.Addr
	cfg.User, cfg.Passwd, cfg.DBName = user, password, database
	return cfg.FormatDSN()
}

// RootDSN is the DSN of Root with a database.
func (d *Database) RootDSN(database string) string {
	return d.DSN(d.root.User, d.root.Passwd, database)
}

// Grant makes the accounts of configs/mysql/grants.sql for the two databases, under names that no other test has. They
// are dropped when the test ends.
func (d *Database) Grant(tb testing.TB) lms.Accounts {
	tb.Helper()
	account := func(role string) lms.Account {
		return lms.Account{Name: "cp_" + role + "_" + unique()[:12], Host: "%", Password: rand.Text()}
	}
	accounts := lms.Accounts{Enqueuer: account("e"), Worker: account("w"), Migrate: account("m")}
	ctx, cancel := context.WithTimeout(context.Background(), setUpTimeout)
	defer cancel()
	if err := lms.Grant(ctx, d.Root, d.LMS, d.Ledger, accounts); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		for _, a := range []lms.Account{accounts.Enqueuer, accounts.Worker, accounts.Migrate} {
			d.Exec(tb, "DROP USER '"+a.Name+"'@'%'")
		}
	})
	return accounts
}

// LedgerDSN is for a connection of an account to the ledger.
func (d *Database) LedgerDSN(a lms.Account) string { return d.DSN(a.Name, a.Password, d.Ledger) }

// AddAccount creates an account without any right, for tests of the rights we ask for. It is dropped when the test
// ends.
func (d *Database) AddAccount(tb testing.TB) (user, password string) {
	tb.Helper()
	user, password = "test_"+unique(), rand.Text()
	account := "'" + user + "'@'%'"
	d.Exec(tb, "CREATE USER "+account+" IDENTIFIED BY '"+password+"'")
	tb.Cleanup(func() { d.Exec(tb, "DROP USER "+account) })
	return user, password
}

// drop ends with an error when a transaction still holds a lock on a table: left to itself, the server would wait for a
// day.
func (d *Database) drop(tb testing.TB) {
	tb.Helper()
	defer d.Root.Close()
	ctx, cancel := context.WithTimeout(context.Background(), cleanUpTimeout)
	defer cancel()
	conn, err := d.Root.Conn(ctx)
	if err != nil {
		tb.Errorf("dropping %s and %s: %v", d.LMS, d.Ledger, err)
		return
	}
	defer conn.Close()
	for _, statement := range []string{
		"SET SESSION lock_wait_timeout = 10",
		"DROP DATABASE IF EXISTS " + d.LMS,
		"DROP DATABASE IF EXISTS " + d.Ledger,
	} {
		if _, err := conn.ExecContext(ctx, statement); err != nil {
			tb.Errorf("running %q: %v (is a connection with a transaction open?)", statement, err)
		}
	}
}

// Exec runs a statement as root. The test fails when the statement does.
func (d *Database) Exec(tb testing.TB, statement string, args ...any) sql.Result {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), cleanUpTimeout)
	defer cancel()
	result, err := d.Root.ExecContext(ctx, statement, args...)
	if err != nil {
		tb.Fatalf("running %q: %v", statement, err)
	}
	return result
}

// ExecUnchecked is Exec without looking at foreign keys, for rows as only a damaged database has them.
func (d *Database) ExecUnchecked(tb testing.TB, statement string, args ...any) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), cleanUpTimeout)
	defer cancel()
	conn, err := d.Root.Conn(ctx)
	if err != nil {
		tb.Fatal(err)
	}
	defer conn.Close()
	for _, set := range []struct {
		statement string
		args      []any
	}{{"SET foreign_key_checks = 0", nil}, {statement, args}, {"SET foreign_key_checks = 1", nil}} {
		if _, err := conn.ExecContext(ctx, set.statement, set.args...); err != nil {
			tb.Fatalf("running %.60q: %v", set.statement, err)
		}
	}
}

// Engine is the kind of the server.
func (d *Database) Engine(tb testing.TB) sandbox.Engine {
	tb.Helper()
	var version string
	if err := d.Root.QueryRowContext(tb.Context(), "SELECT VERSION()").Scan(&version); err != nil {
		tb.Fatal(err)
	}
	if strings.Contains(version, "MariaDB") {
		return sandbox.MariaDB
	}
	return sandbox.OracleMySQL
}

// unique is part of a name that no other database has, in lower case: some servers fold the case of names.
func unique() string { return strings.ToLower(rand.Text()[:16]) }
