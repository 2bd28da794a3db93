package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"time"

	"github.com/dustin/go-humanize/english"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"

	"github.com/certpurge/certpurge/internal/cli"
	"github.com/certpurge/certpurge/internal/config"
	"github.com/certpurge/certpurge/internal/mysql"
	"github.com/certpurge/certpurge/internal/notify"
	"github.com/certpurge/certpurge/internal/telemetry"
)

// newNotifier makes the notifier of a process; nil if notify.url is empty.
func newNotifier(cfg config.Notify, store *mysql.Store, registry *prometheus.Registry, log *slog.Logger) (
	*notify.Notifier, error,
) {
	if cfg.URL == "" {
		return nil, nil //nolint:nilnil // off
	}
	sender, err := notify.NewSender(cfg, cli.Version())
	if err != nil {
		return nil, cli.Errorf(cli.ExitConfiguration, "%w", err)
	}
	meter, err := telemetry.NewNotify(registry)
	if err != nil {
		return nil, err
	}
	return &notify.Notifier{
		Notify: cfg, Ledger: store, Send: sender.Send, Now: time.Now, Log: log, Meter: meter,
	}, nil
}

func newNotifyCommand(a *app) *cobra.Command {
	var test, retry bool
	var out *cli.Format
	cmd := &cobra.Command{
		Use:   "notify",
		Short: "Show what waits for the receiver of the webhook; send a test event",
		Long: `notify prints whether the receiver of notify.url accepts events, and how many
notifications wait for it. "enqueuer serve" and "enqueuer watch" send them; this
command sends none of them.

--test sends an event of the type io.github.certpurge.test, once, signed like
all others, and prints the answer. It needs no database.

--retry makes all notifications due at once: those that wait for their next
try, and those that were given up after notify.max_age.

docs/integrations.md explains the events and how to verify them.

` + cli.Exits{
			cli.ExitOK: "", cli.ExitNotDone: "with --test: the receiver did not accept the event",
			cli.ExitUnavailable: "", cli.ExitConfiguration: "",
		}.String(),
		Example: "  enqueuer notify\n  enqueuer notify --test\n  enqueuer notify --retry",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if test {
				return a.notifyTest(cmd.Context(), out)
			}
			return a.notifyFigures(cmd.Context(), retry, out)
		},
	}
	cmd.Flags().BoolVar(&test, "test", false, "send a test event and print the answer")
	cmd.Flags().BoolVar(&retry, "retry", false, "make all notifications due now, also those that were given up")
	cmd.MarkFlagsMutuallyExclusive("test", "retry")
	out = cli.FormatFlag(cmd)
	return cmd
}

// notifyTest sends a test event.
func (a *app) notifyTest(ctx context.Context, out *cli.Format) error {
	cfg, err := config.LoadEnqueuer(a.path, a.streams.Environ)
	if err != nil {
		return err
	}
	if cfg.Notify.URL == "" {
		return cli.Errorf(cli.ExitConfiguration, "notify.url is empty: the webhook is off")
	}
	sender, err := notify.NewSender(cfg.Notify, cli.Version())
	if err != nil {
		return cli.Errorf(cli.ExitConfiguration, "%w", err)
	}
	id := rand.Text()
	event, err := notify.TestEvent(id, cfg.Notify.Source, time.Now())
	if err != nil {
		return err
	}
	answer := sender.Send(ctx, id, event, time.Now())
	if *out == "json" {
		err = a.printJSON(struct {
			ID        string `json:"id"`
			Delivered bool   `json:"delivered"`
			Answer    string `json:"answer"`
		}{id, answer.Delivered, answer.Text})
	} else {
		a.printf("event %s: %s\n", id, answer.Text)
	}
	if err == nil && !answer.Delivered {
		err = cli.Errorf(cli.ExitNotDone, "the receiver did not accept the event: expected a status "+
			"from 200 to 299")
	}
	return err
}

// notifyFigures prints the state of the notifications.
func (a *app) notifyFigures(ctx context.Context, retry bool, out *cli.Format) error {
	_, store, err := a.openStore()
	if err != nil {
		return err
	}
	defer store.Close()
	var again int64
	if retry {
		if again, err = store.RetryNotifications(ctx, time.Now()); err != nil {
			return cli.Unavailable(err)
		}
	}
	f, begun, err := store.NotifyFigures(ctx)
	switch {
	case err != nil:
		return cli.Unavailable(err)
	case *out == "json":
		return a.printJSON(f)
	case !begun:
		a.printf("no notification was ever sent: set notify.url and start \"enqueuer serve\" or \"enqueuer watch\"\n")
		return nil
	}
	if retry {
		a.printf("all are due now, %s that had been given up\n", english.Plural(int(again), "notification", ""))
	}
	a.printf("%s, %d given up\n", waiting(f), f.GivenUp)
	if !f.DeliveredAt.IsZero() {
		a.printf("last delivered: %s\n", f.DeliveredAt.Format(time.RFC3339))
	}
	if f.Failures > 0 {
		a.printf("the receiver has failed %d times in a row since %s: %s\nnext try: %s\n", f.Failures,
			f.FailingSince.Format(time.RFC3339), f.Answer, f.NextAt.Format(time.RFC3339))
	}
	a.printf("requests that ended before %s have notifications; a process last searched at %s, give or take a minute\n",
		f.Position.Format(time.RFC3339), f.LookedAt.Format(time.RFC3339))
	return nil
}

func waiting(f mysql.NotifyFigures) string {
	if f.Waiting == 0 {
		return "no notification waits"
	}
	return fmt.Sprintf("%s for the receiver, the oldest since %s", english.Plural(int(f.Waiting), "notification waits",
		"notifications wait"), f.Oldest.Format(time.RFC3339))
}
