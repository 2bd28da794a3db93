package main

import (
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/certpurge/certpurge/internal/cli"
	"github.com/certpurge/certpurge/internal/mysql"
	"github.com/certpurge/certpurge/internal/purge"
)

// failureFlags choose failed requests; failures and requeue share them.
type failureFlags struct {
	reason string
	user   string
	older  time.Duration
}

func (f *failureFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.reason, "reason", "", "only requests that failed for this `REASON` (see failures "+
		"--by-reason)")
	cmd.Flags().StringVar(&f.user, "user", "", "only requests of this `USER_ID`")
	cli.DurationFlag(cmd.Flags(), &f.older, "older-than", 0, "only requests that ended longer ago than this")
	_ = cmd.RegisterFlagCompletionFunc("reason", cobra.FixedCompletions(cli.Words(failureReasons),
		cobra.ShellCompDirectiveNoFileComp))
}

// failureReasons are the reasons for which requests fail or are refused.
var failureReasons = []purge.Reason{
	purge.ReasonHeld, purge.ReasonNoPermission, purge.ReasonUnrecognised, purge.ReasonShared, purge.ReasonTooMany,
	purge.ReasonFilesMissing, purge.ReasonGaveUp, purge.ReasonNotRetiring, purge.ReasonUnknownUser, purge.ReasonNotOrphan,
}

// filter checks the flags. states are what the command checks.
func (f *failureFlags) filter(states ...purge.State) (mysql.Filter, error) {
	filter := mysql.Filter{States: states, Reason: purge.Reason(f.reason)}
	if f.reason != "" && !slices.Contains(failureReasons, filter.Reason) {
		return filter, cli.Usage("--reason: there is no reason %q: expected one of %v", f.reason, failureReasons)
	}
	if f.user != "" {
		user, err := purge.ParseUserID(f.user)
		if err != nil {
			return filter, cli.Usage("--user: %w", err)
		}
		filter.User = user
	}
	if f.older < 0 {
		return filter, cli.Usage("--older-than: expected a duration that is not negative, is %v", f.older)
	}
	if f.older > 0 {
		filter.EndedBefore = time.Now().Add(-f.older)
	}
	return filter, nil
}

func newFailuresCommand(a *app) *cobra.Command {
	var flags failureFlags
	var group bool
	var out *cli.Format
	cmd := &cobra.Command{
		Use:   "failures",
		Short: "List failed requests, with the reason of each",
		Long: `failures lists the requests that ended as failed, from the ledger, oldest
first; or counts them by reason. docs/operations/README.md explains each reason
and how to fix its cause. After that, enqueuer requeue runs the requests again.

` + cli.Exits{
			cli.ExitUsage: "bad input, or the LMS does not have the user", cli.ExitUnavailable: "",
			cli.ExitConfiguration: "", cli.ExitNotKnown: "with --user: no request was ever made for the user",
			cli.ExitNothing: "with --user: no request of the user failed",
		}.String(),
		Example: `  enqueuer failures --by-reason
  enqueuer failures --reason held --older-than 7d -o csv
  enqueuer failures --user 42 -o json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			filter, err := flags.filter(purge.Failed)
			if err != nil {
				return err
			}
			_, store, err := a.openStore()
			if err != nil {
				return err
			}
			defer store.Close()
			show := a.listRequests
			if group {
				show = a.groupFailures
			}
			found, err := show(cmd, store, filter, out)
			if err == nil && found == 0 && filter.User != 0 {
				return errNothing(cmd.Context(), store, filter.User, "no request that failed")
			}
			return cli.Unavailable(err)
		},
	}
	flags.add(cmd)
	cmd.Flags().BoolVar(&group, "by-reason", false, "count by reason instead of listing")
	out = cli.FormatFlag(cmd, "text", "json", "csv")
	return cmd
}

// groupFailures counts the chosen requests by reason.
func (a *app) groupFailures(
	cmd *cobra.Command, store *mysql.Store, filter mysql.Filter, out *cli.Format,
) (found int, err error) {
	counts := map[purge.Reason]int{}
	err = store.EachRequest(cmd.Context(), filter, func(rows []mysql.Request) error {
		for _, r := range rows {
			counts[r.Reason]++
		}
		found += len(rows)
		return nil
	})
	if err != nil {
		return found, err
	}
	if *out == "json" {
		return found, a.printJSON(map[string]any{"failures": counts})
	}
	rows := [][]any{{"reason", "requests"}}
	for _, r := range failureReasons {
		if counts[r] > 0 {
			rows = append(rows, []any{r, counts[r]})
		}
	}
	return found, a.printRows(rows, out)
}

// listRequests prints the chosen requests as they are read; there may be many.
func (a *app) listRequests(
	cmd *cobra.Command, store *mysql.Store, filter mysql.Filter, out *cli.Format,
) (found int, err error) {
	each := func(show func([]mysql.Request) error) error {
		return store.EachRequest(cmd.Context(), filter, func(rows []mysql.Request) error {
			found += len(rows)
			return show(rows)
		})
	}
	if *out == "text" {
		err = each(func(rows []mysql.Request) error { return a.printRequests(rows, nil, out) })
		return found, err
	}
	list := cli.NewRequestList(a.streams.Out, *out)
	if err = each(list.Add); err != nil {
		return found, err
	}
	return found, list.Close()
}

// printRows prints a table: as CSV, or in columns with the header in capitals and states in their colour.
func (a *app) printRows(rows [][]any, out *cli.Format) error {
	if *out == "csv" {
		lines := cli.NewCSV(a.streams.Out, rows[0]...)
		for _, row := range rows[1:] {
			lines.Row(row...)
		}
		return lines.Flush()
	}
	w := tabwriter.NewWriter(a.streams.Out, 0, 4, 2, ' ', 0)
	for i, row := range rows {
		for j, cell := range row {
			text := fmt.Sprint(cell)
			if i == 0 {
				text = strings.ToUpper(strings.ReplaceAll(text, "_", " "))
			}
			if j > 0 {
				cli.Printf(w, "\t")
			}
			cli.Printf(w, "%s", a.streams.Paint(text))
		}
		cli.Printf(w, "\n")
	}
	return w.Flush()
}
