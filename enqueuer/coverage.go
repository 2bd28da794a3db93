package main

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"text/tabwriter"

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
		Short: "Count retiring users who still have links, and so files: the number to bring to zero",
		Long: `coverage looks in the LMS for every user who may be purged and still has a reference, live or in the history, and says what
became of the request for each: never requested, queued, running, failed, refused, or done before the reference came back.
It reads indexed pages and changes nothing. Exit code 0 only if no such user is left, otherwise 3.

` + cli.ExitHelp,
		Example: "  enqueuer coverage\n  enqueuer coverage --list | awk '/never_requested/ {print $1}'",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.coverage(cmd, list, out) },
	}
	cmd.Flags().BoolVar(&list, "list", false, "print a line for each user: user id, state, reason, request id")
	out = cli.FormatFlag(cmd)
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
	policy := purge.Policy{ExcludedStates: cfg.LMS.ExcludedStates}
	counts, left := map[share]int{}, 0
	err = store.EachUncovered(cmd.Context(), policy.Eligible, func(u mysql.Uncovered) error {
		left++
		state := cmp.Or(string(u.State), neverRequested)
		counts[share{State: state, Reason: u.Reason}]++
		if list && *out == "text" {
			a.printf("%d\t%s\t%s\t%d\n", u.User, state, u.Reason, u.Request)
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
		return &cli.Error{Code: cli.ExitNotDone, Err: fmt.Errorf("%d retiring users still have links", left)}
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
	if left == 0 {
		a.printf("no retiring user has a link left\n")
		return nil
	}
	w := tabwriter.NewWriter(a.streams.Out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "STATE\tREASON\tUSERS")
	for _, s := range shares {
		cli.Printf(w, "%s\t%s\t%d\n", s.State, s.Reason, s.Users)
	}
	return w.Flush()
}
