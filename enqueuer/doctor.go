package main

import (
	"time"

	"github.com/spf13/cobra"

	"github.com/certpurge/certpurge/internal/cli"
	"github.com/certpurge/certpurge/internal/doctor"
	"github.com/certpurge/certpurge/internal/mysql"
)

func newDoctorCommand(a *app) *cobra.Command {
	var out *cli.Format
	var fix bool
	d := doctor.Doctor{Now: time.Now, Role: mysql.RoleEnqueuer}
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Check ledger, Redis and settings; fix what is safe to fix",
		Long: `doctor checks what can go wrong between the ledger, Redis, the workers and the
settings of both servers: a server that answers and refuses to work, requests
that wait while no worker pulls tasks, workers that are paused and why, tasks
in Redis that asynq cannot run, open requests without a task, rights that are
missing or too wide, clocks that differ, an eviction policy that deletes tasks.
It explains each finding.

It tests with writes that change nothing whether MySQL and Redis do what a
purge needs. If one of them cannot be reached, that is a finding, and the
checks that do not need it are made all the same.

Without --fix nothing is changed. With it, only what is safe is fixed: tasks in
Redis that cannot run are dropped, because the ledger knows their requests; a
queue is registered; open requests without a task get one, as by reconcile. It
never changes the LMS, the bucket or the state of a request. The other findings
are for the operator to fix.

Buckets and their permissions are not checked: the worker checks them when it
starts and while it runs, reports problems on /readyz, and pauses, which is a
finding.

Findings are errors, warnings and notes.

` + cli.Exits{
			cli.ExitOK: "no error and no warning is left", cli.ExitNotDone: "an error or a warning is not fixed",
			cli.ExitUnavailable: "a server cannot be reached", cli.ExitConfiguration: "a server rejects the login",
		}.String(),
		Example: "  enqueuer doctor\n  enqueuer doctor --fix\n  enqueuer doctor -o json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if d.Grace < 0 {
				return cli.Usage("--grace must not be negative")
			}
			s, err := a.openUnchecked()
			if err != nil {
				return err
			}
			defer s.close()
			d.Store, d.Redis, d.Keeper = s.store, s.redis, s.keeper
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
	f.BoolVar(&fix, "fix", false, "fix what is safe to fix; without it, nothing is changed")
	cli.DurationFlag(f, &d.Grace, "grace", 2*time.Minute, "ignore requests that were touched within this time")
	f.Duration("settle", 0, "")
	_ = f.MarkDeprecated("settle", "one check of a task is enough now") // fails for unknown flags only
	f.BoolVar(&d.AllEvidence, "all-evidence", false, "check all rows of evidence, not only the latest 100,000")
	out = cli.FormatFlag(cmd)
	return cmd
}

// verdict is the error of findings that are left.
func verdict(findings []doctor.Finding) error {
	left := 0
	for _, f := range findings {
		if f.Severity != doctor.Note && !f.Fixed {
			left++
		}
	}
	if left == 0 {
		return nil
	}
	return cli.Errorf(cli.ExitNotDone, "%d of %d findings are left to fix", left, len(findings))
}

// printFindings prints findings by severity.
func (a *app) printFindings(findings []doctor.Finding, fix bool) {
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
				a.printf("    not fixed, because there is more of it or another process is fixing it; run it again: %s\n", f.Fix)
			default:
				a.printf("    --fix would: %s\n", f.Fix)
			}
		}
	}
}
