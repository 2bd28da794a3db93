// Command enqueuer records purge requests in the ledger and puts their tasks into Redis.
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
		Short: "Request purges of retiring users' legacy PDF certificates",
		Long: `enqueuer records purge requests in the ledger and puts one task for each user
into Redis. Workers do the purge. Every command may be repeated: one user is
one request, and a request that is done already is reported as done.`,
	}
	load := func() (any, error) { return config.LoadEnqueuer(a.path, s.Environ) }
	loadAdmin := func() (config.Admin, error) {
		cfg, err := config.LoadEnqueuer(a.path, s.Environ)
		return cfg.Admin, err
	}
	cli.AddCommands(root, s, &a.path, load, loadAdmin, map[string][]*cobra.Command{
		cli.GroupSubmit: {newEnqueueCommand(a), newBackfillCommand(a), newServeCommand(a), newWatchCommand(a)},
		cli.GroupMonitor: {
			newStatusCommand(a), newFailuresCommand(a), newCoverageCommand(a), newReportCommand(a),
			newCertificateCommand(a), newVerifyCommand(a), newNotifyCommand(a),
		},
		cli.GroupRepair: {newRequeueCommand(a), newReconcileCommand(a), newDoctorCommand(a), newPruneCommand(a)},
		cli.GroupSetUp:  {newMigrateCommand(a), newTokenCommand(a), newPasswordCommand(a)},
	})
	return root
}
