package console

import (
	"context"
	"sync"
	"time"
)

// cached is a value that is read again when a visitor needs it and it is too old. However many visitors there are, it
// is read once.
type cached[T any] struct {
	load    func(context.Context) (T, error)
	life    time.Duration // how long it is good; longer if reading it takes long
	limit   time.Duration // of reading it
	waiting time.Duration // how long a visitor waits for a newer one

	mu      sync.Mutex
	value   T
	at      time.Time // when it was read; zero if it never was
	err     error     // of the latest reading; the value is then an older one
	good    time.Time // until when it is not read again
	reading chan struct{}
}

// costShare bounds what a value may cost: reading takes at most this share of the time. Every process reads for itself,
// and there may be dozens.
const costShare = 50

// reading is what a check of a value gives.
type reading[T any] struct {
	Value T
	At    time.Time // zero if it was never read
	Err   error
	Busy  bool // it is being read
}

// Known reports whether there is a value.
func (r reading[T]) Known() bool { return !r.At.IsZero() }

// get returns the value, and has it read again in the background if it is old.
func (c *cached[T]) get(ctx context.Context, page *Console) reading[T] {
	c.mu.Lock()
	if c.reading == nil && !page.Now().Before(c.good) && page.begin() {
		done := make(chan struct{})
		c.reading = done
		go c.read(page, done) //nolint:contextcheck // it outlives the look that began it
	}
	wait := c.reading
	c.mu.Unlock()
	if wait != nil && c.waiting > 0 {
		timer := time.NewTimer(c.waiting)
		defer timer.Stop()
		select {
		case <-wait:
		case <-timer.C:
		case <-ctx.Done():
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return reading[T]{Value: c.value, At: c.at, Err: c.err, Busy: c.reading != nil}
}

func (c *cached[T]) read(page *Console, done chan struct{}) {
	defer page.end()
	ctx, cancel := context.WithTimeout(page.ctx, c.limit)
	defer cancel()
	begun := page.Now()
	value, err := c.load(ctx)
	c.mu.Lock()
	defer c.mu.Unlock()
	now := page.Now()
	c.good = now.Add(c.life)
	if c.err = err; err == nil {
		c.value, c.at = value, now
		c.good = now.Add(max(c.life, costShare*now.Sub(begun)))
	}
	c.reading = nil
	close(done)
}
