package gcs

import (
	"sync"
	"time"

	"github.com/certpurge/certpurge/internal/purge"
)

// restorable holds what was deleted in directories while their bucket had soft delete. It is used only after the policy
// was switched off: the service then lists none of it, although each object stays restorable for its time.
type restorable struct {
	mu    sync.Mutex
	byDir map[purge.Directory][]purge.SoftDeletedObject
}

func (r *restorable) add(g purge.Generation, until time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.byDir == nil {
		r.byDir = map[purge.Directory][]purge.SoftDeletedObject{}
	}
	r.byDir[g.Directory] = append(r.byDir[g.Directory],
		purge.SoftDeletedObject{Name: g.Name, Number: g.Number, Size: g.Size, Until: until})
}

func (r *restorable) has(dir purge.Directory) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.byDir[dir]) > 0
}

// take returns what can still be restored in a directory, and forgets it.
func (r *restorable) take(dir purge.Directory, now time.Time) (left []purge.SoftDeletedObject) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, o := range r.byDir[dir] {
		if o.Until.After(now) {
			left = append(left, o)
		}
	}
	delete(r.byDir, dir)
	return left
}
