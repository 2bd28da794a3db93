package chaos

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	shortestEpisode = 1500 * time.Millisecond
	longestEpisode  = 8 * time.Second
	// maxMixed is how many faults are at work at the same time.
	maxMixed = 4
)

// play plays the scenario, while the workers run and the observer watches, then looks.
func (r *run) play(ctx context.Context) error {
	watching, unwatch := context.WithCancel(ctx)
	var beside sync.WaitGroup
	beside.Go(func() { r.observer.watch(watching) })
	defer beside.Wait()
	defer unwatch()
	r.fleet = r.startFleet(ctx)
	if err := r.scenario.play(r, ctx); err != nil {
		return err
	}
	r.fleet.stop()
	unwatch()
	beside.Wait()
	return r.look(ctx)
}

// look is the look at the end.
func (r *run) look(ctx context.Context) error {
	if err := r.observer.last(ctx); err != nil {
		return err
	}
	var err error
	r.findings, err = r.observer.site.Check(ctx, r.before, r.want)
	for _, problem := range r.findings.Problems {
		r.tally.violate("%s", problem)
	}
	return err
}

// storm plays each fault alone, then mixtures, each with users of its own, and then waits for what is left of them in
// peace. Faults whose traces stay for minutes come first.
func (r *run) storm(ctx context.Context) error {
	schedule := r.schedule(r.data.Enqueued())
	ends := r.begun.Add(r.Storm)
	for i, scheduled := range schedule {
		length := min(max(time.Until(ends)/time.Duration(len(schedule)-i), shortestEpisode), longestEpisode)
		if err := r.episode(ctx, scheduled.faults, scheduled.users, length); err != nil {
			return err
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
	r.quiesce(ctx)
	return nil
}

// scheduled is what an episode will be.
type scheduled struct {
	faults []fault
	users  []int
}

// schedule draws all episodes before the first one begins: from then on, goroutines draw from the same dice in an order
// that no seed repeats.
func (r *run) schedule(users []int) []scheduled {
	alone := slices.Clone(r.faults)
	r.rng.shuffle(len(alone), func(i, j int) { alone[i], alone[j] = alone[j], alone[i] })
	slices.SortStableFunc(alone, func(a, b fault) int { return cmp.Compare(b.recovery, a.recovery) })
	r.rng.shuffle(len(users), func(i, j int) { users[i], users[j] = users[j], users[i] })
	many := min(2*len(alone), len(users))
	all := make([]scheduled, many)
	for i := range all {
		all[i] = scheduled{
			faults: alone[i%len(alone) : i%len(alone)+1],
			users:  users[i*len(users)/many : (i+1)*len(users)/many],
		}
		if i >= len(alone) {
			all[i].faults = r.mixture()
		}
	}
	return all
}

// mixture draws faults that go together.
func (r *run) mixture() []fault {
	all := slices.Clone(r.faults)
	r.rng.shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	most := 2 + r.rng.n(maxMixed-1)
	var drawn []fault
	for _, f := range all {
		together := !slices.ContainsFunc(drawn, func(other fault) bool { return f.group != "" && f.group == other.group })
		if together && len(drawn) < most {
			drawn = append(drawn, f)
		}
	}
	return drawn
}

// episode asks for the purge of users while faults are at work. Faults that the bound leaves no time for are left out.
func (r *run) episode(ctx context.Context, faults []fault, users []int, length time.Duration) error {
	faults = slices.DeleteFunc(slices.Clone(faults), func(f fault) bool {
		return time.Now().Add(length + f.recovery).After(r.deadline())
	})
	var names []string
	for _, f := range faults {
		names = append(names, f.name)
	}
	r.tally.begin(names, users)
	begun := time.Now()
	r.printf("  %6.1fs  %-60s %d users\n", time.Since(r.begun).Seconds(),
		cmp.Or(strings.Join(names, " + "), "(no time for this fault)"), len(users))
	within, cancel := context.WithTimeout(ctx, length)
	defer cancel()
	errs := make([]error, len(faults))
	var wg sync.WaitGroup
	asked := false
	for i, f := range faults {
		e := &episode{run: r, users: users, length: length, name: f.name}
		asked = asked || f.group == "enqueuer"
		wg.Go(func() { errs[i] = f.inject(within, e) })
	}
	if !asked { // or the fault does it
		wg.Go(func() { (&episode{run: r, users: users, length: length}).ask(within) })
	}
	wg.Go(func() { <-within.Done() }) // what a short fault leaves behind belongs to its episode
	wg.Wait()
	r.tally.end(time.Since(begun))
	for i, err := range errs {
		if err != nil && ctx.Err() == nil {
			return &injectionError{names[i], err}
		}
	}
	return nil
}

// injectionError means that a fault could not be injected: the run proves nothing.
type injectionError struct {
	fault string
	err   error
}

func (e *injectionError) Error() string { return "injecting " + e.fault + ": " + e.err.Error() }

// Unwrap returns why.
func (e *injectionError) Unwrap() error { return e.err }
