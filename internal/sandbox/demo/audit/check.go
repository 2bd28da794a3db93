package audit

import (
	"context"
	"fmt"

	"github.com/certpurge/certpurge/internal/sandbox/demo/dataset"
)

// Check compares what is there now with what was there before and with what should have become of it. Nothing may be at
// work on the site meanwhile. An error means that it could not look; what it saw is in the findings.
func (s Site) Check(ctx context.Context, before *Snapshot, want dataset.Expected) (Findings, error) {
	c := s.newCheck(before, want)
	if err := c.site(ctx); err != nil {
		return c.Findings, err
	}
	if err := c.requests(ctx); err != nil {
		return c.Findings, err
	}
	return c.Findings, c.evidence(ctx)
}

// During is the part of Check that must hold at every moment of a purge, also while it is at work: what is to go may be
// there or not, everything else is as it was. It does not look at the ledger.
func (s Site) During(ctx context.Context, before *Snapshot, want dataset.Expected) (Findings, error) {
	c := s.newCheck(before, want)
	c.underWay = true
	err := c.site(ctx)
	return c.Findings, err
}

func (s Site) newCheck(before *Snapshot, want dataset.Expected) *check {
	return &check{
		Site: s, before: before, want: want, Findings: Findings{Ends: map[dataset.End]int{}},
		gone: map[dataset.Generation]int{}, erased: map[int]int{}, cleared: map[int]int{}, reported: map[finding]bool{},
	}
}

// site compares the LMS database and the buckets.
func (c *check) site(ctx context.Context) error {
	if err := c.tables(ctx); err != nil {
		return err
	}
	for _, bucket := range c.Buckets {
		c.bucket(bucket)
	}
	return nil
}

// check is one run of Check.
type check struct {
	Findings
	Site

	before *Snapshot
	want   dataset.Expected

	underWay bool // what is to go need not be gone yet

	gone    map[dataset.Generation]int // user ids of the generations that are proven to be gone, until evidence is found
	erased  map[int]int                // how many of them, by user id
	cleared map[int]int                // how many references went, by user id

	reported map[finding]bool // what the evidence says of directories and links
}

// finding is an outcome of a user's directory or link.
type finding struct {
	user    int
	outcome string
}

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
	ForeignObjectsTouched int // generations of all others that changed, vanished or appeared
	ForeignRowsTouched    int // rows that changed, vanished or appeared, other than by the clearing of two columns
	UnexpectedEnds        int // requests that did not end as they should, are missing, or were not submitted
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
