package main

import (
	"log/slog"
	"time"

	"github.com/spf13/cobra"

	"github.com/certpurge/certpurge/internal/cli"
	"github.com/certpurge/certpurge/internal/doctor"
)

func newReconcileCommand(a *app) *cobra.Command {
	var out *cli.Format
	r := doctor.Reconciler{Now: time.Now, Log: slog.New(slog.DiscardHandler)}
	cmd := &cobra.Command{
		Use:   "reconcile",
		Short: "Put back the tasks that Redis has lost, once",
		Long: `reconcile compares the open requests of the ledger with the tasks in Redis,
drops tasks that no worker will ever run (asynq's archive, tasks broken by lost
keys), and makes the tasks that are missing. Workers do the same at every
reconciler.interval; use the command if you do not want to wait, or if no
worker is running. It ends no request and changes neither LMS nor bucket, so it
may be run at any time.

` + cli.Exits{cli.ExitUnavailable: "", cli.ExitConfiguration: ""}.String(),
		Example: "  enqueuer reconcile\n  enqueuer reconcile --grace 1s -o json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if r.Rate < 1 || r.HighWater < 1 || r.Grace < 0 {
				return cli.Usage("--rate and --high-water must be at least 1, --grace must not be negative")
			}
			s, err := a.openBoth(cmd)
			if err != nil {
				return err
			}
			defer s.close()
			r.Ledger = s.store
			r.Queue = s.keeper
			sum, err := r.Once(cmd.Context())
			if err != nil {
				return cli.Unavailable(err)
			}
			if *out == "json" {
				return a.printJSON(sum)
			}
			a.printSummary(sum)
			return nil
		},
	}
	f := cmd.Flags()
	cli.DurationFlag(f, &r.Grace, "grace", 2*time.Minute, "ignore requests that were touched within this time")
	f.IntVar(&r.Rate, "rate", 500, "`TASKS` a second to put back")
	f.IntVar(&r.HighWater, "high-water", 50_000, "put no task back while this many `TASKS` wait")
	out = cli.FormatFlag(cmd)
	return cmd
}

func (a *app) printSummary(sum doctor.Summary) {
	if !sum.Led {
		a.printf("another process is reconciling; nothing to do here\n")
		return
	}
	a.printf("%d open requests checked, %d tasks put back, %d dead tasks dropped\n", sum.Checked, sum.Restored,
		sum.Dropped)
	if sum.Full {
		a.printf("stopped at the high-water mark; run it again later, or let the workers continue\n")
	}
}
