package lms

import (
	"context"
	"database/sql"
	"fmt"
	"regexp"
	"strings"

	"github.com/certpurge/certpurge/configs"
)

// Accounts are the three accounts of configs/mysql/grants.sql.
type Accounts struct{ Enqueuer, Worker, Migrate Account }

// Account is a MySQL account.
type Account struct{ Name, Host, Password string }

// String is the account in the form NAME@HOST.
func (a Account) String() string { return a.Name + "@" + a.Host }

var sqlComment = regexp.MustCompile(`(?m)^\s*--.*$`)

// Grant makes the ledger's schema and the accounts as configs/mysql/grants.sql does.
func Grant(ctx context.Context, root *sql.DB, database, ledger string, accounts Accounts) error {
	script := sqlComment.ReplaceAllString(configs.Grants, "")
	pairs := []string{"`openedx`", "`" + database + "`", "`certpurge`", "`" + ledger + "`"}
	for role, a := range map[string]Account{
		"enqueuer": accounts.Enqueuer, "worker": accounts.Worker,
		"migrate": accounts.Migrate,
	} {
		pairs = append(pairs, "'certpurge_"+role+"'@'%'", literal(a.Name)+"@"+literal(a.Host), "'change-me-"+role+"'",
			literal(a.Password))
	}
	for i := 0; i < len(pairs); i += 2 {
		if !strings.Contains(script, pairs[i]) {
			return fmt.Errorf("reading configs/mysql/grants.sql: expected %s in it", pairs[i])
		}
	}
	replacer := strings.NewReplacer(pairs...)
	for statement := range strings.SplitSeq(script, ";") { // before a password with a semicolon is in it
		if strings.TrimSpace(statement) == "" {
			continue
		}
		if _, err := root.ExecContext(ctx, replacer.Replace(statement)); err != nil {
			return fmt.Errorf("granting rights as configs/mysql/grants.sql does: %w", err)
		}
	}
	return nil
}

// literal is a text for SQL.
func literal(text string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `''`).Replace(text) + "'"
}
