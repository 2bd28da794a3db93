package mysql

import (
	"context"
	"errors"
	"fmt"

	driversql "github.com/go-sql-driver/mysql"

	"github.com/certpurge/certpurge/internal/purge"
)

// Server error numbers (MySQL reference manual, "Server Error Message Reference"; MariaDB uses the same).
const (
	erAccessDenied          = 1045
	erDatabaseAccessDenied  = 1044
	erUnknownDatabase       = 1049
	erUnknownColumn         = 1054
	erTableAccessDenied     = 1142
	erColumnAccessDenied    = 1143
	erNoSuchTable           = 1146
	erHostNotPrivileged     = 1130
	erSpecificAccessDenied  = 1227
	erAccessDeniedNoPass    = 1698
	erMustChangePassword    = 1862
	erAccountLocked         = 3118
	erInsecureTransport     = 3159
	erProcedureAccessDenied = 1370
	erDuplicateEntry        = 1062
	erDeadlock              = 1213
	erBinlogByStatement     = 1665
	erUnknownCommand        = 1047
)

// misconfigured are the numbers that every user would meet, so that failing users one by one would be wrong.
var misconfigured = map[uint16]bool{
	erAccessDenied: true, erDatabaseAccessDenied: true, erUnknownDatabase: true, erUnknownColumn: true, erTableAccessDenied: true,
	erColumnAccessDenied: true, erNoSuchTable: true, erSpecificAccessDenied: true, erProcedureAccessDenied: true,
	erHostNotPrivileged: true, erAccessDeniedNoPass: true, erMustChangePassword: true, erAccountLocked: true, erInsecureTransport: true,
	erBinlogByStatement: true,
}

// unavailable are the numbers of a server that is there, but not for us, and not now.
var unavailable = map[uint16]bool{
	erUnknownCommand: true, // Galera: the node is not ready, or has lost the cluster

	1040: true, // too many connections
	1053: true, // shutdown in progress
	1290: true, // read only, as a replica is after a failover
	1836: true, // read only mode
	1927: true, // MariaDB: connection was killed
}

// hint says where to look for the cause of a misconfiguration.
func hint(number uint16) string {
	switch number {
	case erNoSuchTable, erUnknownColumn:
		return " (run `enqueuer migrate`; check lms.database)"
	case erBinlogByStatement:
		return " (set binlog_format to ROW or MIXED)"
	case erUnknownCommand:
		return ": this node of the Galera cluster takes no queries (see wsrep_ready and wsrep_cluster_status)"
	case erTableAccessDenied, erColumnAccessDenied, erDatabaseAccessDenied, erUnknownDatabase:
		return " (check lms.database and the rights in configs/mysql/grants.sql; `enqueuer migrate` needs the account certpurge_migrate)"
	default:
		if unavailable[number] {
			return ""
		}
		return " (check mysql.dsn)"
	}
}

// classify gives an error of the driver its class and a text without data: the server's own message is shown only where
// it speaks of accounts, schemas and tables, because others quote values.
func classify(doing string, err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*purge.Error](err); ok {
		return fmt.Errorf("%s: %w", doing, err)
	}
	if e, ok := errors.AsType[*driversql.MySQLError](err); ok {
		if misconfigured[e.Number] {
			return &purge.Error{Class: purge.Misconfigured, Cause: err, Text: fmt.Sprintf("%s: MySQL error %d: %s%s", doing, e.Number, e.Message, hint(e.Number))}
		}
		if unavailable[e.Number] {
			return &purge.Error{Class: purge.Unavailable, Cause: err, Text: fmt.Sprintf("MySQL cannot be used (%s): error %d (%s)%s", doing, e.Number, e.SQLState, hint(e.Number))}
		}
		return &purge.Error{Class: purge.Transient, Cause: err, Text: fmt.Sprintf("%s: MySQL error %d (%s)", doing, e.Number, e.SQLState)}
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return &purge.Error{Class: purge.Transient, Cause: err, Text: fmt.Sprintf("%s: %v", doing, err)}
	}
	// What is left are connection errors; their texts hold addresses at most.
	return &purge.Error{Class: purge.Unavailable, Cause: err, Text: fmt.Sprintf("MySQL cannot be reached (%s): %v", doing, err)}
}
