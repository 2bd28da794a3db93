package chaos

import (
	"maps"
	"slices"
	"sync"

	"github.com/certpurge/certpurge/internal/gcs/gcstest"
	"github.com/certpurge/certpurge/internal/sandbox/demo/dataset"
)

// storage is the emulator's fault plan, to which several faults contribute at the same time.
type storage struct {
	server *gcstest.Server
	seed   uint64

	mu     sync.Mutex
	active map[string][]gcstest.Fault // by the name of ours
}

// set replaces what one fault contributes; nothing takes it away.
func (s *storage) set(name string, plan ...gcstest.Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(plan) == 0 {
		delete(s.active, name)
	} else {
		s.active[name] = plan
	}
	var all []gcstest.Fault
	for _, key := range slices.Sorted(maps.Keys(s.active)) {
		all = append(all, s.active[key]...)
	}
	s.server.SetFaults(s.seed, all...)
}

// purged is the bucket with most of the files; the one that faults take away.
func purged() string { return dataset.Buckets()[0] }

// away is what it is called meanwhile.
func away() string { return purged() + "-away" }

// buckets knows under which name each bucket is, so that the observer never takes a renamed one for an empty one.
type buckets struct {
	server *gcstest.Server

	mu      sync.RWMutex
	renamed bool
}

func newBuckets(server *gcstest.Server) *buckets { return &buckets{server: server} }

// rename takes the bucket away, or brings it back.
func (b *buckets) rename(gone bool) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.renamed == gone {
		return nil
	}
	from, to := purged(), away()
	if !gone {
		from, to = to, from
	}
	if err := b.server.RenameBucket(from, to); err != nil {
		return err
	}
	b.renamed = gone
	return nil
}

// stored returns the first generation under a prefix of a bucket, also while the bucket is renamed.
func (b *buckets) stored(bucket, prefix string) (gcstest.Object, bool) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	if b.renamed && bucket == purged() {
		bucket = away()
	}
	found := b.server.Objects(bucket, prefix)
	if len(found) == 0 {
		return gcstest.Object{}, false
	}
	return found[0], true
}

// still calls look while every bucket has its own name and keeps it, and reports false if one has not.
func (b *buckets) still(look func()) bool {
	b.mu.RLock()
	defer b.mu.RUnlock()
	if b.renamed {
		return false
	}
	look()
	return true
}
