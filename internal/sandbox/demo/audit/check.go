package audit

import (
	"context"

	"github.com/certpurge/certpurge/internal/sandbox/demo/dataset"
)

// Check compares what is there now with what was there before and with what should have become of it. Nothing may be at
// work on the site meanwhile. An error means that it could not look; what it saw is in the findings.
func (s Site) Check(ctx context.Context, before *Snapshot, want dataset.Expected) (Findings, error) {
	c := check{
		Site: s, before: before, want: want, Findings: Findings{Ends: map[dataset.End]int{}},
		gone: map[dataset.Generation]int{}, erased: map[int]int{}, cleared: map[int]int{},
	}
	if err := c.tables(ctx); err != nil {
		return c.Findings, err
	}
	for _, bucket := range s.Buckets {
		c.bucket(bucket)
	}
	if err := c.requests(ctx); err != nil {
		return c.Findings, err
	}
	return c.Findings, c.evidence(ctx)
}

// check is one run of Check.
type check struct {
	Findings
	Site

	before *Snapshot
	want   dataset.Expected

	gone    map[dataset.Generation]int // user ids of the generations that are proven to be gone, until evidence is found
	erased  map[int]int                // how many of them, by user id
	cleared map[int]int                // how many references went, by user id
}
