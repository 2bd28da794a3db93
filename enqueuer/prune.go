package main

import (
	"time"

	"github.com/dustin/go-humanize/english"
	"github.com/spf13/cobra"

	"github.com/certpurge/certpurge/internal/cli"
	"github.com/certpurge/certpurge/internal/mysql"
)

func newPruneCommand(a *app) *cobra.Command {
	var older time.Duration
	var execute bool
	var by submitter
	var out *cli.Format
	cmd := &cobra.Command{
		Use:   "prune",
		Short: "Remove evidence that is older than you have to keep it",
		Long: `prune removes documents, events, and rows of earlier versions that were written
longer ago than --older-than. Evidence is kept for ever unless you run it. The
requests stay, with who asked for them, their ends and figures. Evidence of
requests that are still open stays, because it says what was deleted already.

Documents go by whole anchors: what was written since the last anchor before
that time stays until the next one is old enough. The anchors themselves stay,
and verify continues behind the last that was removed. What was removed, when,
and by whom is written down first.

Without --execute it only counts. It needs the rights of the account
certpurge_migrate: set CERTPURGE_MYSQL_DSN for this one command. No account of a
running program may remove evidence.

` + cli.Exits{cli.ExitUnavailable: "", cli.ExitConfiguration: ""}.String(),
		Example: `  enqueuer prune --older-than 3650d
  CERTPURGE_MYSQL_DSN='certpurge_migrate:…@tcp(mysql:3306)/certpurge' \
    enqueuer prune --older-than 3650d --execute --requested-by 'privacy office'`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if older < mysql.MinKept {
				return cli.Usage("--older-than: %v is too short: expected at least 30d", older)
			}
			if err := by.check(); err != nil {
				return err
			}
			_, store, err := a.openStore()
			if err != nil {
				return err
			}
			defer store.Close()
			pruned, err := store.Prune(cmd.Context(), time.Now().Add(-older), by.by("cli"), execute)
			if err != nil {
				return cli.Unavailable(err)
			}
			return a.printPruned(pruned, execute, out)
		},
	}
	cli.DurationFlag(cmd.Flags(), &older, "older-than", 0, "what was written longer ago than this, at least 30d")
	cmd.Flags().BoolVar(&execute, "execute", false, "do it; without this flag nothing is removed")
	by.addName(cmd.Flags())
	out = cli.FormatFlag(cmd)
	return cmd
}

func (a *app) printPruned(p mysql.Pruned, execute bool, out *cli.Format) error {
	if *out == "json" {
		return a.printJSON(struct {
			mysql.Pruned

			Executed bool `json:"executed"`
		}{p, execute})
	}
	verb := "would remove"
	if execute {
		verb = "removed"
	}
	a.printf("%s %s, %s and %s of earlier versions\n", verb, english.Plural(int(p.Documents), "document", ""),
		english.Plural(int(p.Events), "event", ""), english.Plural(int(p.Rows), "row", ""))
	return nil
}
