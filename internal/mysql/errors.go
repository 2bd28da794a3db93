package mysql

import (
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
)

// misconfigured are the numbers that every user would meet, so that failing users one by one would be wrong.
var misconfigured = map[uint16]bool{
	erAccessDenied: true, erDatabaseAccessDenied: true, erUnknownDatabase: true, erUnknownColumn: true, erTableAccessDenied: true,
	erColumnAccessDenied: true, erNoSuchTable: true, erSpecificAccessDenied: true, erProcedureAccessDenied: true,
	erHostNotPrivileged: true, erAccessDeniedNoPass: true, erMustChangePassword: true, erAccountLocked: true, erInsecureTransport: true,
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
			return &purge.Error{Class: purge.Misconfigured, Cause: err, Text: fmt.Sprintf("%s: MySQL error %d: %s", doing, e.Number, e.Message)}
		}
		return &purge.Error{Class: purge.Transient, Cause: err, Text: fmt.Sprintf("%s: MySQL error %d (%s)", doing, e.Number, e.SQLState)}
	}
	// What is left are connection errors and ended contexts; their texts hold addresses at most.
	return &purge.Error{Class: purge.Transient, Cause: err, Text: fmt.Sprintf("%s: %v", doing, err)}
}
