package purge

import "sync"

// pool is the goroutines of one attempt. They stay from one step of the attempt to the next, because a new goroutine
// begins with a small stack, which is copied several times until a call to the store fits: that took a twelfth of a
// worker's processor time.
type pool struct{ jobs chan func() }

func newPool() pool { return pool{make(chan func())} }

// stop stops the workers.
func (p pool) stop() { close(p.jobs) }

// do runs a job on an idle worker, or on a new one.
func (p pool) do(job func()) {
	select {
	case p.jobs <- job:
	default:
		go func() {
			job()
			for next := range p.jobs {
				next()
			}
		}()
	}
}

// each calls do for all items at the same time, for one of them in the caller's goroutine, and waits for the last. The
// store limits how many calls are under way.
func each[T any](p pool, items []T, do func(T)) {
	if len(items) == 0 {
		return
	}
	var wg sync.WaitGroup
	for _, item := range items[1:] {
		wg.Add(1)
		p.do(func() {
			defer wg.Done()
			do(item)
		})
	}
	do(items[0])
	wg.Wait()
}
