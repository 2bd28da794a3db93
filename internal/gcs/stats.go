package gcs

import (
	"time"

	"github.com/certpurge/certpurge/internal/purge"
)

// BucketStats are the figures of the requests to one bucket, at one moment and since the start.
type BucketStats struct {
	Bucket                string
	InFlight, MaxInFlight int
	Deletes, Reads        PaceStats
}

// PaceStats says how fast requests of one kind may go.
type PaceStats struct {
	Rate, Ceiling float64       // requests a second, now and at most; both 0 without a limit
	Waiting       int           // calls that wait for an admission
	Throttled     int64         // answers that asked for fewer requests
	Halved        int64         // how often that halved the rate
	Waited        time.Duration // of all calls that were admitted or have given up
}

// Stats returns the figures of every bucket, in the order of the locations. It sends no request.
func (s *Store) Stats() []BucketStats {
	var all []BucketStats
	for _, name := range s.cfg.Locations.Buckets() {
		b := s.buckets[name]
		all = append(all, BucketStats{
			Bucket: name, InFlight: len(b.slots), MaxInFlight: cap(b.slots), Deletes: b.deletes.stats(), Reads: b.reads.stats(),
		})
	}
	return all
}

// Settings returns the settings of the buckets as they were last read, in the order of the locations, also of buckets
// that the store refuses. It sends no request; a bucket whose settings were never read is left out.
func (s *Store) Settings() []purge.BucketSettings {
	var all []purge.BucketSettings
	for _, name := range s.cfg.Locations.Buckets() {
		if latest := s.buckets[name].latest.Load(); latest != nil {
			all = append(all, *latest)
		}
	}
	return all
}

func (p *pace) stats() PaceStats {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.grow(time.Now())
	return PaceStats{
		Rate: p.rate, Ceiling: float64(p.limits.Ceiling), Waiting: p.waiting, Throttled: p.answers, Halved: p.halvings,
		Waited: p.waited,
	}
}
