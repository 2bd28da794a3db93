package chaos

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/certpurge/certpurge/internal/purge"
)

// fault is one way in which the world breaks.
type fault struct {
	name string
	// group keeps faults apart that would undo each other when they are mixed; empty mixes with everything.
	group string
	// recovery is how long what it breaks may take to mend itself, at worst. A fault is injected early enough for that.
	recovery time.Duration
	// inject breaks things until ctx ends, and mends what does not mend itself before it returns. Its error means that the
	// fault could not be injected.
	inject func(ctx context.Context, e *episode) error
}

// leaseRecovery is how long a task may lie under the lease of a process that died, or that never heard that it was
// given the task: the lease of 30 s, 30 s of asynq's patience, its look once a minute, and the retry.
const leaseRecovery = 140 * time.Second

// catalogue lists all faults.
func catalogue() []fault {
	return slices.Concat(storageFaults(), mysqlFaults(), redisFaults(), processFaults())
}

// Names returns the names of all faults.
func Names() []string {
	var names []string
	for _, f := range catalogue() {
		names = append(names, f.name)
	}
	return names
}

// choose finds faults by their names. No name, or "all", means all; a name after "-" is left out of those before.
func choose(names []string) ([]fault, error) {
	all := catalogue()
	if len(names) == 0 {
		return all, nil
	}
	var chosen []fault
	for _, name := range names {
		bare, without := strings.CutPrefix(name, "-")
		named := func(f fault) bool { return f.name == bare }
		i := slices.IndexFunc(all, named)
		switch {
		case name == "all":
			chosen = slices.Clone(all)
		case i < 0:
			return nil, fmt.Errorf("choosing faults: there is no fault %q: expected all or some of %s", bare,
				strings.Join(Names(), ", "))
		case without:
			chosen = slices.DeleteFunc(chosen, named)
		case !slices.ContainsFunc(chosen, named):
			chosen = append(chosen, all[i])
		}
	}
	if len(chosen) == 0 {
		return nil, errors.New("choosing faults: none is left")
	}
	return chosen, nil
}

// episode is a time in which some faults are at work and some users' purge is asked for.
type episode struct {
	*run

	users  []int
	length time.Duration
	name   string // of the fault that is being injected
}

// hit counts an injection.
func (e *episode) hit() { e.tally.hit(e.name, 1) }

// repeatedly calls strike in random intervals until ctx ends.
func (e *episode) repeatedly(ctx context.Context, least, most time.Duration, strike func() error) error {
	for ctx.Err() == nil {
		if err := strike(); err != nil {
			return err
		}
		purge.Sleep(ctx, e.rng.between(least, most))
	}
	return nil
}

// askEvery is how far apart the commands of an episode are: some find their users' predecessors at work, and every
// moment of the episode has a purge that is just beginning.
const askEvery = 400 * time.Millisecond

// ask asks for the users of the episode, in several commands over its time or, for the sake of a backlog, in one.
func (e *episode) ask(ctx context.Context) {
	parts := min(max(int(e.length/askEvery)*3/4, 1), len(e.users))
	if e.rng.chance(0.4) {
		parts = 1
	}
	for i := range parts {
		e.enqueue(ctx, e.users[i*len(e.users)/parts:(i+1)*len(e.users)/parts])
		if !purge.Sleep(ctx, askEvery) {
			return
		}
	}
}

// dice is a random source that goroutines share.
type dice struct {
	mu  sync.Mutex
	rng *rand.Rand
}

func newDice(seed uint64) *dice { return &dice{rng: newRandom(seed)} }

func (d *dice) uint64() uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.rng.Uint64()
}

// n is a number from 0 to below most.
func (d *dice) n(most int) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.rng.IntN(most)
}

// between is a time from least to below most.
func (d *dice) between(least, most time.Duration) time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	return least + time.Duration(d.rng.Int64N(int64(most-least)))
}

func (d *dice) chance(p float64) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.rng.Float64() < p
}

func (d *dice) shuffle(n int, swap func(i, j int)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.rng.Shuffle(n, swap)
}
