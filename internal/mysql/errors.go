package mysql

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"

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
	erLockWaitTimeout       = 1205
	erPacketTooLarge        = 1153
	erBinlogByStatement     = 1665
	erUnknownCommand        = 1047
	erParse                 = 1064
	erOtherHostgroup        = 9006 // ProxySQL's own
)

// misconfigured are the numbers that every user would meet, so that failing users one by one would be wrong.
var misconfigured = map[uint16]bool{
	erAccessDenied: true, erDatabaseAccessDenied: true, erUnknownDatabase: true, erUnknownColumn: true,
	erTableAccessDenied:  true,
	erColumnAccessDenied: true, erNoSuchTable: true, erSpecificAccessDenied: true, erProcedureAccessDenied: true,
	erHostNotPrivileged: true, erAccessDeniedNoPass: true, erMustChangePassword: true, erAccountLocked: true,
	erInsecureTransport: true,
	erBinlogByStatement: true,
}

// unavailable are the numbers of a server, or of a proxy before it, that is there, but not for us, and not now: every
// user would meet them, and they pass.
var unavailable = map[uint16]bool{
	1021:             true, // disk full: MySQL waits, or answers this
	1037:             true, // out of memory
	1040:             true, // too many connections
	1041:             true, // out of memory, of threads
	erUnknownCommand: true, // Galera's node that is not in the primary component, or not yet in step
	1053:             true, // shutdown in progress
	1077:             true, // normal shutdown
	1079:             true, // shutdown complete
	1080:             true, // connection closed by force
	1129:             true, // host blocked after too many broken connections
	1135:             true, // no thread for a new connection
	1152:             true, // connection aborted
	1158:             true, // the server failed to read from the connection
	1159:             true, // the same, in time
	1160:             true, // the server failed to write to the connection
	1161:             true, // the same, in time
	1184:             true, // connection aborted before it was established
	1203:             true, // the account has too many connections
	1226:             true, // the account has used up a resource: connections, queries an hour
	1290:             true, // read only, as a replica is after a failover
	1792:             true, // read only transactions by default
	1836:             true, // read only mode
	1927:             true, // MariaDB: connection was killed
	3032:             true, // offline mode
	3100:             true, // group replication refuses a commit: no majority
	3168:             true, // the server is not available
	3169:             true, // session was killed
	4031:             true, // disconnected for inactivity
}

// isUnavailable also knows the numbers that do not come from a server: those of the client library (CR_*, 2000 and
// up), which proxies pass on when they cannot reach a server, and ProxySQL's own (9001 and up: no backend in time,
// shunned, …).
func isUnavailable(number uint16) bool {
	return unavailable[number] || number >= 2000 && number < 3000 || number > 9000 && number < 9100
}

// isReadOnly reports an answer of a server that takes no writes: the connection leads to the old primary after a
// failover.
func isReadOnly(number uint16) bool { return number == 1290 || number == 1792 || number == 1836 }

// hint says where to look for the cause of a misconfiguration.
func hint(number uint16) string {
	switch number {
	case erNoSuchTable, erUnknownColumn:
		return " (run `enqueuer migrate`; check lms.database)"
	case erBinlogByStatement:
		return " (set binlog_format to ROW or MIXED)"
	case erUnknownCommand:
		return "; this node of the Galera cluster takes no queries (see wsrep_ready and wsrep_cluster_status)"
	case erOtherHostgroup:
		return "; a rule of ProxySQL sends some statements elsewhere: all of this account belong to the primary's hostgroup"
	case erTableAccessDenied, erColumnAccessDenied, erDatabaseAccessDenied, erUnknownDatabase:
		return " (check lms.database and the rights in configs/mysql/grants.sql; `enqueuer migrate`, under the account " +
			"certpurge_migrate, grants those on the ledger)"
	default:
		if isUnavailable(number) {
			return ""
		}
		return " (check mysql.dsn)"
	}
}

// classify gives an error of the driver its class and a text without data: the server's own message is shown only where
// it speaks of accounts, schemas, tables and the server itself, because others quote values.
func classify(doing string, err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*purge.Error](err); ok {
		return fmt.Errorf("%s: %w", doing, err)
	}
	if e, ok := errors.AsType[*driversql.MySQLError](err); ok {
		return classifyAnswer(doing, e, err)
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return &purge.Error{Class: purge.Transient, Cause: err, Text: fmt.Sprintf("%s: %v", doing, err)}
	}
	if errors.Is(err, driversql.ErrPktTooLarge) {
		return &purge.Error{Class: purge.Transient, Cause: err, Text: doing + ": " + tooLarge}
	}
	if what := tlsTrouble(err); what != "" {
		return &purge.Error{Class: purge.Misconfigured, Cause: err, Text: fmt.Sprintf("%s: %s (check mysql.tls)", doing,
			what)}
	}
	// What is left are connection errors; their texts hold addresses at most.
	return &purge.Error{Class: purge.Unavailable, Cause: err, Text: fmt.Sprintf("MySQL cannot be reached (%s): %s",
		doing, purge.Printable(err.Error()))}
}

// tooLarge says what to do about a statement that the server does not take.
const tooLarge = "a statement is larger than the server's max_allowed_packet"

// classifyAnswer is classify for an answer of the server.
func classifyAnswer(doing string, e *driversql.MySQLError, err error) error {
	number := fmt.Sprintf("error %d", e.Number)
	if e.SQLState != [5]byte{} { // an error before the login has none
		number += fmt.Sprintf(" (%s)", purge.Printable(string(e.SQLState[:])))
	}
	switch {
	case misconfigured[e.Number]:
		return &purge.Error{Class: purge.Misconfigured, Cause: err, Text: fmt.Sprintf(
			"%s: MySQL error %d: %s%s", doing, e.Number, purge.Printable(e.Message), hint(e.Number))}
	case isUnavailable(e.Number):
		return &purge.Error{Class: purge.Unavailable, Cause: err, Text: fmt.Sprintf(
			"MySQL cannot be used (%s): %s: %s%s", doing, number, purge.Printable(e.Message), hint(e.Number))}
	case e.Number == erParse: // the statements are the same for all users; the server's message quotes them with values
		return &purge.Error{Class: purge.Misconfigured, Cause: err, Text: fmt.Sprintf("%s: MySQL %s: the server does not "+
			"take several statements in one packet; a proxy before it must let them through", doing, number)}
	case e.Number == erLockWaitTimeout:
		return &purge.Error{Class: purge.Transient, Cause: err, Text: fmt.Sprintf(
			"%s: MySQL %s: another connection held a lock on a row for too long", doing, number)}
	case e.Number == erPacketTooLarge:
		return &purge.Error{Class: purge.Transient, Cause: err, Text: fmt.Sprintf("%s: MySQL %s: %s", doing, number,
			tooLarge)}
	default:
		return &purge.Error{Class: purge.Transient, Cause: err, Text: fmt.Sprintf("%s: MySQL %s", doing, number)}
	}
}

// tlsTrouble says what is wrong with the encryption of a connection; empty if nothing is. None of it passes by itself.
func tlsTrouble(err error) string {
	if errors.Is(err, driversql.ErrNoTLS) {
		return "the server offers no TLS"
	}
	if e, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return "the server's certificate is not trusted: " + purge.Printable(e.Err.Error())
	}
	if e, ok := errors.AsType[*net.OpError](err); ok && e.Op == "remote error" { // an alert of TLS
		return "the server refused the encryption: " + e.Err.Error()
	}
	return ""
}
