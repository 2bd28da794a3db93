package main

import (
	"errors"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/certpurge/certpurge/internal/cli"
	"github.com/certpurge/certpurge/internal/sandbox/demo"
	"github.com/certpurge/certpurge/internal/telemetry"
)

func newDemoSiteCommand(a *app) *cobra.Command {
	var o demo.SiteOptions
	files := map[string]*string{}
	cmd := &cobra.Command{
		Use:   "site",
		Short: "Invent a site on an empty MySQL server, and emulate the Cloud Storage with its files",
		Long: `site is for those who run worker and enqueuer themselves, as docker-compose.yml does. On the MySQL server that it is given it makes
the database openedx with the tables and users of an invented Open edX site, and the accounts of configs/mysql/grants.sql. Then
it is Cloud Storage, with the files of that site in its memory, until SIGTERM or SIGINT.

It wants a server without databases openedx and certpurge, and ends with exit code 2 where there is one: a real site is not touched. A second
run cannot go on with what a first one has made, since the files are gone with it: remove the server's data, too.

` + cli.Exits{cli.ExitNotDone: "the check found a violation"}.String(),
		Example: "  enqueuer demo site --listen :9023 --root-dsn-file root --enqueuer-dsn-file enqueuer --worker-dsn-file " +
			"worker \\\n" +
			"    --migrate-dsn-file migrate",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.Users < 1 {
				return cli.Usage("--users: expected at least 1, is %d", o.Users)
			}
			for flag, target := range map[string]*string{
				"root-dsn-file": &o.RootDSN, "enqueuer-dsn-file": &o.EnqueuerDSN, "worker-dsn-file": &o.WorkerDSN,
				"migrate-dsn-file": &o.MigrateDSN,
			} {
				text, err := os.ReadFile(*files[flag])
				if err != nil {
					return cli.Usage("--%s: %w", flag, err)
				}
				*target = strings.TrimSpace(string(text))
			}
			o.Log = telemetry.NewLogger(a.streams.Err, "info", "auto")
			err := demo.ServeSite(cmd.Context(), o)
			if errors.Is(err, demo.ErrSiteExists) {
				return cli.Usage("%w: if it is an invented one, remove it first (docker compose down --volumes)", err)
			}
			return err
		},
	}
	f := cmd.Flags()
	f.IntVar(&o.Users, "users", 1000, "`NUMBER` of retiring users to invent, beside the awkward ones")
	f.Uint64Var(&o.Seed, "seed", 1, "seed of the invented site: the same one makes the same site")
	f.StringVar(&o.Listen, "listen", "127.0.0.1:9023", "`ADDRESS` of the emulator; gcs.endpoint is "+
		"http://ADDRESS/storage/v1/ then")
	for flag, what := range map[string]string{
		"root-dsn-file": "the administrator's DSN", "enqueuer-dsn-file": "the DSN of the enqueuer",
		"worker-dsn-file":  "the DSN of the worker",
		"migrate-dsn-file": "the DSN of the migration",
	} {
		files[flag] = f.String(flag, "", "`FILE` that holds "+what)
		_ = cmd.MarkFlagRequired(flag)
	}
	return cmd
}
