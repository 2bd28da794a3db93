package main

import (
	"errors"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/certpurge/certpurge/internal/cli"
	"github.com/certpurge/certpurge/internal/config"
	"github.com/certpurge/certpurge/internal/sandbox/demo"
	"github.com/certpurge/certpurge/internal/telemetry"
)

func newSiteCommand(s cli.Streams) *cobra.Command {
	var o demo.SiteOptions
	dsns := []struct { // the flags name files
		flag, role string
		dsn        *string
	}{
		{"root-dsn-file", "administrator", &o.RootDSN},
		{"enqueuer-dsn-file", "enqueuer", &o.EnqueuerDSN},
		{"worker-dsn-file", "worker", &o.WorkerDSN},
		{"migrate-dsn-file", "migration", &o.MigrateDSN},
	}
	cmd := &cobra.Command{
		Use:   "site",
		Short: "Invent a site on an empty MySQL server, and emulate the Cloud Storage with its files",
		Long: `site is for operators who run worker and enqueuer themselves, as
docker-compose.yml does. On the given MySQL server it creates the database
openedx with the tables and users of an invented Open edX site, and the
accounts of configs/mysql/grants.sql. Then it serves the API of Cloud Storage,
with the files of that site in its memory, until SIGTERM or SIGINT.

The server must have neither a database openedx nor a database certpurge: site
ends with exit code 2 if there is one, so that it never touches a real site.
The files are lost when it ends. Before a second run, remove the server's data.

` + cli.Exits{cli.ExitUsage: "bad input, or the server has such a database"}.String(),
		Example: "  demo site --listen :9023 --root-dsn-file root --enqueuer-dsn-file enqueuer \\\n" +
			"    --worker-dsn-file worker --migrate-dsn-file migrate",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.Users < 1 {
				return cli.Usage("--users: expected at least 1, is %d", o.Users)
			}
			for _, d := range dsns {
				text, err := os.ReadFile(*d.dsn)
				if err != nil {
					return cli.Usage("--%s: %w", d.flag, err)
				}
				*d.dsn = strings.TrimSpace(string(text))
			}
			o.Log = telemetry.NewLogger(s.Err, config.Log{Level: "info", Format: "auto"})
			err := demo.ServeSite(cmd.Context(), o)
			if errors.Is(err, demo.ErrSiteExists) {
				return cli.Usage("%w: if it is an invented one, remove it first (docker compose down --volumes)", err)
			}
			return err
		},
	}
	usersFlags(cmd, &o.Users, &o.Seed)
	f := cmd.Flags()
	f.StringVar(&o.Listen, "listen", "127.0.0.1:9023", "`ADDRESS` of the emulator; gcs.endpoint is "+
		"http://ADDRESS/storage/v1/ then")
	for _, d := range dsns {
		f.StringVar(d.dsn, d.flag, "", "`FILE` that holds the DSN of the "+d.role)
		_ = cmd.MarkFlagRequired(d.flag)
	}
	return cmd
}
