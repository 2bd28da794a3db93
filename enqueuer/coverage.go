package main

import (
	"cmp"
	"maps"
	"slices"

	"github.com/spf13/cobra"

	"github.com/certpurge/certpurge/internal/cli"
	"github.com/certpurge/certpurge/internal/mysql"
	"github.com/certpurge/certpurge/internal/purge"
)

// neverRequested stands where a state would.
const neverRequested = "never_requested"

func newCoverageCommand(a *app) *cobra.Command {
	var list bool
	var out *cli.Format
	cmd := &cobra.Command{
		Use:   "coverage",
		Short: "Count the retiring users who still have links to files",
		Long: `coverage finds in the LMS every user who may be purged and still has a
reference, live or in the history, and the state of the request for each: never
requested, queued, running, failed, refused, or done before the reference came
back. Links to other services that a purge has kept (external_links: keep) do
not count. It reads indexed pages and changes nothing. The number to bring to
zero.

` + cli.Exits{
			cli.ExitOK: "no such user is left", cli.ExitNotDone: "such users are left", cli.ExitUnavailable: "",
			cli.ExitConfiguration: "",
		}.String(),
		Example: "  enqueuer coverage\n  enqueuer coverage --list | awk '/never_requested/ {print $1}'",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.coverage(cmd, list, out) },
	}
	cmd.Flags().BoolVar(&list, "list", false, "print a line for each user: user id, state, reason, request id")
	out = cli.FormatFlag(cmd, "text", "json", "csv")
	return cmd
}

// share is how many users are in one state for one reason.
type share struct {
	State  string       `json:"state"`
	Reason purge.Reason `json:"reason,omitempty"`
	Users  int          `json:"users"`
}

func (a *app) coverage(cmd *cobra.Command, list bool, out *cli.Format) error {
	cfg, store, err := a.openStore()
	if err != nil {
		return err
	}
	defer store.Close()
	counts, left := map[share]int{}, 0
	var lines cli.CSV
	if list && *out == "csv" {
		lines = cli.NewCSV(a.streams.Out, "user_id", "state", "reason", "request_id")
		if err := lines.Flush(); err != nil {
			return err
		}
	} else if list && *out == "text" {
		a.printf("USER\tSTATE\tREASON\tREQUEST\n")
	}
	err = store.EachUncovered(cmd.Context(), cfg.LMS.Policy().Eligible, func(u mysql.Uncovered) error {
		left++
		state := cmp.Or(string(u.State), neverRequested)
		counts[share{State: state, Reason: u.Reason}]++
		switch {
		case !list:
		case *out == "csv":
			lines.Row(u.User, state, u.Reason, u.Request)
			return lines.Flush()
		case *out == "text":
			a.printf("%d\t%s\t%s\t%d\n", u.User, a.streams.Paint(state), u.Reason, u.Request)
		}
		return nil
	})
	if err != nil {
		return cli.Unavailable(err)
	}
	shares := slices.SortedFunc(maps.Keys(counts), func(x, y share) int {
		return cmp.Or(cmp.Compare(x.State, y.State), cmp.Compare(x.Reason, y.Reason))
	})
	for i := range shares {
		shares[i].Users = counts[shares[i]]
	}
	if err := a.printCoverage(shares, left, list, out); err != nil {
		return err
	}
	if left > 0 {
		return cli.Errorf(cli.ExitNotDone, "%d retiring users still have links", left)
	}
	return nil
}

func (a *app) printCoverage(shares []share, left int, list bool, out *cli.Format) error {
	if *out == "json" {
		return a.printJSON(map[string]any{"users_left": left, "by_state": orEmpty(shares)})
	}
	if list {
		return nil
	}
	if left == 0 && *out == "text" {
		a.printf("no retiring user has a link left\n")
		return nil
	}
	rows := [][]any{{"state", "reason", "users"}}
	for _, s := range shares {
		rows = append(rows, []any{s.State, s.Reason, s.Users})
	}
	return a.printRows(rows, out)
}
