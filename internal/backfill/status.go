package backfill

import (
	"sync"
	"time"
)

// Status is how far a run is. It is safe for concurrent use; make it with NewStatus.
type Status struct {
	mu  sync.Mutex
	now func() time.Time
	s   Snapshot
}

// Snapshot is a status at one moment.
type Snapshot struct {
	Elapsed  time.Duration
	Users    int     // submitted in this run
	Share    float64 // of the source, from 0 to 1; negative if unknown
	Held     bool    // the queue is full
	Stalled  bool    // no worker takes tasks
	Complete bool    // the source has come to its end
	Ended    Ended   // of the requests followed, if any
	Followed bool

	begun time.Time
	share float64 // where this run began
}

// NewStatus makes a status of a run that begins now.
func NewStatus(now func() time.Time) *Status {
	return &Status{now: now, s: Snapshot{Share: -1, share: -1, begun: now()}}
}

// Begin sets which part of the source earlier runs have submitted.
func (s *Status) Begin(share float64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.s.Share, s.s.share = share, share
}

func (s *Status) advance(sum Summary, share float64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.s.Users, s.s.Complete = sum.Users, sum.Complete
	if s.s.Share = share; sum.Complete {
		s.s.Share = 1
	}
}

func (s *Status) hold(held bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.s.Held = held
}

// SetStalled sets whether no worker takes tasks from the queue.
func (s *Status) SetStalled(stalled bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.s.Stalled = stalled
}

func (s *Status) follow(ended Ended) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.s.Ended, s.s.Followed = ended, true
}

// Now returns the status at this moment.
func (s *Status) Now() Snapshot {
	s.mu.Lock()
	defer s.mu.Unlock()
	snapshot := s.s
	snapshot.Elapsed = s.now().Sub(s.s.begun)
	return snapshot
}

// Rate is how many users a second were submitted.
func (s Snapshot) Rate() float64 {
	if s.Elapsed <= 0 {
		return 0
	}
	return float64(s.Users) / s.Elapsed.Seconds()
}

// Part is how much of the work is done, from 0 to 1: submitted, or, if requests are followed, ended. It is negative
// while unknown.
func (s Snapshot) Part() float64 {
	if s.Share < 0 || !s.Followed {
		return s.Share
	}
	if s.Users == 0 {
		return s.before()
	}
	return s.before() + (s.Share-s.before())*float64(s.Ended.All())/float64(s.Users)
}

// before is the part that was done when the run began.
func (s Snapshot) before() float64 { return max(0, s.share) }

// Remaining estimates the time until the end. It is negative while unknown, such as while the run waits for workers and
// none takes tasks.
func (s Snapshot) Remaining() time.Duration {
	part := s.Part() - s.before()
	if part <= 0 || s.Stalled && (s.Followed || s.Held) {
		return -1
	}
	return time.Duration(float64(s.Elapsed) * (1 - s.before() - part) / part)
}
