package httpapi

import "sync"

// holds are the answers that wait. Each caller has a share of the places that leaves one of the same size for a caller who
// has none yet, so that no caller, whatever it holds, keeps the driver from being waited for.
type holds struct {
	places int

	mu    sync.Mutex
	taken map[string]int // by the caller's rate key
}

// take takes a place for a caller; false if its share is used up.
func (h *holds) take(caller string) (release func(), ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	callers := len(h.taken)
	if h.taken[caller] == 0 {
		callers++
	}
	if h.taken[caller] >= max(1, h.places/(callers+1)) || h.all() >= h.places {
		return nil, false
	}
	if h.taken == nil {
		h.taken = map[string]int{}
	}
	h.taken[caller]++
	return func() { h.release(caller) }, true
}

func (h *holds) release(caller string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.taken[caller]--; h.taken[caller] == 0 {
		delete(h.taken, caller)
	}
}

func (h *holds) all() int {
	n := 0
	for _, taken := range h.taken {
		n += taken
	}
	return n
}
