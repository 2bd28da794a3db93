package chaos

import (
	"context"
	"sync"
	"time"
)

// flushed asks for everybody in one backfill, and empties Redis at random moments from its beginning until half of the
// requests have ended. Nobody asks a second time: the ledger alone has to bring back what was lost.
func (r *run) flushed(ctx context.Context) error {
	users := r.data.Enqueued()
	args, err := r.backfillArguments(users)
	if err != nil {
		return err
	}
	flush := r.faults[0]
	r.tally.begin([]string{flush.name}, users)
	begun := time.Now()
	within, cancel := context.WithCancel(ctx)
	defer cancel()
	var flushing sync.WaitGroup
	var failed error
	flushing.Go(func() { failed = flush.inject(within, &episode{run: r, users: users, name: flush.name}) })
	if _, err = r.runEnqueuer(ctx, nil, r.env.EnqueuerDSN, args...); err == nil {
		r.printf("  %6.1fs  %d users are asked for\n", time.Since(r.begun).Seconds(), len(users))
		r.await(ctx, func(s standing) int { return r.unsettled(s) - len(users)/2 })
	}
	cancel()
	flushing.Wait()
	r.tally.end(time.Since(begun))
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err != nil:
		r.tally.violate("the backfill failed: %v", err)
	case failed != nil:
		return &injectionError{flush.name, failed}
	}
	r.quiesce(ctx)
	if repeated := r.tally.repeated.Load(); r.askedAgain > 0 || repeated > 0 {
		r.tally.violate("%d users were asked for again, and %d commands repeated: a flushed Redis must need neither",
			r.askedAgain, repeated)
	}
	return nil
}
