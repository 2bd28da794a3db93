package watch

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/certpurge/certpurge/internal/purge"
)

// jitter is the part of the interval by which the time between two rounds differs at most.
const jitter = 0.1

// rest is the part of the interval that must pass between two rounds of any watchers, so that a second watcher, which
// runs in case the first dies, does not double the rate.
const rest = 0.8

// Run makes a round at once and then one in each interval, until ctx ends or a round fails; then it returns the error.
func (w *Watcher) Run(ctx context.Context, log *slog.Logger) error {
	for {
		begun := w.Now()
		sum, err := w.Once(ctx, time.Duration(rest*float64(w.Interval)))
		if w.Observe != nil && ctx.Err() == nil {
			w.Observe(sum, err)
		}
		sum.log(ctx, log, w.Now().Sub(begun))
		if err != nil && ctx.Err() == nil {
			return err
		}
		if !purge.Sleep(ctx, time.Duration((1+jitter*(2*rand.Float64()-1))*float64(w.Interval))) { //nolint:gosec // no secret
			return nil
		}
	}
}

// log writes one line about a round, also if it was cut short. If another process leads, the line is for debugging.
func (s Summary) log(ctx context.Context, log *slog.Logger, took time.Duration) {
	if !s.Led || s.Recent {
		log.DebugContext(ctx, "another watcher is at work", slog.Bool("leads", !s.Led))
		return
	}
	log.InfoContext(ctx, "round finished",
		slog.Int("requests", s.Requests), slog.Int("eligible", s.Eligible), slog.Int("cooling_off", s.CoolingOff),
		slog.Int("with_references", s.WithReferences), slog.Int("open", s.Open), slog.Int("failed", s.Failed),
		slog.Int("too_soon", s.TooSoon),
		slog.Int("asked", s.Asked), slog.Int("again", s.Again), slog.Bool("capped", s.Capped), slog.Bool("full", s.Full),
		slog.Int64("took_ms", took.Milliseconds()))
}
