package console

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/certpurge/certpurge/internal/purge"
)

// What the charts show: a day, in slots of five minutes.
const (
	slotTime = 5 * time.Minute
	slots    = int(24 * time.Hour / slotTime)
)

// history is what ended within the last day, by slot. The first reading counts all of it, an hour at a time; later ones
// count only what is new, and the slots before it once more, because a request may be written a little after its end.
type history struct {
	begin time.Time // of the first slot
	ended []map[purge.State]int64
}

// lateTime is how far back a slot is counted again: far above what a transaction may take, and clocks differ.
const lateTime = 2 * slotTime

func (c *Console) readHistory(ctx context.Context) (history, error) {
	end := c.Now().UTC().Truncate(slotTime).Add(slotTime)
	next := history{begin: end.Add(-time.Duration(slots) * slotTime), ended: make([]map[purge.State]int64, slots)}
	from := next.begin
	if before := c.lastHistory; !before.begin.IsZero() {
		from = before.begin.Add(time.Duration(slots) * slotTime).Add(-slotTime - lateTime)
		if from.Before(next.begin) {
			from = next.begin
		}
		shift := int(next.begin.Sub(before.begin) / slotTime)
		for i := 0; i+shift < slots; i++ {
			next.ended[i] = before.ended[i+shift]
		}
	}
	for at := from; at.Before(end); at = at.Add(time.Hour) {
		before := at.Add(time.Hour)
		if before.After(end) {
			before = end
		}
		counts, err := c.sources.Ledger.EndedSince(ctx, at, before, slotTime)
		if err != nil {
			return history{}, err
		}
		first := int(at.Sub(next.begin) / slotTime)
		for i := first; i < first+int(before.Sub(at)/slotTime); i++ {
			next.ended[i] = map[purge.State]int64{}
		}
		for _, e := range counts {
			if i := first + e.Slot; i >= 0 && i < slots {
				next.ended[i][e.State] += e.Count
			}
		}
	}
	c.lastHistory = next
	return next, nil
}

// sample is how it stood at one time, as this process saw it.
type sample struct {
	at      time.Time
	open    int64
	oldest  time.Duration // age of the oldest request that is due; 0 if there is none
	rate    float64       // deletes a second that all buckets of this worker may have now
	ceiling float64
}

// samples are those of the last day: one every sampleTime, from the first visit on.
type samples struct {
	mu    sync.Mutex
	begun bool
	all   []sample
}

const sampleTime = time.Minute

// sampleOn begins to sample, once.
func (c *Console) sampleOn() {
	c.samples.mu.Lock()
	defer c.samples.mu.Unlock()
	if c.samples.begun || !c.begin() {
		return
	}
	c.samples.begun = true
	go func() {
		defer c.end()
		for more := true; more; more = purge.Sleep(c.ctx, sampleTime) {
			c.sample(c.ctx)
		}
	}()
}

func (c *Console) sample(ctx context.Context) {
	l, t := c.ledger.get(ctx, c), c.tallies.get(ctx, c)
	if !l.Known() || !t.Known() || l.Err != nil || t.Err != nil {
		return // a gap says that nothing is known
	}
	var v view
	v.addLedger(l.Value, t.Value)
	s := sample{at: c.Now().UTC(), open: v.Open}
	if v.OldestDue != nil {
		s.oldest = s.at.Sub(*v.OldestDue)
	}
	if c.sources.Paces != nil {
		for _, p := range c.sources.Paces() {
			if p.Kind == "delete" {
				s.rate, s.ceiling = s.rate+p.Rate, s.ceiling+p.Ceiling
			}
		}
	}
	c.samples.mu.Lock()
	defer c.samples.mu.Unlock()
	c.samples.all = append(c.samples.all, s)
	if over := len(c.samples.all) - int(24*time.Hour/sampleTime); over > 0 {
		c.samples.all = slices.Clone(c.samples.all[over:])
	}
}

func (s *samples) list() []sample {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.all)
}
