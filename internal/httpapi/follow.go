package httpapi

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/certpurge/certpurge/internal/mysql"
	"github.com/certpurge/certpurge/internal/purge"
)

// followInterval is how often the ledger is asked about requests that a call waits for.
const followInterval = 200 * time.Millisecond

// follower waits for requests: any number of waiters, one query for all of them.
type follower struct {
	ledger Ledger

	mu      sync.Mutex
	waiters map[purge.RequestID][]*waiter
	idle    chan struct{} // closed when no call waits any more; nil while none does
}

type waiter struct {
	settled func(mysql.Request) bool
	found   chan mysql.Request // buffered: gets one request, once it is settled
}

// await returns a request as soon as it is settled; false if ctx ended before.
func (f *follower) await(ctx context.Context, id purge.RequestID, settled func(mysql.Request) bool) (mysql.Request,
	bool,
) {
	w := &waiter{settled, make(chan mysql.Request, 1)}
	f.add(ctx, id, w)
	defer f.remove(id, w)
	select {
	case r := <-w.found:
		return r, true
	case <-ctx.Done():
		return mysql.Request{}, false
	}
}

func (f *follower) add(ctx context.Context, id purge.RequestID, w *waiter) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.waiters == nil {
		f.waiters = map[purge.RequestID][]*waiter{}
	}
	f.waiters[id] = append(f.waiters[id], w)
	if f.idle == nil {
		f.idle = make(chan struct{})
		go f.run(context.WithoutCancel(ctx), f.idle)
	}
}

func (f *follower) remove(id purge.RequestID, w *waiter) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.waiters[id] = slices.DeleteFunc(f.waiters[id], func(other *waiter) bool { return other == w })
	if len(f.waiters[id]) == 0 {
		delete(f.waiters, id)
	}
	if len(f.waiters) == 0 {
		close(f.idle)
		f.idle = nil
	}
}

// run asks the ledger until no call waits any more. A ledger that cannot be reached is asked again.
func (f *follower) run(ctx context.Context, idle <-chan struct{}) {
	ticker := time.NewTicker(followInterval)
	defer ticker.Stop()
	for {
		f.mu.Lock()
		ids := slices.Sorted(maps.Keys(f.waiters))
		f.mu.Unlock()
		if rows, err := f.ledger.Requests(ctx, ids); err == nil {
			f.answer(rows)
		}
		select {
		case <-idle:
			return
		case <-ticker.C:
		}
	}
}

func (f *follower) answer(rows []mysql.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, r := range rows {
		for _, w := range f.waiters[r.ID] {
			if w.settled(r) {
				select {
				case w.found <- r:
				default: // answered before
				}
			}
		}
	}
}

// holds are the answers that wait. A caller may take a place as long as more are free than it has (the dynamic
// thresholds of Choudhury and Hahne, 1998): alone it gets half of them, and of n callers that take all they can get,
// each gets one in n+1. So no callers, with any number of calls, keep the next one, such as the driver, from being
// waited for.
type holds struct {
	mu    sync.Mutex
	free  int
	taken map[string]int // by the caller's rate key
}

func newHolds(places int) *holds { return &holds{free: places, taken: map[string]int{}} }

// take takes a place for a caller; false if there is none for it.
func (h *holds) take(caller string) (release func(), ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.taken[caller] >= h.free {
		return nil, false
	}
	h.free--
	h.taken[caller]++
	return func() { h.release(caller) }, true
}

func (h *holds) release(caller string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.free++
	if h.taken[caller]--; h.taken[caller] == 0 {
		delete(h.taken, caller)
	}
}
