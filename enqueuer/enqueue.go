package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/certpurge/certpurge/internal/cli"
	"github.com/certpurge/certpurge/internal/mysql"
	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/queue"
	"github.com/certpurge/certpurge/internal/queue/inspect"
	"github.com/certpurge/certpurge/internal/telemetry"
)

// enqueueOptions are the flags of enqueue.
type enqueueOptions struct {
	submitter

	username     string
	key          string
	queue        string
	accept       bool
	acceptShared bool
	wait         bool
	timeout      time.Duration
	output       *cli.Format
}

func newEnqueueCommand(a *app) *cobra.Command {
	var o enqueueOptions
	cmd := &cobra.Command{
		Use:   "enqueue USER_ID...",
		Short: "Request the purge of users",
		Long: `enqueue records one request for each user and puts its task into the queue. All
ids are checked first: if one is not a user id, or the LMS does not have it,
nothing is done. With "-" in place of ids they are read from standard input,
separated by spaces or line breaks. Whether a user is retiring is decided by
the worker when it runs the task; a user who is not is refused, and nothing of
theirs is touched.

Repeating it is safe. A request that is queued or running stays one request.
One that is done, with no link left, is reported as done at once. One that was
refused or failed, or whose links are there again, runs again.

A request fails as files_missing if a directory in which files were expected is
empty. Use --accept-missing only after you have checked that its files are
gone, and not somewhere else: the links are cleared then, and nothing else
leads to the files. The request ends as done: files_missing (exit code 3), and
the evidence names you.

A request fails as shared_directory if a row of another user names, or named,
the same directory. Use --accept-shared only after you have checked that the
files in it are this user's: they are erased then.

The evidence names your account and host, and what --requested-by and --ticket
say.

` + cli.Exits{
			cli.ExitOK: "recorded; with --wait: all requests are done", cli.ExitUsage: "bad input, or a user " +
				"whom the LMS does not have; nothing was done",
			cli.ExitNotDone: "", cli.ExitUnavailable: "", cli.ExitConfiguration: "", cli.ExitTimeout: "",
		}.String(),
		Example: `  enqueuer enqueue 42
  enqueuer enqueue 42 43 44 --wait
  enqueuer enqueue --username alice
  enqueuer enqueue 42 --accept-missing --wait
  enqueuer enqueue 42 --idempotency-key ticket-4711 -o json
  enqueuer enqueue 42 --ticket PRIV-7 --requested-by "privacy office"
  enqueuer enqueue - < ids.txt`,
		RunE: func(cmd *cobra.Command, args []string) error { return a.enqueue(cmd, args, o) },
	}
	f := cmd.Flags()
	f.StringVar(&o.username, "username", "", "the user's original `NAME`, as the retirement pipeline has it; "+
		"compared exactly")
	f.StringVar(&o.key, "idempotency-key", "", "`KEY` of the request, for one user (default user:<id>)")
	f.StringVar(&o.queue, "queue", queue.Live, "`QUEUE` to use: "+strings.Join(queue.Queues(), " or "))
	f.BoolVar(&o.accept, "accept-missing", false, "clear links although expected files were never found; the "+
		"evidence says who accepted it")
	f.BoolVar(&o.acceptShared, "accept-shared", false, "erase directories although a row of another user names them; "+
		"the evidence says who accepted it")
	o.add(f)
	f.BoolVar(&o.wait, "wait", false, "wait until all requests have ended, and print how")
	cli.DurationFlag(f, &o.timeout, "timeout", 10*time.Minute, "with --wait: how long to wait")
	o.output = cli.FormatFlag(cmd, "text", "json", "csv")
	return cmd
}

// enqueue checks all ids before the first request; the requests are then accepted in batches of purge.MaxBatch.
func (a *app) enqueue(cmd *cobra.Command, args []string, o enqueueOptions) error {
	ctx := cmd.Context()
	if slices.Equal(args, []string{"-"}) {
		text, err := io.ReadAll(a.streams.In)
		if err != nil {
			return fmt.Errorf("reading user ids: %w", err)
		}
		args = strings.Fields(string(text))
		if len(args) == 0 {
			return cli.Usage("standard input holds no user id: expected at least one; nothing was enqueued")
		}
	}
	users, err := parseUsers(args, o)
	if err := errors.Join(err, o.check()); err != nil {
		return err
	}
	if cmd.Flags().Changed("timeout") && !o.wait {
		return cli.Usage("--timeout belongs to --wait")
	}
	if cmd.Flags().Changed("idempotency-key") {
		if o.key, err = purge.CallerKey("", o.key); err != nil {
			return cli.Usage("--idempotency-key: %w; nothing was enqueued", err)
		}
	}
	cfg, store, err := a.openStore()
	if err != nil {
		return err
	}
	defer store.Close()
	if users, err = knownUsers(ctx, store, users, o.username); err != nil {
		return err
	}
	rdb, err := openRedis(cmd, cfg, inspect.Check)
	if err != nil {
		return err
	}
	defer rdb.Close()
	submissions := make([]purge.Submission, len(users))
	for i, user := range users {
		submissions[i] = purge.Submission{
			User: user, Key: purge.DefaultKey(user), Source: purge.SourceCLI, AcceptMissing: accepter(o.accept),
			AcceptShared: accepter(o.acceptShared), Ticket: o.ticket,
		}
		if o.key != "" {
			submissions[i].Key = o.key
		}
	}
	tracing, err := newTracing(ctx, cfg, telemetry.NewLogger(a.streams.Err, cfg.Log))
	if err != nil {
		return err
	}
	defer tracing.Close()
	intake := tracing.Follow(purge.Intake{ // without tracing, these wrappers return their arguments
		By:       o.by("cli"),
		Requests: tracing.Requests(store),
		Tasks:    tracing.Tasks(queue.NewClient(rdb, o.queue, cfg.Tasks)),
	})
	accepted, err := intake.Accept(ctx, submissions)
	if errors.Is(err, purge.ErrKeyTaken) || errors.Is(err, purge.ErrTooManyKeys) {
		return cli.Usage("--idempotency-key: %w; nothing was enqueued", err)
	}
	if errors.Is(err, purge.ErrNotQueued) {
		return cli.Unavailable(fmt.Errorf("%w (the %d requests are safe in the ledger: repeat the command)", err,
			len(accepted)))
	}
	if err != nil {
		return cli.Unavailable(fmt.Errorf("%w (%d of %d requests are in the ledger: repeat the command)", err,
			len(accepted), len(submissions)))
	}
	if o.wait {
		return a.wait(ctx, store, rdb, accepted, o)
	}
	return a.printAccepted(accepted, o)
}

// parseUsers reads all ids and names every wrong one.
func parseUsers(args []string, o enqueueOptions) ([]purge.UserID, error) {
	if !slices.Contains(queue.Queues(), o.queue) {
		return nil, cli.Usage("--queue: there is no queue %q: expected %s", o.queue, strings.Join(queue.Queues(), " or "))
	}
	var users []purge.UserID
	var errs []error
	for i, arg := range args {
		user, err := purge.ParseUserID(arg)
		if err != nil {
			errs = append(errs, fmt.Errorf("argument %d: %w", i+1, err))
		} else if !slices.Contains(users, user) {
			users = append(users, user)
		}
	}
	switch {
	case len(errs) > 0:
		return nil, cli.Usage("%w; nothing was enqueued", errors.Join(errs...))
	case (len(users) > 0) == (o.username != ""):
		return nil, cli.Usage("expected user ids or --username, one of the two (see enqueuer enqueue --help)")
	}
	if o.key != "" && len(users) > 1 {
		return nil, cli.Usage("--idempotency-key belongs to one request, but %d users were given; nothing was enqueued",
			len(users))
	}
	return users, nil
}

// knownUsers finds the user of a name, and refuses ids that the LMS does not have: most likely a typing mistake.
func knownUsers(ctx context.Context, store *mysql.Store, users []purge.UserID, name string) ([]purge.UserID, error) {
	if name != "" {
		user, err := store.UserByOriginalName(ctx, name)
		if errors.Is(err, mysql.ErrNoSuchName) || errors.Is(err, mysql.ErrAmbiguousName) {
			return nil, cli.Usage("--username: %w; nothing was enqueued", err)
		}
		return []purge.UserID{user}, cli.Unavailable(err)
	}
	unknown, err := store.UnknownUsers(ctx, users)
	if err != nil {
		return nil, cli.Unavailable(err)
	}
	if len(unknown) > 0 {
		return nil, cli.Usage("the LMS has no user %s; nothing was enqueued", listed(unknown, 10))
	}
	return users, nil
}

func (a *app) printAccepted(accepted []purge.Accepted, o enqueueOptions) error {
	missing := 0
	for _, r := range accepted {
		if !r.Open && r.Reason == purge.ReasonFilesMissing {
			missing++
		}
	}
	switch *o.output {
	case "json":
		if err := a.printJSON(map[string]any{"requests": accepted}); err != nil {
			return err
		}
	case "csv":
		lines := cli.NewCSV(a.streams.Out, "user_id", "request_id", "found", "open", "reason", "ticket")
		for _, r := range accepted {
			lines.Row(r.User, r.Request, r.Found, r.Open, r.Reason, r.Ticket)
		}
		if err := lines.Flush(); err != nil {
			return err
		}
	default:
		a.printAcceptedText(accepted)
	}
	if missing > 0 {
		return cli.Errorf(cli.ExitNotDone, "%s", notDone(missing, 0, len(accepted)))
	}
	return nil
}

func (a *app) printAcceptedText(accepted []purge.Accepted) {
	for _, r := range accepted {
		switch {
		case r.Found == purge.FoundNew:
			a.printf("user %d: request %d queued\n", r.User, r.Request)
		case !r.Open && r.Reason == purge.ReasonFilesMissing:
			a.printf("user %d: request %d already done with files missing, no link is left\n", r.User, r.Request)
		case !r.Open:
			a.printf("user %d: request %d already done, no link is left\n", r.User, r.Request)
		case r.Found == purge.Found(purge.Queued):
			a.printf("user %d: request %d is queued already\n", r.User, r.Request)
		case r.Found == purge.Found(purge.Running):
			a.printf("user %d: request %d is running already, and is checked once more after that\n", r.User, r.Request)
		default:
			a.printf("user %d: request %d was %s, queued again\n", r.User, r.Request, r.Found)
		}
	}
}
