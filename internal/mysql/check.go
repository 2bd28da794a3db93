package mysql

import (
	"context"
	"database/sql"

	"github.com/certpurge/certpurge/internal/purge"
)

// Check is one thing that a role needs of the server. Run tries it, because a server that is read-only, or a cluster's
// node without a quorum, still answers SELECT 1. It changes nothing.
type Check struct {
	Name string
	Run  func(context.Context) error
}

// Check reports whether the server does for this account what a purge needs.
func (s *Store) Check(ctx context.Context) error { return firstOf(ctx, s.Checks(RoleWorker)) }

func firstOf(ctx context.Context, checks []Check) error {
	for _, check := range checks {
		if err := check.Run(ctx); err != nil {
			return err
		}
	}
	return nil
}

// Checks are what a role needs. The most general trouble comes first.
func (s *Store) Checks(role Role) []Check {
	if role == RoleEnqueuer {
		return s.intakeChecks()
	}
	all := append(s.ledgerChecks(),
		Check{"LMS tables", func(ctx context.Context) error { _, err := s.User(ctx, 0); return err }})
	for i, table := range s.counting() {
		name := []string{"clearing links", "clearing history"}[i]
		all = append(all, Check{name, func(ctx context.Context) error { return s.checkClear(ctx, table) }})
	}
	return append(all, Check{"evidence", func(ctx context.Context) error {
		return s.checkInsert(ctx, "evidence_documents", "anchors", "directory_owners")
	}})
}

// CheckRead reports whether the ledger is new enough, and whether this account may read what a purge reads. It sends no
// statement that writes.
func (s *Store) CheckRead(ctx context.Context) error {
	if err := s.checkVersion(ctx); err != nil {
		return err
	}
	_, err := s.User(ctx, 0)
	return err
}

// CheckIntake reports whether the server does for this account what recording requests takes: read the LMS tables, read
// and write the ledger. It changes nothing.
func (s *Store) CheckIntake(ctx context.Context) error { return firstOf(ctx, s.Checks(RoleEnqueuer)) }

func (s *Store) intakeChecks() []Check {
	return append(s.ledgerChecks(),
		Check{"retirement tables", func(ctx context.Context) error { _, err := s.Retirees(ctx, 0, 1); return err }},
		Check{"LMS tables", func(ctx context.Context) error { _, err := s.Standings(ctx, []purge.UserID{0}); return err }},
		Check{"watcher", func(ctx context.Context) error { _, _, err := s.WatchPosition(ctx); return err }},
		Check{"keys", func(ctx context.Context) error {
			return s.checkInsert(ctx, "events", "request_keys", "request_bodies")
		}},
	)
}

// checkInsert reports whether rows may be added to tables of the ledger. It adds none.
func (s *Store) checkInsert(ctx context.Context, tables ...string) error {
	for _, table := range tables {
		_, err := s.exec(ctx, "checking the right to write to "+table, "INSERT INTO "+table+" SELECT * FROM "+table+
			" WHERE 1 = 0")
		if err != nil {
			return err
		}
	}
	return nil
}

// ledgerChecks are whether the ledger is new enough, and whether it can be written.
func (s *Store) ledgerChecks() []Check {
	return []Check{{"ledger version", s.checkVersion}, {"ledger writes", s.checkWrite}}
}

// binlogByStatement is what makes every recording fail with error 1665: InnoDB does not write under READ COMMITTED
// where the binary log holds statements, and under the default isolation two purges would block each other by gap
// locks.
const binlogByStatement = "MySQL's binlog_format is STATEMENT, with which nothing can be recorded: set it to " +
	"ROW or MIXED"

// checkWrite writes to the ledger as Record does, under the same isolation, but no row. Sessions keep the binary log's
// format that they began with, so the format that new ones would get is checked as well.
func (s *Store) checkWrite(ctx context.Context) error {
	var q script
	q.add(readCommitted)
	q.add("START TRANSACTION")
	q.add("UPDATE requests SET state = state WHERE 1 = 0")
	q.add("ROLLBACK")
	q.add("SHOW GLOBAL VARIABLES WHERE Variable_name IN ('log_bin', 'binlog_format')")
	settings := map[string]string{}
	err := s.run(ctx, &q, func(rows *sql.Rows) error {
		var name, value string
		err := rows.Scan(&name, &value)
		settings[name] = value
		return err
	})
	switch {
	case err != nil && s.readOnly(ctx):
		return &purge.Error{Class: purge.Unavailable, Cause: err, Text: "MySQL is read-only, as a replica is, or a primary " +
			"during a failover" +
			" (read_only, super_read_only): mysql.dsn must lead to the primary"}
	case err != nil:
		return classify("checking that the ledger can be written", err)
	case settings["log_bin"] == "ON" && settings["binlog_format"] == "STATEMENT":
		return &purge.Error{Class: purge.Misconfigured, Text: binlogByStatement}
	}
	return nil
}

// readOnly reports whether the server says that it is read-only. The driver does not return that error: it closes the
// connection.
func (s *Store) readOnly(ctx context.Context) bool {
	var on bool
	return s.sql.QueryRowContext(ctx, "SELECT @@GLOBAL.read_only").Scan(&on) == nil && on
}

// checkClear reports whether references of a table may be cleared. It changes nothing.
func (s *Store) checkClear(ctx context.Context, table string) error {
	_, err := s.exec(ctx, "checking the right to clear references", "UPDATE "+table+
		" SET download_uuid = '', download_url = '' WHERE 1 = 0")
	return err
}
