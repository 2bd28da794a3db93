package audit

import (
	"context"

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
