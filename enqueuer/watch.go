package main

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/spf13/cobra"

	"github.com/certpurge/certpurge/internal/cli"
	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/queue"
	"github.com/certpurge/certpurge/internal/queue/inspect"
	"github.com/certpurge/certpurge/internal/telemetry"
	"github.com/certpurge/certpurge/internal/watch"
)

func newWatchCommand(a *app) *cobra.Command {
	var once bool
	var out *cli.Format
	cmd := &cobra.Command{
		Use:   "watch",
		Short: "Request purges of users who became eligible and still have links",
		Long: `watch reads the LMS database every watch.interval, for users who may be purged
(a retirement request, in no state of lms.excluded_states, at least
watch.cool_off_days old) and who have references, live or in the history. It
requests their purge, as enqueue does, with the source watch. The retirement
pipeline needs no change.

A round reads all retirement requests, by indexed pages, and requests the purge
of at most watch.max_users_per_round users; the next round continues behind
them. Run two processes for safety: one leads, and the rate stays the same.

Users whose request is queued or running are left alone. One who was refused is
requested again once eligible, and one who was done once references are there
again (a restored backup), each watch.ask_again_after after the end of the
request. One whose request failed is not: fix the cause, then use requeue.

It runs until SIGTERM or SIGINT, writes one log line for each round, and
answers probes on admin.listen. While MySQL or Redis is down it waits and logs
why. With --once it makes one round, prints what it did, and ends: for cron.

` + cli.Exits{
			cli.ExitOK: "with --once: the round was made; otherwise stopped by a signal", cli.ExitUnavailable: "with " +
				"--once: Redis or MySQL cannot be reached", cli.ExitConfiguration: "",
		}.String(),
		Example: "  enqueuer --config configs/enqueuer.yaml watch\n  enqueuer watch --once\n  enqueuer watch --once -o json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !once && cmd.Flags().Changed("output") {
				return cli.Usage("-o belongs to --once; the log has a format of its own (log.format)")
			}
			w, err := a.newWatcher()
			if err != nil {
				return err
			}
			defer func() { _ = w.close() }() // what was requested is durable; there is nothing left to lose
			if once {
				return a.watchOnce(cmd.Context(), w, out)
			}
			return w.run(cmd.Context())
		},
	}
	cmd.Flags().BoolVar(&once, "once", false, "make one round and end")
	out = cli.FormatFlag(cmd)
	return cmd
}

// watcher is the composition: what a round needs, opened but not yet connected.
type watcher struct {
	*watch.Watcher
	*process
}

func (a *app) newWatcher() (*watcher, error) {
	p, err := a.openProcess(purge.SourceWatch)
	if err != nil {
		return nil, err
	}
	rounds, err := telemetry.NewWatch(p.registry)
	if err != nil {
		return nil, errors.Join(err, p.close())
	}
	return &watcher{process: p, Watcher: &watch.Watcher{
		Ledger: p.store,
		Intake: purge.Intake{
			By: "watch, " + cli.Operator(), Requests: counted{p.store, p.accepted},
			Tasks: queue.NewClient(p.redis, queue.Live, p.cfg.Tasks),
		},
		Waiting:  func(ctx context.Context) (int, error) { return inspect.Waiting(ctx, p.redis, queue.Live, time.Now()) },
		Eligible: p.cfg.LMS.Policy().Eligible, Watch: p.cfg.Watch, Now: time.Now,
		Observe: func(sum watch.Summary, err error) { rounds.Watched(sum.Led && !sum.Recent, err) },
	}}, nil
}

// failedRoundPause is the least time between a round that failed and the next one, whose checks may all pass.
const failedRoundPause = 5 * time.Second

// run makes rounds until ctx ends. A misconfiguration at the very start is returned; what comes later is waited out.
func (w *watcher) run(ctx context.Context) error {
	watching, giveUp := context.WithCancelCause(ctx)
	defer giveUp(nil)
	stop, err := w.beside(watching, "watch", giveUp)
	if err != nil {
		return err
	}
	defer stop()
	defer giveUp(nil)
	for first := true; watching.Err() == nil; first = false {
		err := w.health.Await(watching, w.check,
			func(err error) bool { return first && purge.ClassOf(err) == purge.Misconfigured },
			func(err error) { w.log.ErrorContext(ctx, "watcher paused", slog.Any("error", err)) })
		if err != nil {
			return err
		}
		if err := w.Run(watching, w.log); err != nil {
			w.health.NotReady("the latest round failed: " + err.Error())
			w.log.WarnContext(ctx, "round failed", slog.Any("error", err))
			purge.Sleep(watching, failedRoundPause)
		}
	}
	w.health.NotReady("stopping")
	w.log.InfoContext(ctx, "watcher stopped")
	if cause := context.Cause(watching); !errors.Is(cause, context.Canceled) {
		return cause
	}
	return nil // stopped on request
}

// watchOnce makes one round and prints it.
func (a *app) watchOnce(ctx context.Context, w *watcher, out *cli.Format) error {
	if err := w.check(ctx); err != nil {
		return cli.Unavailable(err)
	}
	sum, err := w.Once(ctx, 0)
	if err != nil {
		return cli.Unavailable(err)
	}
	if *out == "json" {
		return a.printJSON(sum)
	}
	if !sum.Led {
		a.printf("another watcher is at work; nothing to do here\n")
		return nil
	}
	a.printf("%d retirement requests checked, %d eligible, %d still cooling off, %d with references\n", sum.Requests,
		sum.Eligible, sum.CoolingOff, sum.WithReferences)
	a.printf("%d users requested (%d of them again); %d at work already, %d failed before and are left to you, %d ended "+
		"only just now\n", sum.Asked, sum.Again, sum.Open, sum.Failed, sum.TooSoon)
	switch {
	case sum.Capped:
		a.printf("stopped at watch.max_users_per_round; the next round continues from there\n")
	case sum.Full:
		a.printf("stopped at watch.high_water; the next round continues from there\n")
	}
	return nil
}
