package main

import (
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/certpurge/certpurge/internal/certificate"
	"github.com/certpurge/certpurge/internal/cli"
	"github.com/certpurge/certpurge/internal/mysql"
	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/queue"
	"github.com/certpurge/certpurge/internal/queue/inspect"
	"github.com/certpurge/certpurge/internal/queue/presence"
)

func newStatusCommand(a *app) *cobra.Command {
	var out *cli.Format
	var key, caller, state, reason string
	cmd := &cobra.Command{
		Use:   "status [USER_ID]",
		Short: "Count requests by state, or show those of a user, key or state",
		Long: `status reads the ledger: how many requests are in which state and why, and how
many tasks are in the queues in Redis. With a user id or an idempotency key it
shows every request of that user, or with that key, with its figures and its
timeline: who asked, when and with which ticket; what callers and operators did
to it afterwards; and each attempt that has left evidence. With --state it lists
the requests in that state, oldest first.

` + cli.Exits{
			cli.ExitUsage: "bad input, or the LMS does not have the user", cli.ExitUnavailable: "",
			cli.ExitConfiguration: "", cli.ExitNotKnown: "no request was ever made for the user, or with the key",
		}.String(),
		Example: `  enqueuer status
  enqueuer status 42 -o json
  enqueuer status --state queued --reason retained -o csv`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var user purge.UserID
			if len(args) == 1 {
				var err error
				if user, err = purge.ParseUserID(args[0]); err != nil {
					return cli.Usage("%w", err)
				}
			}
			switch {
			case caller != "" && key == "":
				return cli.Usage("--caller says whose --idempotency-key it is: give both")
			case user != 0 && key != "" || state != "" && (user != 0 || key != ""):
				return cli.Usage("expected one of a user id, --idempotency-key and --state")
			case reason != "" && state == "":
				return cli.Usage("--reason is one of a --state: give both")
			case state != "":
				return a.statusOfState(cmd, purge.State(state), purge.Reason(reason), out)
			case key != "":
				hashed, err := purge.CallerKey(strings.Replace(caller, " ", ":", 1), key)
				if err != nil {
					return cli.Usage("--idempotency-key: %w", err)
				}
				return a.statusOf(cmd, mysql.Filter{Key: hashed}, out)
			case user != 0:
				return a.statusOf(cmd, mysql.Filter{User: user}, out)
			default:
				return a.statusOfAll(cmd, out)
			}
		},
	}
	cmd.Flags().StringVar(&key, "idempotency-key", "", "the request that was made with this `KEY`")
	cmd.Flags().StringVar(&caller, "caller", "", "the `CALLER` of enqueuer serve whose key it is, such as \"token "+
		"portal\"; without it, the key is a command's")
	cmd.Flags().StringVar(&state, "state", "", "list the requests in this `STATE`: "+
		strings.Join(cli.Words(purge.States()), ", "))
	cmd.Flags().StringVar(&reason, "reason", "", "of these, only those with this `REASON`")
	_ = cmd.RegisterFlagCompletionFunc("state", cobra.FixedCompletions(cli.Words(purge.States()),
		cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.RegisterFlagCompletionFunc("reason", cobra.FixedCompletions(cli.Words(purge.Reasons()),
		cobra.ShellCompDirectiveNoFileComp))
	out = cli.FormatFlag(cmd, "text", "json", "csv")
	return cmd
}

// statusOfState lists the requests in a state, for a reason or any.
func (a *app) statusOfState(cmd *cobra.Command, state purge.State, reason purge.Reason, out *cli.Format) error {
	if !slices.Contains(purge.States(), state) {
		return cli.Usage("--state: there is no state %q: expected one of %v", state, purge.States())
	}
	if reason != "" && !slices.Contains(purge.Reasons(), reason) {
		return cli.Usage("--reason: there is no reason %q: expected one of %v", reason, purge.Reasons())
	}
	_, store, err := a.openStore()
	if err != nil {
		return err
	}
	defer store.Close()
	_, err = a.listRequests(cmd, store, mysql.Filter{States: []purge.State{state}, Reason: reason}, out)
	return cli.Unavailable(err)
}

// statusOf prints the requests of one user or key.
func (a *app) statusOf(cmd *cobra.Command, filter mysql.Filter, out *cli.Format) error {
	_, store, err := a.openStore()
	if err != nil {
		return err
	}
	defer store.Close()
	var rows []mysql.Request
	err = store.EachRequest(cmd.Context(), filter, func(page []mysql.Request) error {
		rows = append(rows, page...)
		return nil
	})
	if err != nil {
		return cli.Unavailable(err)
	}
	if len(rows) > 0 || *out != "text" {
		var timeline []mysql.TimelineEntry
		if *out != "csv" {
			if timeline, err = store.Timeline(cmd.Context(), rows); err != nil {
				return cli.Unavailable(err)
			}
		}
		err = a.printRequests(rows, orEmpty(timeline), out)
	}
	switch {
	case err != nil || len(rows) > 0:
		return err
	case filter.Key != "":
		return cli.Errorf(cli.ExitNotKnown, "no request was ever made with this key")
	default:
		return errNothing(cmd.Context(), store, filter.User, "no request")
	}
}

// statusOfAll prints tallies and the depth of the queues. The ledger's part is shown even if Redis is away.
func (a *app) statusOfAll(cmd *cobra.Command, out *cli.Format) error {
	cfg, store, err := a.openStore()
	if err != nil {
		return err
	}
	defer store.Close()
	tallies, err := store.Tallies(cmd.Context())
	if err != nil {
		return cli.Unavailable(err)
	}
	var depths []inspect.Depth
	var workers []presence.Worker
	rdb, redisErr := openRedis(cmd, cfg, queue.Ping)
	if redisErr == nil {
		defer rdb.Close()
		if depths, redisErr = inspect.Depths(cmd.Context(), rdb); redisErr == nil {
			workers, redisErr = presence.Workers(cmd.Context(), rdb)
		}
	}
	if *out == "json" {
		if err := a.printJSON(map[string]any{
			"requests": orEmpty(tallies), "queues": orEmpty(depths), "workers": presence.CountPulling(workers),
			"worker_states": orEmpty(workers),
		}); err != nil {
			return err
		}
		return cli.Unavailable(redisErr)
	}
	rows := [][]any{{"state", "reason", "requests"}}
	for _, t := range tallies {
		rows = append(rows, []any{t.State, t.Reason, t.Count})
	}
	if err := a.printRows(rows, out); err != nil || *out == "csv" {
		return errors.Join(err, cli.Unavailable(redisErr))
	}
	if len(tallies) == 0 {
		a.printf("no request was ever made\n")
	}
	if redisErr == nil {
		a.printf("\n")
		rows := [][]any{{"queue", "pending", "active", "retry", "scheduled", "completed", "archived", "paused"}}
		for _, d := range depths {
			rows = append(rows, []any{
				d.Queue, d.Pending, d.Active, d.Retry, d.Scheduled, d.Completed, d.Archived, d.Paused,
			})
		}
		if err := a.printRows(rows, out); err != nil {
			return err
		}
		a.printf("\nworkers that pull tasks: %d\n", presence.CountPulling(workers))
		for _, w := range workers {
			if w.State != presence.Pulling {
				a.printf("  %s\n", w)
			}
		}
	}
	return cli.Unavailable(redisErr)
}

// orEmpty makes JSON print an empty list, not null.
func orEmpty[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

// printRequests prints requests one by one, with what an operator needs to know of each, and their timeline unless that
// is nil.
func (a *app) printRequests(rows []mysql.Request, timeline []mysql.TimelineEntry, out *cli.Format) error {
	if *out == "json" {
		all := map[string]any{"requests": orEmpty(rows)}
		if timeline != nil {
			all["timeline"] = timeline
		}
		return a.printJSON(all)
	}
	if *out == "csv" {
		list := cli.NewRequestList(a.streams.Out, *out)
		return errors.Join(list.Add(rows), list.Close())
	}
	for _, r := range rows {
		a.printf("user %d", r.UserID)
		if r.CertificateID != 0 {
			a.printf(", certificate %d only", r.CertificateID)
		}
		a.printf(": request %d %s", r.ID, a.streams.Paint(string(r.State)))
		if r.Reason != "" {
			a.printf(" (%s)", r.Reason)
		}
		a.printf(", attempts %d, certificates %d, objects erased %d, links cleared %d", r.Attempts, r.Certificates,
			r.ObjectsErased, r.ReferencesCleared)
		if r.DirectoriesMissing > 0 {
			a.printf(", directories with files missing %d", r.DirectoriesMissing)
		}
		if r.ReferencesKept > 0 {
			a.printf(", links of other services kept %d", r.ReferencesKept)
		}
		if r.ObjectsAbsent > 0 {
			a.printf(", empty directories %d", r.ObjectsAbsent)
		}
		if r.ObjectsSoftDeleted > 0 {
			a.printf(", objects soft-deleted %d", r.ObjectsSoftDeleted)
		}
		if r.RecoverableUntil != nil {
			a.printf(", recoverable until %s", r.RecoverableUntil.Format(time.RFC3339))
		}
		if r.NotBefore != nil && !r.State.Ended() {
			a.printf(", next attempt after %s", r.NotBefore.Format(time.RFC3339))
		}
		a.printf("\n")
		if r.Detail != "" {
			a.printf("  %s\n", r.Detail)
		}
		a.printTimeline(r.ID, timeline)
	}
	return nil
}

// printTimeline prints what happened to a request, a line each, indented below it.
func (a *app) printTimeline(request purge.RequestID, timeline []mysql.TimelineEntry) {
	for _, e := range timeline {
		if e.Request == request {
			a.printf("  %s  %s\n", e.At.UTC().Format(time.RFC3339), certificate.EntryText(e))
		}
	}
}
