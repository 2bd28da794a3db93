package main

import (
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/certpurge/certpurge/internal/cli"
	"github.com/certpurge/certpurge/internal/mysql"
)

// migrateOptions are the flags of migrate.
type migrateOptions struct {
	accounts       map[mysql.Role]*string
	noGrants, show bool
	revoke         bool
}

func newMigrateCommand(a *app) *cobra.Command {
	o := migrateOptions{accounts: map[mysql.Role]*string{mysql.RoleEnqueuer: new(string), mysql.RoleWorker: new(string)}}
	cmd := &cobra.Command{
		Use:   "migrate",
		Short: "Create or upgrade the ledger's tables",
		Long: `migrate brings the ledger's tables, in the schema that mysql.dsn names, to the
version that this program needs, and grants the accounts of enqueuer and worker
their rights on them. It touches no LMS table. Running it again, or twice at
the same time, is harmless. It needs the rights of the account
certpurge_migrate in configs/mysql/grants.sql: set CERTPURGE_MYSQL_DSN for this
one command.

Evidence that earlier versions have written in rows becomes documents, which can
be verified; the rows stay. That may take minutes and can be interrupted: run
migrate again, also once the last program of the earlier version has stopped,
now with --revoke-superseded, which takes rights from the accounts that only
earlier versions need, and drops indexes of the ledger that only they use.
Requests are accepted and purged meanwhile. Programs of the earlier version do
not work without these indexes.

Where an account may not grant rights, use --no-grants, and have an
administrator run the statements of --print-grants; together with
--revoke-superseded, it drops the indexes, and revokes no rights.

` + cli.Exits{cli.ExitUnavailable: "", cli.ExitConfiguration: ""}.String(),
		Example: `  CERTPURGE_MYSQL_DSN='certpurge_migrate:…@tcp(mysql:3306)/certpurge' \
    enqueuer migrate
  enqueuer migrate --print-grants --worker-account 'certpurge_worker@10.0.%'`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.migrate(cmd, o) },
	}
	f := cmd.Flags()
	f.StringVar(o.accounts[mysql.RoleEnqueuer], "enqueuer-account", "certpurge_enqueuer@%",
		"`ACCOUNT` of the enqueuer, as NAME@HOST")
	f.StringVar(o.accounts[mysql.RoleWorker], "worker-account", "certpurge_worker@%",
		"`ACCOUNT` of the worker, as NAME@HOST")
	f.BoolVar(&o.noGrants, "no-grants", false, "grant no rights: an administrator does it")
	f.BoolVar(&o.show, "print-grants", false, "print the statements that grant the rights, and do nothing")
	f.BoolVar(&o.revoke, "revoke-superseded", false, "revoke rights and drop indexes that this version does not need")
	cmd.MarkFlagsMutuallyExclusive("no-grants", "print-grants")
	cmd.MarkFlagsMutuallyExclusive("print-grants", "revoke-superseded")
	return cmd
}

// convertedShown is after how many requests the progress is printed.
const convertedShown = 10_000

func (a *app) migrate(cmd *cobra.Command, o migrateOptions) error {
	_, store, err := a.openStore()
	if err != nil {
		return err
	}
	defer store.Close()
	roles := []mysql.Role{mysql.RoleEnqueuer, mysql.RoleWorker}
	for _, role := range roles { // before anything is changed
		statements, err := store.Grants(role, *o.accounts[role])
		if err != nil {
			return cli.Usage("--%s-account: %w", role, err)
		}
		for _, statement := range statements {
			if o.show {
				a.printf("%s;\n", statement)
			}
		}
	}
	if o.show {
		return nil
	}
	applied, err := store.Migrate(cmd.Context())
	for _, m := range applied {
		a.printf("applied %s (%v)\n", m.File, m.Took.Round(time.Millisecond))
	}
	if err != nil {
		return cli.Unavailable(err)
	}
	if len(applied) == 0 {
		a.printf("the ledger is up to date\n")
	}
	store.Writer = cli.EvidenceWriter()
	converted, err := store.ConvertEvidence(cmd.Context(), func(requests int) {
		if requests%convertedShown == 0 {
			cli.Printf(a.streams.Err, "converted the evidence of %d requests so far\n", requests)
		}
	})
	if err != nil {
		return cli.Unavailable(err)
	}
	if converted > 0 {
		a.printf("converted the evidence of %d requests into documents\n", converted)
	}
	if o.revoke {
		dropped, err := store.DropSuperseded(cmd.Context())
		if err != nil {
			return cli.Unavailable(err)
		}
		if len(dropped) > 0 {
			a.printf("dropped the indexes that only earlier versions use: %s\n", strings.Join(dropped, ", "))
		}
	}
	if o.noGrants {
		return nil
	}
	for _, role := range roles {
		if err := store.Grant(cmd.Context(), role, *o.accounts[role]); err != nil {
			return cli.Unavailable(err)
		}
		a.printf("granted the %s's rights on the ledger to %s\n", role, *o.accounts[role])
		if !o.revoke {
			continue
		}
		if err := store.RevokeSuperseded(cmd.Context(), role, *o.accounts[role]); err != nil {
			return cli.Unavailable(err)
		}
	}
	return nil
}
