package chaos

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// The scenarios.
const (
	Storm       = "storm"        // each fault alone, then mixtures
	Flush       = "flush"        // Redis emptied again and again under one backfill of all users
	DeadLetters = "dead-letters" // every user fails for a missing right, and is queued again once it is back
)

// scenario is what happens while the workers run and the observer watches. When play returns without an error, every
// request has come to its end, or it is written down that it has not.
type scenario struct {
	play   func(*run, context.Context) error
	faults []string // that belong to it; nil lets them be chosen
}

var scenarios = map[string]scenario{
	Storm:       {play: (*run).storm},
	Flush:       {play: (*run).flushed, faults: []string{"redis-flush"}},
	DeadLetters: {play: (*run).deadLetters, faults: []string{}},
}

// Scenarios returns the names of all scenarios.
func Scenarios() []string { return slices.Sorted(maps.Keys(scenarios)) }

// scenario finds the scenario and its faults.
func (o *Options) scenario() (scenario, []fault, error) {
	s, ok := scenarios[o.Scenario]
	if !ok {
		return s, nil, fmt.Errorf("choosing a scenario: there is no %q: expected one of %s", o.Scenario,
			strings.Join(Scenarios(), ", "))
	}
	switch {
	case s.faults == nil:
		chosen, err := choose(o.Faults)
		return s, chosen, err
	case len(o.Faults) > 0:
		return s, nil, fmt.Errorf("choosing faults: the scenario %s has its own, so none can be chosen", o.Scenario)
	case len(s.faults) == 0:
		return s, nil, nil
	default:
		chosen, err := choose(s.faults)
		return s, chosen, err
	}
}

// flushed submits all users in one backfill, and empties Redis at random moments from its beginning until half of the
// requests have ended. No request is submitted a second time: the ledger alone has to bring back what was lost.
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
