// Command worker pulls tasks from Redis and purges the legacy PDF certificates of retiring users.
package main

import (
	"github.com/spf13/cobra"

	"github.com/certpurge/certpurge/internal/cli"
	"github.com/certpurge/certpurge/internal/config"
	"github.com/certpurge/certpurge/internal/telemetry"
)

func main() { cli.Main(newCommand) }

func newCommand(s cli.Streams) *cobra.Command {
	var path string
	root := &cobra.Command{
		Use:   "worker",
		Short: "Purge the legacy PDF certificates of retiring Open edX users",
		Long: `worker pulls tasks from Redis. For each it checks in the LMS database that the user is retiring, deletes every
generation of the user's certificate files from Google Cloud Storage, proves by listing that they are gone, and
only then clears the two link columns and writes the evidence, in one transaction.

It runs until SIGTERM or SIGINT, then drains for queue.drain_timeout. While Redis or MySQL is down it waits. A wrong
bucket, a missing right or an old ledger ends it at the start with exit code 5; when that happens later, it stops
pulling tasks, turns unready on /readyz, and goes on once it is mended. No user fails for it.

` + cli.ExitHelp,
		Example: "  CERTPURGE_MYSQL_DSN='certpurge:…@tcp(mysql:3306)/certpurge' worker --config configs/worker.yaml",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := config.LoadWorker(path, s.Environ)
			if err != nil {
				return err
			}
			return run(cmd.Context(), cfg, s.Environ, telemetry.NewLogger(s.Err, cfg.Log.Level, cfg.Log.Format))
		},
	}
	cli.ConfigFlag(root, s.Environ, &path)
	load := func() (any, error) { return config.LoadWorker(path, s.Environ) }
	root.AddCommand(cli.ConfigCommand(s.Out, load), cli.VersionCommand(s.Out))
	return root
}
