// Command enqueuer takes wishes for purges: it records them in the ledger and puts their tasks into Redis.
package main

import (
	"github.com/spf13/cobra"

	"github.com/certpurge/certpurge/internal/cli"
	"github.com/certpurge/certpurge/internal/config"
)

func main() { cli.Main(newCommand) }

func newCommand(s cli.Streams) *cobra.Command {
	a := &app{streams: s}
	root := &cobra.Command{
		Use:   "enqueuer",
		Short: "Ask for the purge of retiring users' legacy PDF certificates",
		Long: `enqueuer records requests in the ledger and puts one task for each user into Redis. Workers do the purge.
Everything may be repeated: the same user is one request, whoever asks, and one that is done says so at once.

` + cli.ExitHelp,
	}
	cli.ConfigFlag(root, s.Environ, &a.path)
	load := func() (any, error) { return config.LoadEnqueuer(a.path, s.Environ) }
	loadAdmin := func() (config.Admin, error) {
		cfg, err := config.LoadEnqueuer(a.path, s.Environ)
		return cfg.Admin, err
	}
	root.AddCommand(
		newEnqueueCommand(a), newServeCommand(a), newStatusCommand(a), newFailuresCommand(a), newRequeueCommand(a),
		newCoverageCommand(a), newReportCommand(a),
		newReconcileCommand(a), newWatchCommand(a), newBackfillCommand(a), newDoctorCommand(a), newTokenCommand(a),
		newMigrateCommand(a),
		newPasswordCommand(a), newDemoCommand(a),
		cli.ConfigCommand(s.Out, load), cli.HealthcheckCommand(s.Out, loadAdmin), cli.VersionCommand(s.Out),
		cli.ManCommand(s.Environ),
	)
	return root
}
