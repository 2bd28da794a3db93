package gcs

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// nameLocks serializes the mutations of each object. The service accepts about one mutation a second of the same name
// (https://cloud.google.com/storage/quotas#objects), so concurrent deletes of the generations of one object would
// mostly be refused.
type nameLocks struct {
	mu     sync.Mutex
	byName map[string]*nameLock
}

// nameLock is the queue before one object.
type nameLock struct {
	admission chan struct{} // holds one: the call that mutates the object
	users     int           // calls that are admitted or wait; guarded by nameLocks.mu
	slow      atomic.Bool   // the service has refused a mutation of this name for its rate
	next      time.Time     // no request before this; belongs to the call that is admitted
}

// mutationGap is the time between two mutations of one name, once the service has refused one.
const mutationGap = time.Second

// mutate waits until no other call mutates the object and returns the call that may, until its unlock.
func (b *bucket) mutate(ctx context.Context, name string) (*call, error) {
	c := &call{bucket: b, pace: b.deletes, name: name}
	b.nameLocks.mu.Lock()
	l := b.nameLocks.byName[name]
	if l == nil {
		l = &nameLock{admission: make(chan struct{}, 1)}
		b.nameLocks.byName[name] = l
	}
	l.users++
	b.nameLocks.mu.Unlock()
	c.nameLock = l
	select {
	case l.admission <- struct{}{}:
	default:
		defer b.deletes.wait()()
		w, cancel := newWaiter(ctx, c)
		defer cancel()
		if err := w.enter(l.admission); err != nil {
			c.forget()
			return nil, c.timeoutError(err, l.slow.Load())
		}
	}
	return c, nil
}

// unlock lets the next call mutate the object.
func (c *call) unlock() {
	<-c.nameLock.admission
	c.forget()
}

// forget removes the lock when no call needs it.
func (c *call) forget() {
	locks := &c.bucket.nameLocks
	locks.mu.Lock()
	defer locks.mu.Unlock()
	if c.nameLock.users--; c.nameLock.users == 0 {
		delete(locks.byName, c.name)
	}
}
