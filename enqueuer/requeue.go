package main

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/certpurge/certpurge/internal/cli"
	"github.com/certpurge/certpurge/internal/mysql"
	"github.com/certpurge/certpurge/internal/purge"
)

func newRequeueCommand(a *app) *cobra.Command {
	var flags failureFlags
	var by submitter
	var all, execute, accept, shared bool
	var out *cli.Format
	cmd := &cobra.Command{
		Use:   "requeue [REQUEST_ID...]",
		Short: "Run failed or refused requests again, once their cause is fixed",
		Long: `requeue opens requests again that ended as failed or refused, with all attempts
before them, and queues their tasks. Choose them by id, by --reason, by --user,
or with --all (every failed one). Without --execute it only prints what it
would do.

A request that failed as files_missing fails again unless its location is
corrected, or you accept it: --accept-missing clears the links although
expected files were never found. Use it only after you have checked that they
are gone, and not somewhere else. Such requests end as done: files_missing, and
the evidence names you.

A request that failed as shared_directory fails again unless the rows in the
LMS are corrected and certpurge never read them, or you accept it:
--accept-shared erases the directories although a row of another user names, or
named, them. Use it only after you have checked that the files in them belong
to the user of the request.

` + cli.Exits{
			cli.ExitUsage: "bad input, or the LMS does not have the user", cli.ExitUnavailable: "",
			cli.ExitConfiguration: "",
			cli.ExitNotKnown: "the ledger does not hold one of the ids, and nothing was changed;\nor no request was " +
				"ever made for the user",
			cli.ExitNothing: "some of the requests did not fail, and were left alone",
		}.String(),
		Example: `  enqueuer requeue --reason held
  enqueuer requeue --reason held --execute
  enqueuer requeue 17 18 --execute
  enqueuer requeue --reason files_missing --accept-missing --execute`,
		RunE: func(cmd *cobra.Command, args []string) error {
			filter, err := requeueFilter(args, flags, all)
			if err != nil {
				return err
			}
			if shared && filter.Reason != purge.ReasonShared && len(filter.IDs) == 0 {
				return cli.Usage("--accept-shared needs request ids or --reason %s: it is a decision about each of them",
					purge.ReasonShared)
			}
			if accept && filter.Reason != purge.ReasonFilesMissing && len(filter.IDs) == 0 {
				return cli.Usage("--accept-missing needs request ids or --reason %s: it is a decision about each of them",
					purge.ReasonFilesMissing)
			}
			if err := by.check(); err != nil {
				return err
			}
			return a.requeue(cmd, filter, purge.Reopening{
				By: by.by("cli"), AcceptMissing: accepter(accept), AcceptShared: accepter(shared), Ticket: by.ticket,
			}, execute, out)
		},
	}
	flags.add(cmd)
	cmd.Flags().BoolVar(&all, "all", false, "every failed request")
	cmd.Flags().BoolVar(&accept, "accept-missing", false, "clear links although expected files were never found; the "+
		"evidence says who accepted it")
	cmd.Flags().BoolVar(&shared, "accept-shared", false, "erase directories although a row of another user names them; "+
		"the evidence says who accepted it")
	by.add(cmd.Flags())
	cmd.Flags().BoolVar(&execute, "execute", false, "do it; without this flag nothing is changed")
	out = cli.FormatFlag(cmd)
	return cmd
}

// requeueFilter makes sure that exactly one way of choosing was used.
func requeueFilter(args []string, flags failureFlags, all bool) (mysql.Filter, error) {
	ways := 0
	for _, used := range []bool{len(args) > 0, flags.reason != "" || flags.user != "", all} {
		if used {
			ways++
		}
	}
	if ways != 1 {
		return mysql.Filter{}, cli.Usage("expected request ids, --reason or --user, or --all: one of the three (see " +
			"enqueuer requeue --help)")
	}
	states := []purge.State{purge.Failed}
	if !all {
		states = append(states, purge.Refused)
	}
	filter, err := flags.filter(states...)
	for i, arg := range args {
		id, parseErr := strconv.ParseInt(arg, 10, 64)
		if parseErr != nil || id < 1 {
			return filter, cli.Usage("argument %d is not a request id: expected a positive number", i+1)
		}
		filter.IDs = append(filter.IDs, purge.RequestID(id))
	}
	return filter, err
}

// requeued is what the command did, or would do.
type requeued struct {
	Executed bool `json:"executed"`
	Found    int  `json:"found"`
	Requeued int  `json:"requeued"`
}

func (a *app) requeue(cmd *cobra.Command, filter mysql.Filter, r purge.Reopening, execute bool, out *cli.Format) error {
	s, err := a.openBoth(cmd)
	if err != nil {
		return err
	}
	defer s.close()
	leftAlone, err := s.leftAlone(cmd.Context(), filter)
	if err != nil {
		return err
	}
	sum := requeued{Executed: execute}
	err = s.store.EachRequest(cmd.Context(), filter, func(rows []mysql.Request) error {
		sum.Found += len(rows)
		if !execute {
			return nil
		}
		open := make([]purge.OpenRequest, len(rows))
		for i, row := range rows {
			open[i] = row.Open()
		}
		n, err := purge.Requeue(cmd.Context(), s.store, s.keeper, open, r)
		sum.Requeued += n
		return err
	})
	if err != nil {
		return cli.Unavailable(fmt.Errorf("%w (%d requests were opened again; repeating the command is safe)", err,
			sum.Requeued))
	}
	switch {
	case *out == "json":
		err = a.printJSON(sum)
	case execute:
		a.printf("%d requests queued again\n", sum.Requeued)
	default:
		a.printf("%d requests would be queued again; nothing was changed (use --execute)\n", sum.Found)
	}
	switch {
	case err != nil:
		return err
	case len(leftAlone) > 0:
		return cli.Errorf(cli.ExitNothing, "left alone, as only what failed or was refused can be queued again: %s",
			listed(leftAlone, 5))
	case execute && sum.Requeued < sum.Found:
		return cli.Errorf(cli.ExitNothing, "left alone: %d requests of whose user, or certificate, another request is open",
			sum.Found-sum.Requeued)
	case sum.Found == 0 && len(filter.IDs) > 0:
		return cli.Errorf(cli.ExitNothing, "left alone: none of the requests ended that long ago")
	case sum.Found == 0 && filter.User != 0:
		return errNothing(cmd.Context(), s.store, filter.User, "no such request that failed or was refused")
	}
	return nil
}

// leftAlone checks requests that were chosen by id: the ledger must hold all of them. It returns those in a state of
// which there is nothing to queue again.
func (s *servers) leftAlone(ctx context.Context, filter mysql.Filter) (states []string, err error) {
	if len(filter.IDs) == 0 {
		return nil, nil
	}
	rows, err := s.store.Requests(ctx, filter.IDs)
	if err != nil {
		return nil, cli.Unavailable(err)
	}
	unknown := slices.Clone(filter.IDs)
	for _, r := range rows {
		unknown = slices.DeleteFunc(unknown, func(id purge.RequestID) bool { return id == r.ID })
		if !slices.Contains(filter.States, r.State) {
			states = append(states, stateOf(r))
		}
	}
	if len(unknown) > 0 {
		return nil, cli.Errorf(cli.ExitNotKnown, "the ledger has no request %s; nothing was changed", listed(unknown, 5))
	}
	return states, nil
}
