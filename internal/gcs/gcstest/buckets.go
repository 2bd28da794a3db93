package gcstest

import (
	"fmt"
	"maps"
	"time"
)

// BucketConfig is what can be set on a bucket. The zero value is a plain bucket: no versioning, no soft delete. A
// bucket made in the console has soft delete on, for 7 days.
type BucketConfig struct {
	// Versioning keeps overwritten objects, and those deleted without generation=, as noncurrent generations.
	Versioning bool
	// SoftDelete is how long deleted generations stay restorable; zero is off. The real service takes 7 to 90 days in
	// whole seconds. A change counts for later deletes only.
	SoftDelete time.Duration
	// Retention is how long after its creation a generation may not be deleted or overwritten; zero is off. A change
	// counts for existing objects, too.
	Retention time.Duration
	// DefaultEventBasedHold puts new objects under an event-based hold.
	DefaultEventBasedHold bool
	// Hierarchical keeps a folder for every directory in which an object is put (hierarchical namespace). The service
	// takes it when a bucket is made, and never later.
	Hierarchical bool
	// RequesterPays refuses requests that name no project to bill.
	RequesterPays bool
}

// CreateBucket makes an empty bucket. One of that name is replaced, with everything in it.
func (s *Server) CreateBucket(name string, cfg BucketConfig) {
	b := newBucket(cfg, at(s.now()))
	s.mu.Lock()
	defer s.mu.Unlock()
	s.buckets[name] = b
}

// UpdateBucket changes the settings of a bucket; change runs under the bucket's lock and must not call the server. A
// bucket that does not exist is an error wrapping [*Error] with code 404.
func (s *Server) UpdateBucket(name string, change func(*BucketConfig)) error {
	b, _, missing := s.lookup(name)
	if missing != nil {
		return fmt.Errorf("updating bucket %s: %w", name, missing)
	}
	now := at(s.now())
	b.mu.Lock()
	defer b.mu.Unlock()
	cfg := b.cfg
	if change(&cfg); cfg != b.cfg {
		b.configure(now, cfg)
	}
	return nil
}

func (b *bucket) configure(now stamp, cfg BucketConfig) {
	if b.cfg.SoftDelete != cfg.SoftDelete {
		b.softDeleteSince = now
	}
	if b.cfg.Retention != cfg.Retention {
		b.retentionSince = now
	}
	b.cfg, b.updated = cfg, now
	b.metageneration++
}

// DeleteBucket removes a bucket with everything in it, as a test of a missing bucket needs it; the service would refuse
// unless it were empty. A bucket that does not exist is left so.
func (s *Server) DeleteBucket(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.buckets, name)
	delete(s.denied, name)
}

// RenameBucket gives a bucket another name, with everything in it and the permissions denied on it. The service cannot
// do this; a test can, to take a bucket away and bring it back. A bucket that does not exist is an error wrapping
// [*Error] with code 404, a name that is taken one with code 409.
func (s *Server) RenameBucket(from, to string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, ok := s.buckets[from]
	if !ok {
		return fmt.Errorf("renaming bucket %s: %w", from, errNoBucket())
	}
	if _, taken := s.buckets[to]; taken {
		return fmt.Errorf("renaming bucket %s to %s: %w", from, to, errBucketTaken())
	}
	s.buckets[to], s.denied[to] = b, s.denied[from]
	delete(s.buckets, from)
	delete(s.denied, from)
	return nil
}

// Deny takes permissions on a bucket away from the caller. It works before the bucket exists.
func (s *Server) Deny(bucket string, permissions ...string) {
	s.setPermissions(bucket, true, permissions)
}

// Allow gives permissions back that [Server.Deny] took.
func (s *Server) Allow(bucket string, permissions ...string) {
	s.setPermissions(bucket, false, permissions)
}

func (s *Server) setPermissions(bucket string, denied bool, permissions []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	set := maps.Clone(s.denied[bucket])
	if set == nil {
		set = map[string]bool{}
	}
	for _, p := range permissions {
		set[p] = denied
	}
	s.denied[bucket] = set
}

// lookup returns a bucket and the permissions denied on it. A request continues with what it found, even if the bucket
// is renamed or deleted meanwhile.
func (s *Server) lookup(name string) (*bucket, map[string]bool, *Error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	b, ok := s.buckets[name]
	if !ok {
		return nil, nil, errNoBucket()
	}
	return b, s.denied[name], nil
}
