package purge

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"
)

// Answer is the result of one item of a batch.
type Answer[R any] struct {
	Value R
	Err   error
}

// Batcher runs calls that come at the same time together. A call that comes alone runs at once; those that come while
// others are under way wait for them and are run as one batch, so that the batches grow with the load and no call waits
// for one to fill. Make it with NewBatcher; it is safe for concurrent use.
type Batcher[T, R any] struct {
	run     RunBatch[T, R]
	options BatchOptions[T]

	mu      sync.Mutex
	waiting []*batchCall[T, R]
	running int
}

// RunBatch runs items, of which there is at least one, and gives an answer for each, in their order. An error means
// that nothing was done: the items are then run again, each by itself. So is an item whose answer is ErrAlone. alone
// means that an item is run by itself, for the second time: it may wait for locks, because no other item waits for it.
type RunBatch[T, R any] func(ctx context.Context, items []T, alone bool) ([]Answer[R], error)

// ErrAlone is the answer to an item that has to be run by itself.
var ErrAlone = errors.New("to be run alone")

// BatchOptions are those of NewBatcher.
type BatchOptions[T any] struct {
	Size    func(T) int // how much room an item takes; nil for one
	Max     int         // of a batch, in sizes
	Workers int         // how many batches may be under way
	// Semaphore limits how many batches run at the same time; nil for no limit. Batchers that share one of capacity 1 run
	// one batch at a time, and calls of the others gather meanwhile.
	Semaphore chan struct{}
	Limit     time.Duration // of a batch of several calls, which ignores the deadlines of their contexts
}

type batchCall[T, R any] struct {
	ctx    context.Context //nolint:containedctx // of the caller, for a call that runs alone
	item   T
	answer chan Answer[R] // holds one, so that no batch waits for a caller who has left
}

// NewBatcher makes a Batcher.
func NewBatcher[T, R any](options BatchOptions[T], run RunBatch[T, R]) *Batcher[T, R] {
	if options.Size == nil {
		options.Size = func(T) int { return 1 }
	}
	options.Max, options.Workers = max(1, options.Max), max(1, options.Workers)
	return &Batcher[T, R]{run: run, options: options}
}

// Do runs one item, alone or with others. A caller whose context ends leaves without an answer; its item may be run all
// the same.
func (b *Batcher[T, R]) Do(ctx context.Context, item T) (R, error) {
	c := &batchCall[T, R]{ctx: ctx, item: item, answer: make(chan Answer[R], 1)}
	b.mu.Lock()
	b.waiting = append(b.waiting, c)
	if b.running < b.options.Workers {
		b.running++
		go b.work()
	}
	b.mu.Unlock()
	select {
	case a := <-c.answer:
		return a.Value, a.Err
	case <-ctx.Done():
		b.mu.Lock()
		b.waiting = slices.DeleteFunc(b.waiting, func(other *batchCall[T, R]) bool { return other == c })
		b.mu.Unlock()
		var none R
		return none, context.Cause(ctx)
	}
}

// work runs batches until no call waits.
func (b *Batcher[T, R]) work() {
	for b.batch() {
	}
}

// batch runs the calls that wait, as many as fit. Where there are none, it returns false.
func (b *Batcher[T, R]) batch() bool {
	if b.options.Semaphore != nil {
		b.options.Semaphore <- struct{}{}
	}
	calls := b.next()
	var answers []Answer[R]
	if len(calls) > 0 {
		answers = b.together(calls)
	}
	if b.options.Semaphore != nil {
		<-b.options.Semaphore
	}
	for i, c := range calls {
		if errors.Is(answers[i].Err, ErrAlone) {
			go c.runAlone(b.run)
		} else {
			c.answer <- answers[i]
		}
	}
	return len(calls) > 0
}

func (b *Batcher[T, R]) together(calls []*batchCall[T, R]) []Answer[R] {
	ctx := calls[0].ctx
	if len(calls) > 1 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), b.options.Limit)
		defer cancel()
	}
	items := make([]T, len(calls))
	for i, c := range calls {
		items[i] = c.item
	}
	answers, err := b.run(ctx, items, false)
	switch {
	case err != nil && len(calls) == 1:
		return []Answer[R]{{Err: err}}
	case err != nil:
		return slices.Repeat([]Answer[R]{{Err: ErrAlone}}, len(calls))
	default:
		return answers
	}
}

func (c *batchCall[T, R]) runAlone(run RunBatch[T, R]) {
	answers, err := run(c.ctx, []T{c.item}, true)
	if err != nil {
		answers = []Answer[R]{{Err: err}}
	}
	c.answer <- answers[0]
}

// next takes the calls that have waited longest, as many as fit a batch. Where there are none, the worker ends.
func (b *Batcher[T, R]) next() []*batchCall[T, R] {
	b.mu.Lock()
	defer b.mu.Unlock()
	size, n := 0, 0
	for n < len(b.waiting) && (n == 0 || size+b.options.Size(b.waiting[n].item) <= b.options.Max) {
		size += b.options.Size(b.waiting[n].item)
		n++
	}
	calls := slices.Clone(b.waiting[:n])
	b.waiting = slices.Delete(b.waiting, 0, n)
	if n == 0 {
		b.running--
	}
	return calls
}
