package notify

import (
	"context"
	"log/slog"
	"time"

	"github.com/certpurge/certpurge/internal/purge"
)

// How long to wait between two rounds, and after one that failed.
const (
	pollEvery  = 2 * time.Second
	failedWait = 10 * time.Second
)

// measureEvery is how often the figures are read, by every process that has a notify.url.
const measureEvery = 15 * time.Second

// Run makes rounds until ctx ends. What fails is logged once, and tried again.
func (n *Notifier) Run(ctx context.Context) {
	var measuredAt time.Time
	for failing := false; ; {
		wait := pollEvery
		sum, err := n.Once(ctx)
		n.Meter.Sent(sum.Delivered, sum.Failed, sum.GivenUp)
		if err == nil && n.Now().Sub(measuredAt) >= measureEvery {
			measuredAt = n.Now()
			err = n.measure(ctx)
		}
		switch {
		case ctx.Err() != nil:
			return
		case err != nil && !failing:
			n.Log.WarnContext(ctx, "telling others failed, and is tried again", slog.Any("error", err))
		case err == nil && failing:
			n.Log.InfoContext(ctx, "notifying again")
		}
		if failing = err != nil; failing {
			wait = failedWait
		}
		if !purge.Sleep(ctx, wait) {
			return
		}
	}
}

// measure reads how many notifications wait.
func (n *Notifier) measure(ctx context.Context) error {
	f, ok, err := n.Ledger.NotifyFigures(ctx)
	if err != nil || !ok {
		return err
	}
	var oldest time.Duration
	if !f.Oldest.IsZero() {
		oldest = max(0, n.Now().Sub(f.Oldest))
	}
	n.Meter.Waits(f.Waiting, oldest)
	return nil
}
