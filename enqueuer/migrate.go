package main

import (
	"time"

	"github.com/spf13/cobra"

	"github.com/certpurge/certpurge/internal/cli"
)

func newMigrateCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "migrate",
		Short: "Create or upgrade the ledger's tables",
		Long: `migrate brings the ledger's tables, in the schema that mysql.dsn names, to the version that this program needs. It
touches no LMS table. Running it again, or twice at the same time, is harmless. It needs the rights of the account
certpurge_migrate in configs/mysql/grants.sql; give it by CERTPURGE_MYSQL_DSN for this one command.

` + cli.ExitHelp,
		Example: "  CERTPURGE_MYSQL_DSN='certpurge_migrate:…@tcp(mysql:3306)/certpurge' enqueuer migrate",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, store, err := a.openStore()
			if err != nil {
				return err
			}
			defer store.Close()
			applied, err := store.Migrate(cmd.Context())
			for _, m := range applied {
				a.printf("applied %s (%v)\n", m.File, m.Took.Round(time.Millisecond))
			}
			if err == nil && len(applied) == 0 {
				a.printf("the ledger is up to date\n")
			}
			return cli.Unavailable(err)
		},
	}
}
