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

// Await returns nil and is ready once check passes. It waits out failures, longer and longer; meanwhile it is not ready
// and says why, and paused is told each new reason once. An error that fatal accepts is returned instead. If ctx ends
// before, Await returns nil without having become ready.
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
