package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/certpurge/certpurge/internal/cli"
	"github.com/certpurge/certpurge/internal/doctor"
	"github.com/certpurge/certpurge/internal/mysql"
	"github.com/certpurge/certpurge/internal/queue"
)

func newDoctorCommand(a *app) *cobra.Command {
	var out *cli.Format
	var fix bool
	var settle time.Duration
	d := doctor.Doctor{Now: time.Now, Role: mysql.RoleEnqueuer}
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Look for what is wrong between ledger, Redis and settings, and mend what is safe to mend",
		Long: `doctor looks for what can go wrong between the ledger, Redis, the workers and the settings of both servers: a server that
answers and refuses to work, requests that wait while no worker pulls tasks, workers that are paused and why, tasks in Redis that
asynq lost and cannot mend, open requests without a task, rights that are missing or too wide, clocks that differ, an eviction
policy that throws tasks away. It explains each find. Tasks move while it looks, so each find about them is looked at
twice, --settle apart.

Whether MySQL and Redis do what a purge needs is tried, with writes that change nothing. If one of them cannot be reached, that is
a find, and all is looked at that does not need it.

Without --fix nothing is changed. With it, only what is safe is mended: tasks in Redis that cannot run are forgotten,
because the ledger knows their requests; a queue is registered; requests without a task get one, as by reconcile. LMS,
bucket and the states of requests are never touched. What is only advice is left to you.

Buckets and their rights are not looked at: the worker checks them when it starts and while it runs, says on /readyz what is wrong,
and pauses, which is a find.

Finds are errors, warnings and notes. Exit code 3 means that an error or a warning was found that is not fixed; 4, that a server
cannot be reached, 5, that one does not let this account in.

` + cli.Exits{cli.ExitNotDone: "an error or a warning is not fixed", cli.ExitUnavailable: "", cli.ExitConfiguration: ""}.String(),
		Example: "  enqueuer doctor\n  enqueuer doctor --fix\n  enqueuer doctor -o json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if d.Grace < 0 || settle < 0 {
				return cli.Usage("--grace and --settle must not be negative")
			}
			s, err := a.openWithoutAsking()
			if err != nil {
				return err
			}
			defer s.close()
			d.Store, d.Redis = s.store, s.redis
			d.Wait = func(ctx context.Context) error { return pause(ctx, settle) }
			d.Queue = &queue.Doctor{Redis: s.redis, Wait: d.Wait}
			d.Keeper = s.keeper
			findings, failure := d.Run(cmd.Context(), fix)
			if failure != nil && len(findings) == 0 {
				return cli.Unavailable(failure)
			}
			if *out == "json" {
				err = a.printJSON(orEmpty(findings))
			} else {
				a.printFindings(findings, fix)
			}
			switch {
			case err != nil:
				return err
			case failure != nil:
				return cli.Unavailable(failure)
			}
			return verdict(findings)
		},
	}
	f := cmd.Flags()
	f.BoolVar(&fix, "fix", false, "mend what is safe to mend; without it, nothing is changed")
	f.DurationVar(&d.Grace, "grace", 2*time.Minute, "leave requests alone that were touched within this time")
	f.DurationVar(&settle, "settle", 2*time.Second, "time between the two looks at a task that seems broken")
	f.BoolVar(&d.AllEvidence, "all-evidence", false, "compare all rows of evidence with their keys, not the latest "+
		"100,000 only")
	out = cli.FormatFlag(cmd)
	return cmd
}

// pause waits, unless ctx ends before.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// verdict is the error of finds that are left.
func verdict(findings []doctor.Find) error {
	left := 0
	for _, f := range findings {
		if f.Severity != doctor.Note && !f.Fixed {
			left++
		}
	}
	if left == 0 {
		return nil
	}
	return &cli.Error{Code: cli.ExitNotDone, Err: fmt.Errorf("%d of %d finds are left to mend", left, len(findings))}
}

// printFindings prints finds by severity.
func (a *app) printFindings(findings []doctor.Find, fix bool) {
	if len(findings) == 0 {
		a.printf("nothing is wrong\n")
		return
	}
	for _, s := range []doctor.Severity{doctor.Severe, doctor.Warn, doctor.Note} {
		titled := false
		for _, f := range findings {
			if f.Severity != s {
				continue
			}
			if !titled {
				a.printf("%s\n", s)
			}
			titled = true
			a.printf("  %s: %s\n    %s\n", f.Kind, f.Subject, f.Text)
			switch {
			case f.Fix == "":
			case f.Fixed:
				a.printf("    fixed: %s\n", f.Fix)
			case fix:
				a.printf("    not fixed, it changed or somebody else is at it; look again: %s\n", f.Fix)
			default:
				a.printf("    --fix would: %s\n", f.Fix)
			}
		}
	}
}
