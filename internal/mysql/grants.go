package mysql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"

	driversql "github.com/go-sql-driver/mysql"

	"github.com/certpurge/certpurge/internal/purge"
)

// Role is one of the two accounts under which the programs run.
type Role string

// The roles, with accounts of their own in configs/mysql/grants.sql.
const (
	RoleEnqueuer Role = "enqueuer"
	RoleWorker   Role = "worker"
)

// right is what a role may write in a table of the ledger. Reading is granted for the whole ledger.
type right struct {
	table   string
	verb    string
	columns []string // all of them if there are none
}

// ledgerRights are what each role writes. The enqueuer opens requests, and opens them again: it writes no figure, no
// evidence, and no end that a worker has not written (ended_as, with its CHECK). The worker makes no request, and
// accepts nothing in an operator's place.
var ledgerRights = map[Role][]right{
	RoleEnqueuer: {
		{"requests", "INSERT", []string{
			"idempotency_key", "user_id", "certificate_id", "source", "requested_by", "accept_missing_by", "accept_shared_by",
			"state", "ticket",
			"requested_at", "opened_at", "updated_at",
		}},
		{"requests", "UPDATE", []string{
			"state", "reason", "detail", "failures", "unfinished", "opened_at", "attempts", "reopened", "reopened_by",
			"accept_missing_by", "accept_shared_by", "not_before", "started_at", "finished_at", "updated_at",
		}},
		{"events", "INSERT", nil}, // and no UPDATE or DELETE: what an operator did stays written
		{"request_keys", "INSERT", nil},
		{"request_keys", "DELETE", nil},
		{"request_bodies", "INSERT", nil},
		{"request_bodies", "UPDATE", []string{"accepted_at"}},
		{"request_bodies", "DELETE", nil},
		{"orphan_sets", "INSERT", nil}, // and the worker none: it cannot make up orphans
		{"orphan_directories", "INSERT", nil},
		{"watch_position", "INSERT", nil},
		{"watch_position", "UPDATE", nil},
		{"notifications", "INSERT", nil},
		{"notifications", "UPDATE", []string{
			"created_at", "outcome", "tries", "due_at", "settled_at", "answer", "body",
		}},
		{"notifications", "DELETE", nil},
		{"notify_state", "INSERT", nil},
		{"notify_state", "UPDATE", nil},
	},
	RoleWorker: {
		{"requests", "UPDATE", []string{
			"state", "reason", "detail", "attempts", "failures", "unfinished", "certificates", "objects_erased",
			"objects_absent",
			"objects_soft_deleted", "directories_missing", "references_cleared", "references_kept", "recoverable_until",
			"not_before",
			"started_at", "finished_at", "updated_at", "leased_until", "accept_missing_by", "ended_as",
		}},
		{"evidence_documents", "INSERT", nil}, // and no UPDATE or DELETE: evidence is only added
		{"anchors", "INSERT", nil},
		{"directory_owners", "INSERT", nil}, // and no UPDATE: whose a directory was is not forgotten
		{"owner_walks", "INSERT", nil},
		{"owner_walks", "UPDATE", nil},
		{"inventories", "INSERT", nil}, // and no UPDATE or DELETE: what an inventory found stays written
	},
}

// Grants are the statements that give an account, as name@host, the rights of a role on the ledger's tables.
func (s *Store) Grants(role Role, account string) ([]string, error) {
	at, err := accountText(account, role)
	if err != nil {
		return nil, err
	}
	byTable, tables := map[string][]string{}, []string{}
	for _, r := range ledgerRights[role] {
		if byTable[r.table] == nil {
			tables = append(tables, r.table)
		}
		text := r.verb
		if len(r.columns) > 0 {
			text += " (`" + strings.Join(r.columns, "`, `") + "`)"
		}
		byTable[r.table] = append(byTable[r.table], text)
	}
	var statements []string
	for _, table := range tables {
		statements = append(statements, fmt.Sprintf("GRANT %s ON %s.`%s` TO %s", strings.Join(byTable[table], ", "),
			quoteName(s.ledger), table, at))
	}
	return statements, nil
}

// accountText is an account, given as name@host, as statements name it.
func accountText(account string, role Role) (string, error) {
	name, host, ok := strings.Cut(account, "@")
	if !ok || name == "" || host == "" || strings.ContainsAny(account, "'\\`\"") {
		return "", fmt.Errorf("%q is no account: expected NAME@HOST, such as certpurge_%s@%%", account, role)
	}
	return "'" + name + "'@'" + host + "'", nil
}

// quoteName is a name as statements hold it.
func quoteName(name string) string { return "`" + strings.ReplaceAll(name, "`", "``") + "`" }

// Server error numbers of GRANT (MySQL reference manual; MariaDB).
const (
	erPasswordNoMatch = 1133 // MariaDB: there is no such account
	erCannotGrant     = 1410 // MySQL: the same
)

// Grant gives an account the rights of a role. The tables must be there.
func (s *Store) Grant(ctx context.Context, role Role, account string) (err error) {
	statements, err := s.Grants(role, account)
	if err != nil {
		return err
	}
	db := sql.OpenDB(s.migrating)
	defer func() { err = errors.Join(err, db.Close()) }()
	for _, statement := range statements {
		_, err := db.ExecContext(ctx, statement)
		e, ok := errors.AsType[*driversql.MySQLError](err)
		switch {
		case err == nil:
		case ok && (e.Number == erPasswordNoMatch || e.Number == erCannotGrant):
			return &purge.Error{Class: purge.Misconfigured, Cause: err, Text: fmt.Sprintf(
				"there is no account %s to be the %s's: run configs/mysql/grants.sql first, or name the account", account, role)}
		case ok && (e.Number == erTableAccessDenied || e.Number == erDatabaseAccessDenied ||
			e.Number == erColumnAccessDenied ||
			e.Number == erAccessDenied || e.Number == erSpecificAccessDenied):
			return &purge.Error{Class: purge.Misconfigured, Cause: err, Text: fmt.Sprintf(
				"this account may not grant %s its rights on the ledger: run configs/mysql/grants.sql, which gives "+
					"certpurge_migrate"+
					" the GRANT OPTION, or use --no-grants and have an administrator run what --print-grants shows", account)}
		default:
			return classify("granting "+account+" its rights on the ledger", err)
		}
	}
	return nil
}

// allows reports whether a role needs a right on a table of the ledger.
func (r Role) allows(verb, table string, columns []string) bool {
	if verb == "SELECT" || verb == "USAGE" {
		return true
	}
	return slices.ContainsFunc(ledgerRights[r], func(own right) bool {
		if own.verb != verb || own.table != table {
			return false
		}
		return len(own.columns) == 0 || len(columns) > 0 && !slices.ContainsFunc(columns, func(c string) bool {
			return !slices.Contains(own.columns, c)
		})
	})
}
