package chaos

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"path/filepath"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/certpurge/certpurge/internal/gcs/gcstest"
	"github.com/certpurge/certpurge/internal/sandbox"
	"github.com/certpurge/certpurge/internal/sandbox/demo"
	"github.com/certpurge/certpurge/internal/sandbox/demo/audit"
	"github.com/certpurge/certpurge/internal/sandbox/demo/dataset"
)

// ErrViolated means that the suite ran to its end and something that must hold did not; the report says what.
var ErrViolated = errors.New("something that must hold under every fault did not")

// Options of Run.
type Options struct {
	Scenario string        // one of Scenarios; empty means the storm
	Users    int           // ordinary retiring users; awkward ones come on top
	Seed     uint64        // of the site, the faults and their order
	Bound    time.Duration // of the whole run; what is not at its end by then is a violation
	// how long faults are at work; 0 means three fifths of Bound, the rest is for what they leave behind
	Storm    time.Duration
	Faults   []string  // names of faults for the storm; empty means all
	Workers  int       // processes
	Logs     string    // directory for the logs of the processes; empty leaves none
	JSON     bool      // end Out with the report as one line of JSON; what people read goes to Err then
	Out, Err io.Writer // what people read goes to Out
	Enqueuer string    // path of the binary
	Worker   string    // path of the binary
}

const (
	// minBound leaves time for the servers, a few faults, and the look at the end.
	minBound = 30 * time.Second
	// maxUsers keeps a slip of the fingers from filling the memory.
	maxUsers = 200_000
	// judging is how long the look at the end may take, beyond the bound.
	judging = 2 * time.Minute
)

func (o *Options) complete() (err error) {
	o.Scenario, o.Storm = cmp.Or(o.Scenario, Storm), cmp.Or(o.Storm, o.Bound*3/5)
	if o.Users < 1 || o.Users > maxUsers || o.Workers < 1 || o.Bound < minBound {
		return fmt.Errorf("playing chaos with %d users, %d workers, %v: expected 1 to %d users, at least one worker and %v",
			o.Users, o.Workers, o.Bound, maxUsers, minBound)
	}
	for _, path := range []*string{&o.Enqueuer, &o.Worker, &o.Logs} { // the processes run in another directory
		if *path == "" {
			continue
		}
		if *path, err = filepath.Abs(*path); err != nil {
			return fmt.Errorf("finding the binaries: %w", err)
		}
	}
	return nil
}

// Run plays one run. When it returns, everything it started is stopped and removed. The error is ErrViolated, beside a
// report, if something did not hold, and any other if the run could not be played.
func Run(ctx context.Context, o Options) (report Report, err error) {
	if err := o.complete(); err != nil {
		return Report{}, err
	}
	scenario, chosen, err := o.scenario()
	if err != nil {
		return Report{}, err
	}
	r := &run{
		Options: o, begun: time.Now(), people: o.Out, scenario: scenario, faults: chosen,
		rng: newDice(o.Seed), tally: newTally(chosen),
	}
	if o.JSON {
		r.people = o.Err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, o.Bound+judging, errors.New("the run did not end within its bound"))
	defer cancel()
	defer r.close()
	if err := r.prepare(ctx); err != nil {
		return Report{}, fmt.Errorf("preparing the chaos: %w", err)
	}
	if err := r.play(ctx); err != nil {
		return Report{}, fmt.Errorf("playing the chaos: %w", err)
	}
	if report, err = r.report(ctx); err != nil {
		return Report{}, err
	}
	if err := r.print(report); err != nil {
		return report, err
	}
	if !report.OK {
		return report, ErrViolated
	}
	return report, nil
}

// run is one run.
type run struct {
	Options

	begun    time.Time
	people   io.Writer
	scenario scenario
	faults   []fault
	rng      *dice
	tally    *tally

	env      *demo.Environment
	redis    *redis.Client // straight to the server, past the proxy
	proxy    *proxy
	data     *dataset.Dataset
	want     dataset.Expected
	before   *audit.Snapshot
	buckets  *buckets
	storage  *storage
	observer *observer
	fleet    *fleet

	dead       *DeadLetterTable // in its scenario only
	findings   audit.Findings
	askedAgain int       // users
	stormed    time.Time // when the last fault was over
	ended      time.Time // when the last request had ended
}

// prepare builds the world before the purge.
func (r *run) prepare(ctx context.Context) (err error) {
	if err := sandbox.Install(ctx, r.people); err != nil {
		return err
	}
	if r.env, err = demo.OpenEnvironment(ctx); err != nil {
		return err
	}
	r.redis = redis.NewClient(&redis.Options{Addr: r.env.Servers.Redis.Addr})
	if r.proxy, err = startProxy(ctx, r.env.Servers.Redis.Addr, r.rng.uint64()); err != nil {
		return err
	}
	r.storage = &storage{server: r.env.Storage, seed: r.Seed, active: map[string][]gcstest.Fault{}}
	r.buckets = newBuckets(r.env.Storage)
	r.data = dataset.New(r.Seed, r.Users)
	r.printf("chaos: %s, %d users, seed %d, %d kinds of faults, at most %v\n", r.Scenario, len(r.data.Users), r.Seed,
		len(r.faults), r.Bound)
	if r.want, err = r.data.Seed(ctx, r.env.Root, demo.LMSDatabase, r.env.Storage, r.env.StorageURL); err != nil {
		return err
	}
	if _, err := r.runEnqueuer(ctx, nil, r.env.MigrateDSN, r.env.MigrateArguments()...); err != nil {
		return err
	}
	site := audit.Site{
		DB: r.env.Root, LMS: demo.LMSDatabase, Ledger: demo.LedgerDatabase, Server: r.env.Storage, Buckets: dataset.Buckets(),
	}
	if r.before, err = site.Take(ctx); err != nil {
		return err
	}
	if r.observer, err = newObserver(ctx, site, r.before, r.want, r.buckets, r.tally); err != nil {
		return err
	}
	return r.prepareScratch(ctx)
}

// deadline is when the bound is reached.
func (r *run) deadline() time.Time { return r.begun.Add(r.Bound) }

// close stops and removes everything.
func (r *run) close() {
	if r.fleet != nil {
		r.fleet.stop()
	}
	if r.proxy != nil {
		r.proxy.Close()
	}
	if r.redis != nil {
		_ = r.redis.Close() // the server goes next
	}
	if r.env != nil {
		r.env.Close()
	}
}

func (r *run) printf(format string, args ...any) {
	_, _ = fmt.Fprintf(r.people, format, args...)
}

// newRandom is a source that belongs to one goroutine.
func newRandom(seed uint64) *rand.Rand {
	return rand.New(rand.NewPCG(seed, 0x9e3779b97f4a7c15)) //nolint:gosec // the same faults each time are the point
}
