// Package lms creates a database with the tables of an Open edX LMS that matter to a purge, for the demo and for tests.
package lms

import (
	"context"
	"database/sql"
	"database/sql/driver"
	_ "embed"
	"fmt"
	"strings"
)

// The tables, by the names Django gave them.
const (
	Users             = "auth_user"
	RetirementStates  = "user_api_retirementstate"
	RetirementStatus  = "user_api_userretirementstatus"
	RetirementRequest = "user_api_userretirementrequest"
	PartnerReporting  = "user_api_userretirementpartnerreportingstatus"
	Certificates      = "certificates_generatedcertificate"
	History           = "certificates_historicalgeneratedcertificate"
	PurgeArguments    = "certificates_purgereferencestopdfcertificatescommandconfigur95fa"
)

//go:embed lms.sql
var script string

// CreateLMS creates the database, its tables with their foreign keys, and the default retirement states. A database of
// that name must not exist. The account of db needs the right to create it.
func CreateLMS(ctx context.Context, db *sql.DB, database string, charset Charset) error {
	conn, err := db.Conn(ctx)
	if err != nil {
		return fmt.Errorf("creating the LMS database %s: %w", database, err)
	}
	defer conn.Close()
	// USE stays with a connection. Reporting it as bad keeps it from going back to the pool, where others expect
	// connections without a database.
	defer conn.Raw(func(any) error { return driver.ErrBadConn }) //nolint:errcheck // answers the error it is given
	for _, statement := range statements(database, charset) {
		if _, err := conn.ExecContext(ctx, statement); err != nil {
			return fmt.Errorf("creating the LMS database %s: %w", database, err)
		}
	}
	return nil
}

func statements(database string, charset Charset) []string {
	quoted := "`" + strings.ReplaceAll(database, "`", "``") + "`"
	all := []string{
		"CREATE DATABASE " + quoted + charset.clause(""),
		"USE " + quoted,
	}
	for statement := range strings.SplitSeq(script, ";\n") {
		if strings.TrimSpace(statement) == "" {
			continue
		}
		if _, definition, isTable := strings.Cut(statement, "CREATE TABLE `"); isTable {
			table, _, _ := strings.Cut(definition, "`")
			statement += " ENGINE=InnoDB" + charset.clause(table)
		}
		all = append(all, statement)
	}
	return all
}
