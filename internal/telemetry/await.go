package telemetry

import (
	"context"
	"time"

	"github.com/certpurge/certpurge/internal/purge"
)

// Waits between checks while something is wrong.
const (
	firstWait = time.Second
	lastWait  = 30 * time.Second
)

// Await repeats check until it passes, with growing waits in between, then sets the process ready and returns nil.
// Meanwhile the process is not ready, with the reason, and paused is called once with each new reason. An error that
// fatal accepts is returned. If ctx ends first, Await returns nil, and the process is not ready.
func (h *Health) Await(ctx context.Context, check func(context.Context) error, fatal func(error) bool,
	paused func(error),
) error {
	said := ""
	for wait := firstWait; ctx.Err() == nil; wait = min(2*wait, lastWait) {
		err := check(ctx)
		if err == nil {
			h.Ready()
			return nil
		}
		if fatal(err) {
			return err
		}
		if why := "paused: " + err.Error(); why != said && ctx.Err() == nil {
			said = why
			h.NotReady(why)
			paused(err)
		}
		purge.Sleep(ctx, wait)
	}
	return nil
}
