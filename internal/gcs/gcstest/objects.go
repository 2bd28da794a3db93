package gcstest

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// ObjectOptions is what an object may be stored with.
type ObjectOptions struct {
	ContentType  string
	CacheControl string
	// TemporaryHold and EventBasedHold forbid deleting, overwriting and archiving until they are released.
	TemporaryHold, EventBasedHold bool
	// RetainUntil is the object's own retention; the bucket's may be longer. Zero is none.
	RetainUntil time.Time
}

// Object is one stored generation, for checks that do not trust the API under test.
type Object struct {
	Bucket, Name                  string
	Generation                    int64 // Microseconds since 1970, made unique.
	Size                          int64 // Bytes.
	ContentType, CacheControl     string
	Created                       time.Time
	TemporaryHold, EventBasedHold bool
	// RetainedUntil is when bucket and object retention end, zero without either, or while an event-based hold defers it.
	RetainedUntil time.Time
	// Live is true for the current generation. A generation that is neither live nor soft-deleted is noncurrent.
	Live bool
	// NoncurrentSince is when the generation stopped being live, zero if it never did.
	NoncurrentSince time.Time
	// SoftDeletedUntil is when a soft-deleted generation vanishes, zero if it is not soft-deleted.
	SoftDeletedUntil time.Time
}

// Put stores an object and returns its generation. It is the way to seed a bucket, and obeys what an upload to the
// service obeys: the live generation becomes noncurrent in a versioned bucket and is deleted, or soft-deleted, in
// another; holds and retention forbid that. data is kept, not copied, so one slice may back many objects; the caller
// must not change it. An error wraps [*Error].
func (s *Server) Put(bucket, name string, data []byte, o ObjectOptions) (generation int64, err error) {
	b, _, refused := s.lookup(bucket)
	if refused == nil && name == "" {
		refused = &Error{Code: http.StatusBadRequest, Reason: "required", Message: "Required"}
	}
	if refused == nil {
		generation, refused = b.put(at(s.now()), bucket, name, data, o)
	}
	if refused != nil {
		return 0, fmt.Errorf("putting %s/%s: %w", bucket, name, refused)
	}
	return generation, nil
}

// SetHold sets or releases the holds of a live object. The release of an event-based hold starts the bucket's retention
// period anew. An error wraps [*Error] with code 404.
func (s *Server) SetHold(bucket, name string, temporary, eventBased bool) error {
	return s.SetGenerationHold(bucket, name, -1, temporary, eventBased)
}

// SetGenerationHold is [Server.SetHold] for one generation, which may be a noncurrent one. A negative generation is the
// live one.
func (s *Server) SetGenerationHold(bucket, name string, generation int64, temporary, eventBased bool) error {
	now := at(s.now())
	return s.amend(bucket, name, generation, func(v *version) {
		if v.eventBasedHold && !eventBased {
			v.eventReleased = now
		}
		v.temporaryHold, v.eventBasedHold = temporary, eventBased
	})
}

// Retain sets the retention of a live object, which the service would only let grow once it is locked; the zero time
// takes it away. An error wraps [*Error] with code 404.
func (s *Server) Retain(bucket, name string, until time.Time) error {
	return s.amend(bucket, name, -1, func(v *version) { v.retainUntil = at(until) })
}

func (s *Server) amend(bucket, name string, generation int64, change func(*version)) error {
	b, _, refused := s.lookup(bucket)
	if refused == nil && !b.amend(at(s.now()), name, generation, change) {
		refused = errNoObject(bucket, name)
	}
	if refused != nil {
		return fmt.Errorf("changing %s/%s: %w", bucket, name, refused)
	}
	return nil
}

// Objects returns every generation stored under names with a prefix, ordered by name, then generation: live, noncurrent
// and soft-deleted ones, also those soft-deleted before the policy was switched off, which no listing shows. It ignores
// permissions and faults. A bucket that does not exist has none. It costs time and memory for every generation it
// returns.
func (s *Server) Objects(bucket, prefix string) []Object {
	b, _, refused := s.lookup(bucket)
	if refused != nil {
		return nil
	}
	now := at(s.now())
	var found []Object
	b.mu.RLock()
	defer b.mu.RUnlock()
	collect := func(name string, vs *versions) bool {
		if !strings.HasPrefix(name, prefix) {
			return false
		}
		for _, v := range vs.all {
			if v.softDeleted == 0 || now < v.hardDelete {
				found = append(found, b.object(bucket, name, v))
			}
		}
		return true
	}
	b.stored.Ascend(prefix, collect)
	stored := len(found)
	b.softDeleted.Ascend(prefix, collect)
	if len(found) > stored { // The first part is in order already.
		slices.SortFunc(found, func(x, y Object) int {
			return cmp.Or(cmp.Compare(x.Name, y.Name), cmp.Compare(x.Generation, y.Generation))
		})
	}
	return found
}

func (b *bucket) object(bucketName, name string, v *version) Object {
	return Object{
		Bucket: bucketName, Name: name, Generation: v.generation, Size: int64(len(v.data)),
		ContentType: v.contentType, CacheControl: v.cacheControl, Created: v.created.time(),
		TemporaryHold: v.temporaryHold, EventBasedHold: v.eventBasedHold, RetainedUntil: b.retainedUntil(v).time(),
		Live: v.live(), NoncurrentSince: v.noncurrent.time(), SoftDeletedUntil: v.hardDelete.time(),
	}
}
