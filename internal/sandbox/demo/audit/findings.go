package audit

import (
	"fmt"

	"github.com/certpurge/certpurge/internal/sandbox/demo/dataset"
)

// Findings are what a check saw. The first part describes, the second must be zero throughout.
type Findings struct {
	Ends               map[dataset.End]int // how the requests stand
	ObjectsErased      int                 // generations of retiring users that were to go, and went
	ReferencesCleared  int                 // rows whose reference was to go, and went
	ObjectsHeldBack    int                 // generations that were to stay although their user is retiring, and stayed
	ReferencesHeldBack int                 // references likewise

	ObjectsLeft           int // generations that were to go, but are still stored
	ReferencesLeft        int // references that were to go, but are still there
	HeldBackLost          int // objects and references that were to stay although their user is retiring, but did not
	ForeignObjectsTouched int // generations of everybody and everything else that changed, vanished or appeared
	ForeignRowsTouched    int // rows that changed, vanished or appeared, other than by the clearing of two columns
	UnexpectedEnds        int // requests that did not end as they should, are missing, or nobody made
	EvidenceGaps          int // places where the ledger and the buckets, or its own figures, disagree

	// Problems says where, one sentence each, with ids and without names of people. Only the first ones are kept.
	Problems []string
}

// OK reports whether everything is as it should be.
func (f *Findings) OK() bool {
	return f.ObjectsLeft == 0 && f.ReferencesLeft == 0 && f.HeldBackLost == 0 && f.ForeignObjectsTouched == 0 &&
		f.ForeignRowsTouched == 0 && f.UnexpectedEnds == 0 && f.EvidenceGaps == 0
}

// maxProblems is how many problems are described; the counters count all.
const maxProblems = 20

// count adds one to a counter that must be zero, and says why.
func (f *Findings) count(counter *int, format string, args ...any) {
	*counter++
	if len(f.Problems) < maxProblems {
		f.Problems = append(f.Problems, fmt.Sprintf(format, args...))
	}
}
