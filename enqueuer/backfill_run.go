package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/certpurge/certpurge/internal/backfill"
	"github.com/certpurge/certpurge/internal/cli"
	"github.com/certpurge/certpurge/internal/mysql"
	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/queue"
	"github.com/certpurge/certpurge/internal/queue/inspect"
)

// patience is how long a backfill waits for a server that is down.
const patience = 5 * time.Minute

func (a *app) backfill(cmd *cobra.Command, o backfillOptions) error {
	ctx := cmd.Context()
	var users *list
	if o.users != "" {
		var err error
		if users, err = a.openList(o.users); err != nil {
			return err
		}
		defer users.Close()
	}
	cfg, store, err := a.openStore()
	if err != nil {
		return err
	}
	defer store.Close()
	source, err := o.openSource(ctx, cfg, store, users)
	if err != nil {
		return err
	}
	show := a.newProgress()
	runner := &backfill.Runner{
		Source: source, MaxUsers: o.maxUsers, HighWater: o.highWater, Rate: o.rate, Patience: patience,
		Status: backfill.NewStatus(time.Now), Notice: show.Notice,
	}
	if o.checkpoint != "" {
		if runner.Checkpoint, err = backfill.OpenCheckpoint(o.checkpoint, source); err != nil {
			return cli.Usage("--checkpoint: %w; nothing was enqueued", err)
		}
	}
	if !o.execute {
		stop := show.start(ctx, runner.Status)
		plan, err := runner.Preview(ctx, store, cfg.LMS.Policy())
		stop()
		if errors.Is(err, backfill.ErrBadList) {
			return badList(err, users, backfill.Summary{})
		}
		if err != nil {
			return cli.Unavailable(err)
		}
		return a.printPlan(plan, source, o)
	}
	rdb, err := openRedis(cmd, cfg, inspect.Check)
	if err != nil {
		return err
	}
	defer rdb.Close()
	runner.Intake = purge.Intake{
		By:       o.by("backfill"),
		Ticket:   o.ticket,
		Requests: store,
		Tasks:    queue.NewClient(rdb, o.queue, cfg.Tasks),
	}
	show.standstill = func(ctx context.Context, changed func(string)) (stop func()) {
		return followStandstill(ctx, rdb, o.queue, changed)
	}
	runner.Batch = backfillBatch
	runner.Waiting = func(ctx context.Context) (int, error) { return inspect.Waiting(ctx, rdb, o.queue, time.Now()) }
	return a.execute(ctx, runner, store, users, o, show)
}

// backfillBatch is several of the intake's batches, so that one is written into the ledger while the tasks of another
// go into the queue.
const backfillBatch = 4 * purge.MaxBatch

// execute runs the backfill, follows the requests with --wait, prints the summary in any case, and returns the error
// that decides the exit code.
func (a *app) execute(ctx context.Context, runner *backfill.Runner, store *mysql.Store, users *list, o backfillOptions,
	show *progress,
) error {
	begun := time.Now()
	stop := show.start(ctx, runner.Status)
	follow := func(error) (backfill.Ended, error) { return backfill.Ended{}, nil }
	if o.wait {
		follow = followAlong(ctx, runner, store)
	}
	sum, err := runner.Run(ctx)
	ended, waitErr := follow(err)
	stop()
	capped := errors.Is(err, backfill.ErrCapped)
	result := backfilled{
		Executed: true, Source: runner.Source.Fingerprint(), Summary: sum, Capped: capped,
		Seconds: time.Since(begun).Seconds(),
	}
	result.describe(runner.Source)
	if o.wait {
		result.Ended = &ended
	}
	if printErr := a.printBackfilled(result, o); printErr != nil {
		return printErr
	}
	switch {
	case errors.Is(err, backfill.ErrBadList):
		return badList(err, users, sum)
	case err != nil && !capped:
		if errors.Is(err, context.Canceled) {
			show.Notice("stopped; to continue, " + o.again())
			return err
		}
		return cli.Unavailable(fmt.Errorf("%w; to continue, %s", err, o.again()))
	case waitErr != nil:
		return waitErr
	case ended.All() > ended.Done:
		more := ""
		if capped {
			more = fmt.Sprintf("; and %v; to continue, %s", err, o.again())
		}
		return cli.Errorf(cli.ExitNotDone, "%s%s",
			notDone(ended.Missing, ended.All()-ended.Done-ended.Missing, ended.All()), more)
	case capped && o.moreIsOK:
		show.Notice(fmt.Sprintf("%v; to continue, %s", err, o.again()))
	case capped:
		return cli.Errorf(cli.ExitCapped, "%w; to continue, %s", err, o.again())
	}
	return nil
}

// followAlong follows the runner's requests while it runs; the function that it returns waits for their ends, unless
// the run failed.
func followAlong(ctx context.Context, runner *backfill.Runner, store *mysql.Store) func(runErr error) (backfill.Ended,
	error) {
	ctx, cancel := context.WithCancel(ctx)
	f := &backfill.Follower{Requests: followed(store), Status: runner.Status, Now: time.Now}
	f.Begin()
	runner.Accepted = f.Add
	type outcome struct {
		ended backfill.Ended
		err   error
	}
	done := make(chan outcome, 1)
	go func() {
		ended, err := f.Follow(ctx)
		done <- outcome{ended, err}
	}()
	return func(runErr error) (backfill.Ended, error) {
		defer cancel()
		if runErr != nil && !errors.Is(runErr, backfill.ErrCapped) {
			cancel()
		}
		f.NoMore()
		o := <-done
		return o.ended, o.err
	}
}

func followed(store *mysql.Store) func(context.Context, []purge.RequestID) ([]backfill.Request, error) {
	return func(ctx context.Context, ids []purge.RequestID) ([]backfill.Request, error) {
		rows, err := store.Requests(ctx, ids)
		all := make([]backfill.Request, len(rows))
		for i, r := range rows {
			all[i] = backfill.Request{ID: r.ID, State: r.State, Reason: r.Reason, UpdatedAt: r.UpdatedAt}
			if r.NotBefore != nil {
				all[i].NotBefore = *r.NotBefore
			}
		}
		return all, err
	}
}
