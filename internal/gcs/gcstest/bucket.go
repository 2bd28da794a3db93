package gcstest

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"github.com/tidwall/btree"
)

// stamp is a time in microseconds since 1970, the resolution of a generation; 0 is "not set". It is a third of the size
// of a time.Time, and there are seven in every stored generation.
type stamp int64

func at(t time.Time) stamp {
	if t.IsZero() {
		return 0
	}
	return stamp(t.UnixMicro())
}

func (s stamp) time() time.Time {
	if s == 0 {
		return time.Time{}
	}
	return time.UnixMicro(int64(s)).UTC()
}

func (s stamp) add(d time.Duration) stamp { return s + stamp(d.Microseconds()) }

// version is one stored generation of one object. data is never changed once stored, so that an answer can be written
// from it without a lock.
type version struct {
	generation, metageneration int64
	data                       []byte
	contentType, cacheControl  string
	metadata                   map[string]string // Replaced by a change, as data is.
	temporaryHold              bool
	eventBasedHold             bool
	created, updated           stamp
	eventReleased              stamp // Last release of an event-based hold; the bucket's retention counts from there.
	retainUntil                stamp // The object's own retention.
	unlocked                   bool  // That retention may be shortened and taken away.
	noncurrent                 stamp // When it stopped being live; 0 while it is.
	softDeleted, hardDelete    stamp // When it was deleted, and when it vanishes; 0 while it is not soft-deleted.
}

// versions are the generations under one name, oldest first. Only the last one can be live.
type versions struct {
	all    []*version
	folder bool // A folder of this name exists, in a copy of the tree that a listing made.
}

func (vs *versions) live() *version {
	if vs == nil || len(vs.all) == 0 {
		return nil
	}
	if last := vs.all[len(vs.all)-1]; last.noncurrent == 0 {
		return last
	}
	return nil
}

// pick returns the generation asked for, or the live one when generation is negative; nil when there is none.
func (vs *versions) pick(generation int64) *version {
	if generation < 0 {
		return vs.live()
	}
	if vs != nil {
		for _, v := range vs.all {
			if v.generation == generation {
				return v
			}
		}
	}
	return nil
}

// bucket is the state of one bucket. Everything in it is guarded by mu, which is not held while an answer is written or
// waiting. Both trees are ordered by name, so that a listing costs O(log n) and its answer.
type bucket struct {
	mu              sync.RWMutex
	cfg             BucketConfig
	metageneration  int64
	created         stamp
	updated         stamp
	softDeleteSince stamp
	retentionSince  stamp
	lastGeneration  int64
	stored          btree.Map[string, *versions]         // Live and noncurrent generations. No entry is empty.
	softDeleted     btree.Map[string, *versions]         // Deleted ones that can still be restored, expired ones included.
	folders         map[string]*btree.Map[string, stamp] // By kind, when each was made.
	replays         replays
}

func newBucket(cfg BucketConfig, now stamp) *bucket {
	return &bucket{
		cfg: cfg, metageneration: 1, created: now, updated: now, softDeleteSince: now, retentionSince: now,
		folders: map[string]*btree.Map[string, stamp]{folderKind: {}, managedKind: {}},
	}
}

// settings returns a copy of the configuration.
func (b *bucket) settings() BucketConfig {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return b.cfg
}

// nextGeneration follows the clock, as the service's generations do, but never repeats.
func (b *bucket) nextGeneration(now stamp) int64 {
	b.lastGeneration = max(b.lastGeneration+1, int64(now))
	return b.lastGeneration
}

// retainedUntil is the later of the bucket's and the object's retention, 0 if there is none. Under an event-based hold
// the time is not known yet, and the hold itself protects the object.
func (b *bucket) retainedUntil(v *version) stamp {
	if v.eventBasedHold {
		return 0
	}
	until := v.retainUntil
	if b.cfg.Retention > 0 {
		until = max(until, max(v.created, v.eventReleased).add(b.cfg.Retention))
	}
	return until
}

// refuse returns why a generation may not be touched now, or nil. archiving is a live object becoming noncurrent, which
// a hold forbids and retention does not.
func (b *bucket) refuse(now stamp, bucketName, name string, v *version, archiving bool) *Error {
	switch {
	case v.temporaryHold:
		return errHeld(bucketName, name, "Temporary")
	case v.eventBasedHold:
		return errHeld(bucketName, name, "Event-Based")
	case archiving:
		return nil
	}
	if until := b.retainedUntil(v); now < until {
		return errRetained(bucketName, name, until)
	}
	return nil
}

// drop takes a generation out of the stored ones, into the soft-deleted area if the bucket has a policy now.
func (b *bucket) drop(now stamp, name string, vs *versions, v *version) {
	vs.all = slices.DeleteFunc(vs.all, func(o *version) bool { return o == v })
	if len(vs.all) == 0 {
		b.stored.Delete(name)
	}
	if b.cfg.SoftDelete <= 0 {
		return
	}
	v.softDeleted, v.hardDelete = now, now.add(b.cfg.SoftDelete)
	soft, ok := b.softDeleted.Get(name)
	if !ok {
		soft = &versions{}
		b.softDeleted.Set(name, soft)
	}
	// The expired ones of this name are forgotten on the way, which is all the sweeping there is.
	soft.all = append(slices.DeleteFunc(soft.all, func(o *version) bool { return now >= o.hardDelete }), v)
	slices.SortFunc(soft.all, func(x, y *version) int { return cmp.Compare(x.generation, y.generation) })
}
