package demo

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/sandbox/demo/audit"
	"github.com/certpurge/certpurge/internal/sandbox/demo/dataset"
)

// ErrNotAsExpected means that the demo ran to its end and the check found something; the report says what.
var ErrNotAsExpected = errors.New("the check found that not everything is as it should be")

// Report is the outcome of a demo. All figures but the times come from the independent check.
type Report struct {
	Users   int            `json:"users"`   // requests; the four below add up to it
	Done    int            `json:"done"`    // everything erased and proven, or nothing to do
	Refused int            `json:"refused"` // not retiring
	Failed  int            `json:"failed"`
	Waiting int            `json:"waiting"` // for a date before which a file may not be deleted
	Reasons map[string]int `json:"reasons"` // requests by reason, of those that have one

	ObjectsErased     int `json:"objects_erased"` // stored generations of files
	ReferencesCleared int `json:"references_cleared"`
	// of retiring users, still there because something forbids their deletion
	ObjectsHeldBack    int `json:"objects_held_back"`
	ReferencesHeldBack int `json:"references_held_back"`

	ObjectsLeft           int `json:"objects_left"` // from here on to evidence_gaps all must be 0
	ReferencesLeft        int `json:"references_left"`
	HeldBackLost          int `json:"held_back_lost"`
	ForeignObjectsTouched int `json:"foreign_objects_touched"`
	ForeignRowsTouched    int `json:"foreign_rows_touched"`
	UnexpectedEnds        int `json:"unexpected_ends"`
	EvidenceGaps          int `json:"evidence_gaps"`

	OK       bool     `json:"ok"`
	Problems []string `json:"problems,omitempty"` // the first ones, with ids and without names

	Seed           uint64  `json:"seed"`
	Seconds        float64 `json:"seconds"` // from the first request to the last end
	UsersPerSecond float64 `json:"users_per_second"`
	TotalSeconds   float64 `json:"total_seconds"` // of the demo, servers and check included

	ends map[dataset.End]int // Users, by state and reason
}

// newReport takes over what the check found.
func newReport(f audit.Findings, seed uint64) Report {
	r := Report{
		Reasons: map[string]int{}, Seed: seed, ends: f.Ends,
		ObjectsErased: f.ObjectsErased, ReferencesCleared: f.ReferencesCleared,
		ObjectsHeldBack: f.ObjectsHeldBack, ReferencesHeldBack: f.ReferencesHeldBack,
		ObjectsLeft: f.ObjectsLeft, ReferencesLeft: f.ReferencesLeft, HeldBackLost: f.HeldBackLost,
		ForeignObjectsTouched: f.ForeignObjectsTouched, ForeignRowsTouched: f.ForeignRowsTouched,
		UnexpectedEnds: f.UnexpectedEnds, EvidenceGaps: f.EvidenceGaps,
		OK: f.OK(), Problems: f.Problems,
	}
	for end, n := range f.Ends {
		r.Users += n
		switch end.State {
		case purge.Done:
			r.Done += n
		case purge.Refused:
			r.Refused += n
		case purge.Failed:
			r.Failed += n
		default:
			r.Waiting += n
		}
		if end.Reason != purge.ReasonNone {
			r.Reasons[string(end.Reason)] += n
		}
	}
	return r
}

// took fills in the times.
func (r *Report) took(purging, total time.Duration) {
	r.Seconds, r.TotalSeconds = rounded(purging.Seconds()), rounded(total.Seconds())
	if purging > 0 {
		r.UsersPerSecond = rounded(float64(r.Users) / purging.Seconds())
	}
}

// rounded keeps two decimals.
func rounded(x float64) float64 { return float64(int64(x*100+0.5)) / 100 }

// line is the report as one JSON object on one line.
func (r Report) line() (string, error) {
	data, err := json.Marshal(r)
	if err != nil {
		return "", fmt.Errorf("writing the report: %w", err)
	}
	return string(data) + "\n", nil
}
