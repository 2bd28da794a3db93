package demo

import (
	"context"
	"database/sql"
	"fmt"
	"regexp"
	"strings"

	"github.com/certpurge/certpurge/configs"
)

// sqlComment is a comment on a line of its own, as all of grants.sql are.
var sqlComment = regexp.MustCompile(`(?m)^\s*--.*$`)

// grant makes the ledger's schema and the two accounts as configs/mysql/grants.sql tells operators to, for clients on host.
func grant(ctx context.Context, root *sql.DB, host, running, migrating string) error {
	script := sqlComment.ReplaceAllString(configs.Grants, "")
	var pairs []string
	for placeholder, value := range map[string]string{"'change-me-runtime'": running, "'change-me-migrate'": migrating, "'%'": host} {
		if !strings.Contains(script, placeholder) {
			return fmt.Errorf("reading configs/mysql/grants.sql: expected %s in it", placeholder)
		}
		pairs = append(pairs, placeholder, literal(value))
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
