package demo

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/sandbox/demo/dataset"
)

const (
	// pollEvery is how often the ledger is asked how far things are.
	pollEvery = 200 * time.Millisecond
	// stallLimit is how long no request may come to an end. One takes less than a second; retries wait for ten at most.
	stallLimit = 2 * time.Minute
)

// tally is how the requests stand.
type tally map[dataset.End]int

// settled counts the requests to which nothing more will happen: ended, or waiting for a date.
func (t tally) settled() int {
	n := 0
	for end, count := range t {
		if end.State.Ended() || end.State == purge.Queued && end.Reason == purge.ReasonRetained {
			n += count
		}
	}
	return n
}

// in counts the requests in a state.
func (t tally) in(state purge.State) int {
	n := 0
	for end, count := range t {
		if end.State == state {
			n += count
		}
	}
	return n
}

// purge enqueues all users and waits until every request is settled.
func (d *demo) purge(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var enqueuing sync.WaitGroup
	var enqueueErr error
	enqueuing.Go(func() {
		if enqueueErr = d.enqueue(ctx); enqueueErr != nil {
			cancel(enqueueErr)
		}
	})
	err := d.follow(ctx, len(d.want.Ends))
	if err != nil {
		cancel(err)
	}
	enqueuing.Wait() // it must have ended before what it uses is taken away
	if err != nil {
		return err // what the enqueuer prints when it is stopped explains nothing
	}
	return enqueueErr
}

// follow shows how far things are until total requests are settled.
func (d *demo) follow(ctx context.Context, total int) error {
	bar := d.newProgress(total)
	defer bar.end()
	best, since := 0, time.Now()
	for {
		if err := d.worker.Pause(ctx, pollEvery); err != nil {
			return err
		}
		t, err := d.tally(ctx)
		if err != nil {
			return err
		}
		bar.show(t)
		settled := t.settled()
		if settled == total {
			return nil
		}
		if settled > best {
			best, since = settled, time.Now()
		}
		if time.Since(since) > stallLimit {
			return fmt.Errorf("waiting for the purge: %d of %d requests have come to an end, and none of the others for %v; "+
				"the worker's log ends with\n%s",
				settled, total, stallLimit, d.worker.Output())
		}
	}
}

// tally asks the ledger, with a query of our own.
func (d *demo) tally(ctx context.Context) (tally, error) {
	rows, err := d.env.Root.QueryContext(ctx, "SELECT state, reason, COUNT(*) FROM "+LedgerDatabase+
		".requests GROUP BY state, reason")
	if err != nil {
		return nil, fmt.Errorf("asking the ledger: %w", err)
	}
	defer rows.Close()
	t := tally{}
	for rows.Next() {
		var end dataset.End
		var n int
		if err := rows.Scan(&end.State, &end.Reason, &n); err != nil {
			return nil, fmt.Errorf("asking the ledger: %w", err)
		}
		t[end] = n
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("asking the ledger: %w", err)
	}
	return t, nil
}
