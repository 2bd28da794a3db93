package gcs

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// lanes lets one mutation of an object follow the other. The service takes about one mutation a second of the same name
// (https://cloud.google.com/storage/quotas#objects), so the generations of one object, all at once, would mostly be
// refused.
type lanes struct {
	mu     sync.Mutex
	byName map[string]*lane
}

// lane is the queue before one object.
type lane struct {
	turn  chan struct{} // holds one: whoever mutates the object
	users int           // who has the turn or waits for it; guarded by lanes.mu
	slow  atomic.Bool   // the service has refused a mutation of this name for its rate
	next  time.Time     // no request before this; belongs to whoever has the turn
}

// mutationGap is the time between two mutations of one name, once the service has insisted.
const mutationGap = time.Second

// mutate waits until nobody else mutates the object and returns the call that may, and what lets the next one do so.
func (b *bucket) mutate(ctx context.Context, name string) (c *call, done func(), err error) {
	b.lanes.mu.Lock()
	l := b.lanes.byName[name]
	if l == nil {
		l = &lane{turn: make(chan struct{}, 1)}
		b.lanes.byName[name] = l
	}
	l.users++
	b.lanes.mu.Unlock()
	leave := func() {
		b.lanes.mu.Lock()
		defer b.lanes.mu.Unlock()
		if l.users--; l.users == 0 {
			delete(b.lanes.byName, name)
		}
	}
	c = &call{bucket: b, pace: b.deletes, lane: l}
	select {
	case l.turn <- struct{}{}:
	default:
		defer b.deletes.wait()()
		w, cancel := newWaiter(ctx, c)
		defer cancel()
		if err := w.enter(l.turn); err != nil {
			leave()
			return nil, nil, c.late(err, l.slow.Load())
		}
	}
	return c, func() { <-l.turn; leave() }, nil
}
