package chaos

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// tally is what is counted during the run.
type tally struct {
	commands atomic.Int64 // enqueuers started
	lists    atomic.Int64 // of users, written for backfills
	repeated atomic.Int64 // enqueue commands repeated because they failed, as an operator would
	restarts atomic.Int64 // workers started again, for any reason

	mu         sync.Mutex
	lines      map[string]*Line // by fault
	current    []string         // faults at work
	violations []string
	seen       map[string]bool
	more       int // violations that are not described
}

// Line is one fault of the report.
type Line struct {
	Fault      string  `json:"fault"`
	Episodes   int     `json:"episodes"`   // alone and mixed
	Injected   int     `json:"injected"`   // times: answers of the bucket, kills, restarts and so on
	Users      int     `json:"users"`      // whose purge was asked for during its episodes
	Retries    int     `json:"retries"`    // attempts of these users' requests beyond the first
	Violations int     `json:"violations"` // seen during its episodes
	Seconds    float64 `json:"seconds"`    // of its episodes
	Skipped    bool    `json:"skipped,omitempty"`

	members map[int]bool
}

func newTally(faults []fault) *tally {
	b := &tally{lines: map[string]*Line{}, seen: map[string]bool{}}
	for _, f := range faults {
		b.lines[f.name] = &Line{Fault: f.name, members: map[int]bool{}}
	}
	return b
}

// hit counts injections of a fault.
func (b *tally) hit(name string, times int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lines[name].Injected += times
}

// begin opens an episode.
func (b *tally) begin(names []string, users []int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.current = names
	for _, name := range names {
		b.lines[name].Episodes++
		for _, user := range users {
			b.lines[name].members[user] = true
		}
	}
}

// end closes it.
func (b *tally) end(took time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, name := range b.current {
		b.lines[name].Seconds += took.Seconds()
	}
	b.current = nil
}

// maxViolations is how many are described; all are counted.
const maxViolations = 50

// violate writes down that something did not hold. The same sentence counts once.
func (b *tally) violate(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.seen[text] {
		return
	}
	b.seen[text] = true
	for _, name := range b.current {
		b.lines[name].Violations++
	}
	if len(b.violations) == maxViolations {
		b.more++
		return
	}
	b.violations = append(b.violations, text)
}
