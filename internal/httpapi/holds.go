package httpapi

import "sync"

// holds are the answers that wait. A caller may take a place as long as more are free than it has (the dynamic
// thresholds of Choudhury and Hahne, 1998): alone it gets half of them, and of n callers that take all they can get,
// each gets one in n+1. So no callers, whatever they hold, keep the next one, such as the driver, from being waited
// for.
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
