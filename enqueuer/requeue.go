package main

import (
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/certpurge/certpurge/internal/cli"
	"github.com/certpurge/certpurge/internal/mysql"
	"github.com/certpurge/certpurge/internal/purge"
)

func newRequeueCommand(a *app) *cobra.Command {
	var flags failureFlags
	var all, execute bool
	var out *output
	cmd := &cobra.Command{
		Use:   "requeue [REQUEST_ID...]",
		Short: "Run failed or refused requests again, once their cause is mended",
		Long: `requeue opens requests again that ended as failed or refused, with a fresh budget of attempts, and queues their tasks. Choose
them by id, by --reason, by --user, or with --all (every failed one). Without --execute it only says what it would do.

` + cli.ExitHelp,
		Example: "  enqueuer requeue --reason held\n  enqueuer requeue --reason held --execute\n  enqueuer requeue 17 18 --execute",
		RunE: func(cmd *cobra.Command, args []string) error {
			filter, err := requeueFilter(args, flags, all)
			if err != nil {
				return err
			}
			return a.requeue(cmd, filter, execute, out)
		},
	}
	flags.add(cmd)
	cmd.Flags().BoolVar(&all, "all", false, "every failed request")
	cmd.Flags().BoolVar(&execute, "execute", false, "do it; without this flag nothing is changed")
	out = a.outputFlag(cmd)
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
		return mysql.Filter{}, cli.Usage("expected request ids, --reason or --user, or --all: one of the three (see enqueuer requeue --help)")
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

func (a *app) requeue(cmd *cobra.Command, filter mysql.Filter, execute bool, out *output) error {
	s, err := a.openBoth(cmd)
	if err != nil {
		return err
	}
	defer s.close()
	sum := requeued{Executed: execute}
	err = s.store.EachRequest(cmd.Context(), filter, func(rows []mysql.Request) error {
		sum.Found += len(rows)
		if !execute {
			return nil
		}
		ids, open := make([]purge.RequestID, len(rows)), make([]purge.OpenRequest, len(rows))
		for i, r := range rows {
			ids[i], open[i] = r.ID, r.Open()
		}
		n, err := s.store.Reopen(cmd.Context(), ids, "")
		sum.Requeued += n
		if err != nil {
			return err
		}
		return s.keeper.Restore(cmd.Context(), open) // if this fails, the reconciler does it
	})
	if err != nil {
		return cli.Unavailable(fmt.Errorf("%w (%d requests were opened again; repeating the command is safe)", err, sum.Requeued))
	}
	if *out == "json" {
		return a.printJSON(sum)
	}
	if !execute {
		a.printf("%d requests would be queued again; nothing was changed (use --execute)\n", sum.Found)
		return nil
	}
	a.printf("%d requests queued again\n", sum.Requeued)
	return nil
}
