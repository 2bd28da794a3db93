package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/certpurge/certpurge/internal/cli"
	"github.com/certpurge/certpurge/internal/queue"
)

// backfillOptions are the flags of backfill.
type backfillOptions struct {
	submitter

	retired      bool
	users        string
	certificates []string
	fromDatabase bool
	since, until string
	execute      bool
	rate         float64
	maxUsers     int
	moreIsOK     bool
	checkpoint   string
	queue        string
	highWater    int
	wait         bool
	output       *cli.Format

	sinceTime, untilTime time.Time
}

func newBackfillCommand(a *app) *cobra.Command {
	var o backfillOptions
	cmd := &cobra.Command{
		Use:   "backfill",
		Short: "Submit purge requests in bulk, resumable and at a given rate",
		Long: `backfill requests the purge of many users, as enqueue does of a few. Without
--execute it is a dry run: it prints how many users, certificates and files
it would submit, which users the workers would refuse, and how long it would
take. A dry run writes nothing.

Sources, exactly one:

  --retired
      all users who may be purged (with a retirement request, and not in a
      state of lms.excluded_states) and who have references, live or in the
      history. It reads indexed pages. --since and --until choose by the date of
      the retirement.
  --users FILE
      the users that a file lists, "-" for standard input: one user id on each
      line; or CSV with a header (the column user_id, lms_user_id or
      edx_lms_user_id; commas, semicolons or tabs; a line "sep=;" may precede
      it); or JSON lines (objects with one of these keys, no key twice). All of
      a file is checked before any request is made: every line must hold an id
      that the LMS has. A pipe is checked as it is read. A user who is listed
      twice counts once.
  --certificate-ids ID,...
      single certificates, and nothing else of their users. A certificate that
      the LMS does not have is an error, before any request is made. If its
      user is not retiring, its request is refused.
  --args-from-database
      the certificates that the LMS's own command would take from its table of
      arguments, the newest row of
      PurgeReferencestoPDFCertificatesCommandConfiguration:
      "--certificate_ids 1 2 3". The row must be enabled. It is read as the LMS
      reads it: options of every Django command, such as --verbosity, change
      nothing, and the last one of a repeated option counts. If it has
      --dry-run, --execute is refused.

Rate: --rate users a second; without it as fast as the databases allow. While
--high-water tasks wait in Redis, backfill submits nothing and waits for the
workers. Its tasks go into a queue of their own, so they do not delay the
requests of operators and of the retirement pipeline.

Resuming: with --checkpoint a run records its position after each batch. After
Ctrl-C or a crash, the same command continues after the last batch. --max-users
ends a run after a number of users, with an exit code of its own; so
"--max-users 10000 --checkpoint FILE" every night is a backfill in slices. Add
--more-is-ok for a scheduler that treats every exit code but 0 as a failure,
such as a Kubernetes CronJob; a run that finds nothing left says so. Repeating
without a checkpoint is safe, too: one user is one request.

With --wait, backfill follows the requests until all have ended. On a terminal
it shows a progress bar; elsewhere it writes a line to standard error every 10
seconds, and one whenever it receives SIGUSR1.

` + cli.Exits{
			cli.ExitOK: "all were submitted; with --wait: all requests are done", cli.ExitUsage: "bad input; no " +
				"request was made",
			cli.ExitNotDone: "", cli.ExitUnavailable: "", cli.ExitConfiguration: "", cli.ExitCapped: "",
		}.String(),
		Example: `  enqueuer backfill --retired
  enqueuer backfill --retired --until 2024-01-01 --rate 50 \
    --checkpoint backfill.json --execute --wait
  enqueuer backfill --users users.csv --execute
  enqueuer backfill --certificate-ids 17,18 --execute --wait
  mysql -N -e 'SELECT user_id FROM …' |
    enqueuer backfill --users - --execute -o json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.check(cmd.Flags().Changed); err != nil {
				return err
			}
			return a.backfill(cmd, o)
		},
	}
	f := cmd.Flags()
	f.BoolVar(&o.retired, "retired", false, "all users who may be purged and have references")
	f.StringVar(&o.users, "users", "", "the users that `FILE` lists; - for standard input")
	f.StringSliceVar(&o.certificates, "certificate-ids", nil, "single certificates, by `ID,...`")
	f.BoolVar(&o.fromDatabase, "args-from-database", false, "the certificates in the LMS's table of arguments")
	f.StringVar(&o.since, "since", "", "with --retired: retired at this `TIME` or later (a date, midnight UTC, "+
		"or RFC 3339)")
	f.StringVar(&o.until, "until", "", "with --retired: retired before this `TIME`")
	f.BoolVar(&o.execute, "execute", false, "do it; without this flag nothing is changed")
	f.Float64Var(&o.rate, "rate", 0, "at most this number of `USERS` a second; 0: no limit")
	f.IntVar(&o.maxUsers, "max-users", 0, "end after this `NUMBER` of users")
	f.BoolVar(&o.moreIsOK, "more-is-ok", false, "with --max-users and --checkpoint: end with 0 although there are more")
	f.StringVar(&o.checkpoint, "checkpoint", "", "`FILE` that records the position of the last batch")
	f.StringVar(&o.queue, "queue", queue.Backfill, "`QUEUE` to use: "+strings.Join(queue.Queues(), " or "))
	f.IntVar(&o.highWater, "high-water", 50_000, "submit nothing while this many `TASKS` wait in the queue")
	f.BoolVar(&o.wait, "wait", false, "follow the requests until all have ended")
	o.add(f)
	o.output = cli.FormatFlag(cmd)
	return cmd
}

// check looks for flags that do not fit each other.
func (o *backfillOptions) check(changed func(string) bool) error {
	var sources []string
	for _, name := range []string{"retired", "users", "certificate-ids", "args-from-database"} {
		if changed(name) {
			sources = append(sources, "--"+name)
		}
	}
	if len(sources) != 1 || changed("retired") && !o.retired || changed("args-from-database") && !o.fromDatabase {
		given := "none was given"
		if len(sources) > 1 {
			given = strings.Join(sources, " and ") + " were given"
		}
		return cli.Usage("expected exactly one of --retired, --users FILE, --certificate-ids ID,... and "+
			"--args-from-database, but %s (see enqueuer backfill --help)", given)
	}
	if err := o.submitter.check(); err != nil {
		return err
	}
	var err error
	if o.sinceTime, o.untilTime, err = parsePeriod(o.since, o.until); err != nil {
		return err
	}
	switch {
	case changed("users") && o.users == "":
		return cli.Usage("--users: expected the name of a file, or - for standard input")
	case !o.retired && (changed("since") || changed("until")):
		return cli.Usage("--since and --until belong to --retired")
	case o.rate < 0 || o.rate > 0 && o.rate < 0.001:
		return cli.Usage("--rate: expected users a second, at least 0.001, or 0 for no limit")
	case o.maxUsers < 0 || changed("max-users") && o.maxUsers == 0:
		return cli.Usage("--max-users: expected at least 1")
	case o.moreIsOK && (o.maxUsers == 0 || o.checkpoint == ""):
		// Without a checkpoint, every run would request the same users and call that a success.
		return cli.Usage("--more-is-ok belongs to --max-users and --checkpoint")
	case o.highWater < 1:
		return cli.Usage("--high-water: expected at least 1")
	case changed("checkpoint") && o.checkpoint == "":
		return cli.Usage("--checkpoint: expected the name of a file")
	case o.wait && !o.execute:
		return cli.Usage("--wait belongs to --execute: a dry run makes no request")
	case !slices.Contains(queue.Queues(), o.queue):
		return cli.Usage("--queue: there is no queue %q: expected %s", o.queue, strings.Join(queue.Queues(), " or "))
	}
	return nil
}

// again says how to continue a run that has ended early.
func (o *backfillOptions) again() string {
	switch {
	case o.checkpoint == "" && o.maxUsers > 0:
		return "repeat the command with --checkpoint FILE; without one, each run begins at the start"
	case o.checkpoint == "":
		return "repeat the command: a user who was submitted already stays one request"
	}
	return fmt.Sprintf("repeat the command with --checkpoint %s: it continues after the last batch", o.checkpoint)
}
