package chaos

import (
	"context"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/sandbox"
)

func processFaults() []fault {
	return []fault{
		{name: "worker-kill", recovery: leaseRecovery, inject: killWorkers},
		{name: "worker-term", inject: rollWorkers},
		{name: "enqueuer-kill", group: "enqueuer", inject: killEnqueuer},
		{name: "enqueue-twice", group: "enqueuer", inject: enqueueTwice},
	}
}

// killWorkers kills one worker after the other, wherever it is.
func killWorkers(ctx context.Context, e *episode) error {
	return e.repeatedly(ctx, 500*time.Millisecond, 3*time.Second, func() error {
		if !purge.Sleep(ctx, e.rng.between(50*time.Millisecond, time.Second)) {
			return nil
		}
		if e.fleet.signal(ctx, e.rng.n(e.Workers), os.Kill) {
			e.hit()
		}
		return nil
	})
}

// rollWorkers stops and starts all workers in turn, as a deployment does.
func rollWorkers(ctx context.Context, e *episode) error {
	for i := 0; ctx.Err() == nil; i++ {
		if e.fleet.signal(ctx, i%e.Workers, syscall.SIGTERM) {
			e.hit()
		}
		purge.Sleep(ctx, e.rng.between(50*time.Millisecond, 300*time.Millisecond))
	}
	return nil
}

// killedEnqueuers is how many share the users of an episode.
const killedEnqueuers = 4

// killEnqueuer kills enqueuers of the episode's users, half of them backfills: some at a random moment, some as soon as
// the ledger has the first of their requests and Redis lacks the last of their tasks. The command is not repeated
// before the faults are over: what was accepted must not depend on it.
func killEnqueuer(ctx context.Context, e *episode) error {
	for part := range slices.Chunk(e.users, (len(e.users)+killedEnqueuers-1)/killedEnqueuers) {
		args := enqueueArguments(part)
		if e.rng.chance(0.5) {
			var err error
			if args, err = e.backfillArguments(part); err != nil {
				return err
			}
		}
		p, err := e.startEnqueuer(nil, e.env.EnqueuerDSN, args...)
		if err != nil {
			return err
		}
		if e.rng.chance(0.5) {
			e.accepted(ctx, p, part[0])
			purge.Sleep(ctx, e.rng.between(0, 10*time.Millisecond))
		} else {
			purge.Sleep(ctx, e.rng.between(20*time.Millisecond, 200*time.Millisecond))
		}
		p.Kill()
		if state, _ := p.Exit(); state.ExitCode() < 0 { // it had not ended before
			e.hit()
		}
		purge.Sleep(ctx, e.rng.between(0, e.length/killedEnqueuers))
	}
	return nil
}

// accepted returns when the user has a request, or the enqueuer has ended.
func (e *episode) accepted(ctx context.Context, p *sandbox.Child, user int) {
	for {
		var n int
		err := e.env.Root.QueryRowContext(ctx, "SELECT COUNT(*) FROM "+ledgerRequests+" WHERE user_id = ?", user).Scan(&n)
		if err != nil || n > 0 {
			return
		}
		if p.Pause(ctx, 2*time.Millisecond) != nil {
			return
		}
	}
}

// enqueueTwice asks for the same users several times at once.
func enqueueTwice(ctx context.Context, e *episode) error {
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			e.hit()
			e.ask(ctx)
		})
	}
	wg.Wait()
	return nil
}
