package gcstest

import "sync/atomic"

// Stats is what the server has done since it was made. Requests count when they arrive, also those that fail.
type Stats struct {
	// Requests by operation; Others are those of any other one.
	BucketGets, PermissionTests, Lists, Gets, Deletes, Others int64
	// Batches is batch requests. Their calls count as if each had come alone.
	Batches int64
	// ObjectsDeleted is generations that left the listings through a delete request: gone, or soft-deleted.
	ObjectsDeleted int64
	// ObjectsArchived is live objects that a delete request made noncurrent.
	ObjectsArchived int64
	// Replayed is deletes answered from an earlier one with the same idempotency token.
	Replayed int64
	// Faulted is requests that a [Fault] answered or reset; one that was only slowed down does not count.
	Faulted int64
	// InFlight is requests being served now; MaxInFlight is the most there ever were.
	InFlight, MaxInFlight int64
}

// Requests is the sum over all operations.
func (s Stats) Requests() int64 {
	return s.BucketGets + s.PermissionTests + s.Lists + s.Gets + s.Deletes + s.Others
}

// Stats returns the counters. They are read one by one, so while requests run they need not agree with each other.
func (s *Server) Stats() Stats {
	c := &s.stats
	return Stats{
		BucketGets: c.bucketGets.Load(), PermissionTests: c.permissionTests.Load(), Lists: c.lists.Load(),
		Batches: c.batches.Load(), Gets: c.gets.Load(), Deletes: c.deletes.Load(), Others: c.others.Load(),
		ObjectsDeleted: c.erased.Load(), ObjectsArchived: c.archived.Load(), Replayed: c.replayed.Load(),
		Faulted: c.faulted.Load(), InFlight: c.inFlight.Load(), MaxInFlight: c.maxInFlight.Load(),
	}
}

type counters struct {
	bucketGets, permissionTests, lists, gets, deletes, others, batches atomic.Int64
	erased, archived, replayed, faulted                                atomic.Int64
	inFlight, maxInFlight                                              atomic.Int64
}

func (c *counters) enter() {
	n := c.inFlight.Add(1)
	for {
		most := c.maxInFlight.Load()
		if n <= most || c.maxInFlight.CompareAndSwap(most, n) {
			return
		}
	}
}

func (c *counters) leave() { c.inFlight.Add(-1) }

func (c *counters) count(op string) {
	switch op {
	case OpBucketGet:
		c.bucketGets.Add(1)
	case OpTestPermissions:
		c.permissionTests.Add(1)
	case OpList:
		c.lists.Add(1)
	case OpGet:
		c.gets.Add(1)
	case OpDelete:
		c.deletes.Add(1)
	case OpBatch:
		c.batches.Add(1)
	default:
		c.others.Add(1)
	}
}

func (c *counters) deleted(done outcome) {
	switch done {
	case erased:
		c.erased.Add(1)
	case archived:
		c.archived.Add(1)
	case replayed:
		c.replayed.Add(1)
	}
}
