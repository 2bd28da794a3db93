package gcs

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/certpurge/certpurge/internal/purge"
)

// call is one call of the client library: one request, or several if a listing has several pages or a try failed. All
// of it happens in one goroutine.
type call struct {
	bucket   *bucket
	pace     *pace
	nameLock *nameLock // of the object that is mutated; nil for reads
	name     string    // that nameLock locks
	pages    *listing  // that the pages belong to; nil for a call that reads none
	slot     bool      // held
	tries    int       // requests that were sent
	paid     bool      // the next request has its token
}

type callKey struct{}

// call admits one call and bounds its time. The time begins when the first request may be sent: waiting is no failure
// of the service.
func (s *Store) call(ctx context.Context, c *call, do func(context.Context) error) error {
	defer c.leave()
	if err := c.enter(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithValue(ctx, callKey{}, c), s.cfg.CallTimeout)
	defer cancel()
	return do(ctx)
}

// read is a call that mutates nothing.
func (b *bucket) read() *call { return &call{bucket: b, pace: b.reads} }

// readPages is a call that reads pages of a listing.
func (b *bucket) readPages(pages *listing) *call {
	return &call{bucket: b, pace: b.reads, pages: pages}
}

// enter waits for a slot and a token for one request. No slot is held while waiting for a token, so reads continue
// while deletes are held up.
func (c *call) enter(ctx context.Context) error {
	if c.nameLock == nil || time.Now().After(c.nameLock.next) {
		select {
		case c.bucket.slots <- struct{}{}:
			if c.slot = true; c.pace.take(false) {
				c.paid = true
				return nil
			}
			c.leave()
		default:
		}
	}
	return c.queue(ctx)
}

// queue is enter for a call that has to wait.
func (c *call) queue(ctx context.Context) error {
	defer c.pace.wait()()
	w, cancel := newWaiter(ctx, c)
	defer cancel()
	if c.nameLock != nil {
		if err := w.sleep(time.Until(c.nameLock.next)); err != nil {
			return c.timeoutError(err, true)
		}
	}
	if err := w.enter(c.bucket.slots); err != nil {
		return c.timeoutError(err, false)
	}
	if c.slot = true; c.pace.take(false) {
		c.paid = true
		return nil
	}
	c.leave()

	c.pace.queue(1)
	defer c.pace.queue(-1)
	if err := w.enter(c.pace.head); err != nil {
		return c.timeoutError(err, true)
	}
	defer func() { <-c.pace.head }()
	for {
		if wait := c.pace.untilToken(); wait > 0 {
			if err := w.sleep(wait); err != nil {
				return c.timeoutError(err, true)
			}
			continue
		}
		if err := w.enter(c.bucket.slots); err != nil {
			return c.timeoutError(err, false)
		}
		if c.slot = true; c.pace.take(true) {
			c.paid = true
			return nil
		}
		c.leave()
	}
}

// leave gives the slot back.
func (c *call) leave() {
	if c.slot {
		c.slot = false
		<-c.bucket.slots
	}
}

// request makes sure that one more request may be sent.
func (c *call) request(ctx context.Context) error {
	if !c.paid {
		c.leave()
		if err := c.enter(ctx); err != nil {
			return err
		}
	}
	c.paid = false
	return nil
}

// timeoutError explains why no request was admitted in time. If the service has asked for less, that is no failure.
func (c *call) timeoutError(err error, throttled bool) error {
	switch {
	case !errors.Is(err, errNotAdmitted):
		return err
	case throttled || c.pace.slowed():
		return &purge.Error{Class: purge.Throttled, Text: fmt.Sprintf("bucket %q: no request could be sent in time, "+
			"because the rate is limited", c.bucket.name)}
	default:
		return &purge.Error{Class: purge.Transient, Text: fmt.Sprintf("bucket %q: no request could be sent in time, "+
			"because the calls under way did not end", c.bucket.name)}
	}
}

// waiter waits for an admission. It gives up early enough for the attempt to record that none came.
type waiter struct {
	ctx  context.Context // it lives as long as one call of a function
	stop <-chan struct{}
}

var errNotAdmitted = errors.New("waited until the time was over")

func newWaiter(ctx context.Context, c *call) (waiter, context.CancelFunc) {
	var w waiter
	if c.nameLock != nil {
		w.stop = purge.StopSignal(ctx) // nothing more is deleted after it; reads may still prove what was
	}
	deadline, ok := ctx.Deadline()
	if !ok {
		w.ctx = ctx
		return w, func() {}
	}
	spare := min(5*time.Second, time.Until(deadline)/10)
	var cancel context.CancelFunc
	w.ctx, cancel = context.WithDeadlineCause(ctx, deadline.Add(-spare), errNotAdmitted)
	return w, cancel
}

// enter waits for a place in ch.
func (w waiter) enter(ch chan<- struct{}) error {
	select {
	case ch <- struct{}{}:
		return nil
	case <-w.stop:
		return purge.ErrStopped
	case <-w.ctx.Done():
		return context.Cause(w.ctx)
	}
}

func (w waiter) sleep(d time.Duration) error {
	if d <= 0 {
		return nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-w.stop:
		return purge.ErrStopped
	case <-w.ctx.Done():
		return context.Cause(w.ctx)
	}
}
