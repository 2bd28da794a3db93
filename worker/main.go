// Command worker pulls tasks from Redis and purges the legacy PDF certificates of retiring users.
package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/certpurge/certpurge/internal/cli"
	"github.com/certpurge/certpurge/internal/config"
	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/telemetry"
)

func main() { cli.Main(newCommand) }

func newCommand(s cli.Streams) *cobra.Command {
	var path string
	root := &cobra.Command{
		Use:   "worker",
		Short: "Purge the legacy PDF certificates of retiring Open edX users",
		Long: `worker pulls tasks from Redis. For each it checks in the LMS database that the
user is retiring, deletes every generation of the user's certificate files from
Google Cloud Storage, and proves by listing that they are gone. Only then does
it clear the two link columns and write the evidence, in one transaction.

It runs until SIGTERM or SIGINT, then lets running tasks finish, for up to
queue.drain_timeout. While Redis, MySQL or Cloud Storage cannot be reached it
waits and logs why. A wrong bucket, a missing right or a ledger that needs
enqueuer migrate ends it at the start with exit code 5. If that happens later,
it stops pulling tasks, is unready on /readyz, and resumes once the cause is
fixed; requests wait. If a delete is denied while tasks run, those requests
fail: the right may be missing for one object only.

` + cli.Exits{
			cli.ExitOK: "stopped by a signal, and drained", cli.ExitConfiguration: "",
			cli.ExitFailure: "the admin pages can no longer be served",
		}.String(),
		Example: `  CERTPURGE_MYSQL_DSN='certpurge_worker:…@tcp(mysql:3306)/certpurge' \
    worker --config configs/worker.yaml`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, locations, err := load(path, s.Environ)
			if err != nil {
				return err
			}
			return run(cmd.Context(), cfg, locations, s.Environ, telemetry.NewLogger(s.Err, cfg.Log))
		},
	}
	loadAny := func() (any, error) {
		cfg, _, err := load(path, s.Environ)
		return cfg, err
	}
	loadAdmin := func() (config.Admin, error) {
		cfg, _, err := load(path, s.Environ)
		return cfg.Admin, err
	}
	cli.AddCommands(root, s, &path, loadAny, loadAdmin, map[string][]*cobra.Command{
		cli.GroupMonitor: {newPlanCommand(s, &path), newInventoryCommand(s, &path)},
		cli.GroupSetUp:   {newCheckCommand(s, &path), newLocationsCommand(s, &path)},
	})
	return root
}

// load reads the configuration and prepares the locations, whose prefixes only the domain can compare.
func load(path string, environ []string) (config.Worker, purge.Locations, error) {
	cfg, err := config.LoadWorker(path, environ)
	if err != nil {
		return cfg, purge.Locations{}, err
	}
	locations, err := purge.NewLocations(newLocations(cfg.Locations), cfg.ExternalPrefixes...)
	if err != nil {
		return cfg, locations, &config.Error{Problems: []string{fmt.Sprintf("locations: %v", err)}}
	}
	if rdb, err := cli.NewRedis(cfg.Redis); err != nil {
		return cfg, locations, &config.Error{Problems: []string{err.Error()}}
	} else if err := rdb.Close(); err != nil {
		return cfg, locations, fmt.Errorf("closing an unused client: %w", err)
	}
	return cfg, locations, nil
}
