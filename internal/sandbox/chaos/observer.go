package chaos

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/sandbox/demo/audit"
	"github.com/certpurge/certpurge/internal/sandbox/demo/dataset"
)

// observer watches the LMS tables and the buckets, with queries and listings of its own.
type observer struct {
	site    audit.Site
	before  *audit.Snapshot
	want    dataset.Expected
	owners  owners
	buckets *buckets
	tally   *tally

	judged   map[dataset.Row]bool // cleared rows whose directories were seen empty after that
	evidence map[int64]string     // every document that was seen, by its id

	mu   sync.Mutex
	seen Watch
}

// Watch is how well the observer could see.
type Watch struct {
	Looks      int     `json:"looks"`       // at every cleared reference and its directories
	Cleared    int     `json:"cleared"`     // references seen cleared
	Sweeps     int     `json:"sweeps"`      // comparisons of every row and every generation
	Blind      int     `json:"blind"`       // looks that a database which was down prevented
	LongestGap float64 `json:"longest_gap"` // seconds between two looks
}

const (
	pollInterval = 100 * time.Millisecond
	sweepEvery   = 2 * time.Second
	// sweepShare is how much longer than it took the next sweep waits, so that watching does not become the load.
	sweepShare = 3
)

func newObserver(ctx context.Context, site audit.Site, before *audit.Snapshot, want dataset.Expected, b *buckets,
	notes *tally,
) (*observer, error) {
	o := &observer{
		site: site, before: before, want: want, buckets: b, tally: notes, judged: map[dataset.Row]bool{},
		evidence: map[int64]string{},
	}
	var err error
	if o.owners, err = readOwners(ctx, site); err != nil {
		return nil, err
	}
	return o, o.complete()
}

// complete makes sure that nothing which is to be erased is out of sight.
func (o *observer) complete() error {
	watched := map[dataset.Generation]bool{}
	for _, directories := range o.owners {
		for _, d := range directories {
			for _, object := range o.site.Server.Objects(d.bucket, d.prefix) {
				watched[dataset.Generation{Bucket: object.Bucket, Name: object.Name, Number: object.Generation}] = true
			}
		}
	}
	for g, user := range o.want.Erased {
		if !watched[g] {
			return fmt.Errorf("watching the site: a file of user %d belongs to no reference: %v", user, g)
		}
	}
	return nil
}

// watch looks until ctx ends. A database that is down is not checked; it cannot change either.
func (o *observer) watch(ctx context.Context) {
	var watching sync.WaitGroup
	watching.Go(func() {
		last := time.Now()
		for ctx.Err() == nil {
			err := o.look(ctx)
			o.mu.Lock()
			o.seen.LongestGap = max(o.seen.LongestGap, rounded(time.Since(last)))
			if err != nil {
				o.seen.Blind++
			} else {
				o.seen.Looks++
				last = time.Now()
			}
			o.mu.Unlock()
			purge.Sleep(ctx, pollInterval)
		}
	})
	watching.Go(func() {
		for ctx.Err() == nil {
			begun := time.Now()
			_ = o.sweep(ctx) // the next one reports it
			purge.Sleep(ctx, max(sweepEvery, sweepShare*time.Since(begun)))
		}
	})
	watching.Wait()
}

// look judges the references that were cleared since the last look: the database first, then the bucket. What is stored
// in a listing made after the clearing was read, was stored when it was cleared: no program puts files there.
func (o *observer) look(ctx context.Context) error {
	for table, key := range keys {
		cleared, err := o.cleared(ctx, table, key)
		if err != nil {
			return err
		}
		for _, row := range cleared {
			o.judge(row)
		}
	}
	return nil
}

// cleared reads which watched rows hold no reference any more.
func (o *observer) cleared(ctx context.Context, table, key string) ([]dataset.Row, error) {
	rows, err := o.site.DB.QueryContext(ctx, fmt.Sprintf(
		"SELECT %s FROM %s.%s WHERE download_uuid = '' AND download_url = ''", key, o.site.LMS, table))
	if err != nil {
		return nil, fmt.Errorf("looking for cleared rows of %s: %w", table, err)
	}
	defer rows.Close()
	var all []dataset.Row
	for rows.Next() {
		row := dataset.Row{Table: table}
		if err := rows.Scan(&row.ID); err != nil {
			return nil, fmt.Errorf("looking for cleared rows of %s: %w", table, err)
		}
		if _, watched := o.owners[row]; watched && !o.judged[row] {
			all = append(all, row)
		}
	}
	return all, rows.Err()
}

// judge looks for what a cleared reference stood for.
func (o *observer) judge(row dataset.Row) {
	o.judged[row] = true
	o.mu.Lock()
	o.seen.Cleared++
	o.mu.Unlock()
	for _, d := range o.owners[row] {
		if object, ok := o.buckets.stored(d.bucket, d.prefix); ok {
			o.tally.violate("%s %d is cleared while %s#%d is stored", row.Table, row.ID, object.Name, object.Generation)
		}
	}
	if _, ok := o.want.Cleared[row]; !ok {
		o.tally.violate("%s %d is cleared, which was not requested", row.Table, row.ID)
	}
}

// sweep compares everything that is there with everything that was.
func (o *observer) sweep(ctx context.Context) error {
	var findings audit.Findings
	var err error
	if !o.buckets.still(func() { findings, err = o.site.During(ctx, o.before, o.want) }) {
		return nil // the next sweep sees what happened meanwhile
	}
	if err != nil {
		return fmt.Errorf("comparing the site with its snapshot: %w", err)
	}
	for _, problem := range findings.Problems {
		o.tally.violate("%s", problem)
	}
	if err := o.keep(ctx); err != nil {
		return err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.seen.Sweeps++
	return nil
}

// last looks once more, when nothing is at work any more.
func (o *observer) last(ctx context.Context) error {
	if err := o.look(ctx); err != nil {
		return err
	}
	if err := o.sweep(ctx); err != nil {
		return err
	}
	return o.compare(ctx)
}

// keep remembers the documents of the evidence that are new. They come into sight in any order of their ids.
func (o *observer) keep(ctx context.Context) error {
	return o.documents(ctx, func(id int64, hash string) {
		if _, seen := o.evidence[id]; !seen {
			o.evidence[id] = hash
		}
	})
}

// compare makes sure that every document that was ever seen is still there, as it was: evidence is only added.
func (o *observer) compare(ctx context.Context) error {
	left := maps.Clone(o.evidence)
	err := o.documents(ctx, func(id int64, hash string) {
		if left[id] != hash {
			o.tally.violate("document %d of the evidence was changed", id)
		}
		delete(left, id)
	})
	for id := range left {
		o.tally.violate("document %d of the evidence is gone", id)
	}
	return err
}

// documents reads the ids and the hashes of all documents, each hash made anew from the document.
func (o *observer) documents(ctx context.Context, do func(id int64, hash string)) error {
	rows, err := o.site.DB.QueryContext(ctx, fmt.Sprintf(
		"SELECT id, SHA2(CONCAT(hash, document), 256) FROM %s.evidence_documents", o.site.Ledger))
	if err != nil {
		return fmt.Errorf("reading the evidence: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var id int64
		var hash string
		if err := rows.Scan(&id, &hash); err != nil {
			return fmt.Errorf("reading the evidence: %w", err)
		}
		do(id, hash)
	}
	return rows.Err()
}

func (o *observer) watched() Watch {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.seen
}

// rounded is a duration in seconds with two decimals.
func rounded(d time.Duration) float64 {
	return float64(d.Round(10*time.Millisecond)) / float64(time.Second)
}
