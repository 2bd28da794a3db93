package console

import (
	"cmp"
	"context"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/certpurge/certpurge/internal/doctor"
	"github.com/certpurge/certpurge/internal/mysql"
	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/queue/inspect"
	"github.com/certpurge/certpurge/internal/queue/presence"
)

// view is what the template shows.
type view struct {
	frame

	Verdict  verdict
	Problems []string // why the process is not ready

	LedgerKnown bool
	LedgerErr   string
	LedgerAt    time.Time
	Progress    mysql.Progress
	Open        int64 // requests that have not ended
	OldestDue   *time.Time
	Waits       []line
	Failures    []line
	Odd         []line
	Ended       []mysql.Tally
	Did         []mysql.Operation // by operators, the last one first
	Loose       time.Time         // when the oldest evidence was written that is in no anchor; zero if all is

	QueuesKnown bool
	QueuesErr   string
	Depths      []inspect.Depth
	Workers     []presence.Worker
	Broken      bool // asynq's statistics fail

	Charts  []chart
	Counted bool // what ended within a day is counted

	Dates    reading[dates]
	Buckets  []purge.BucketSettings
	Coverage reading[[]Uncovered]
	Left     int // users without coverage
	Covers   bool
	Doctor   reading[Diagnosis]
	Doctors  bool
}

// line is a number of requests with one reason.
type line struct {
	Reason string
	Count  int64
	Since  *time.Time // when the oldest was opened
	Path   string     // the list of these requests, without the base
	Again  string     // the page that asks whether to run them again; empty if that makes no sense
	advice
}

// serveOverview serves the page that says how it stands.
func (c *Console) serveOverview(w http.ResponseWriter, r *http.Request) {
	c.sampleOn()
	v := c.look(r.Context())
	v.frame = c.framed(r, "Overview", v.Verdict.Word)
	v.Refresh = r.URL.Query().Get("refresh") != "off"
	c.show(w, r, http.StatusOK, "overview", v)
}

// look reads everything, as fresh as it may be, and at the same time.
func (c *Console) look(ctx context.Context) view {
	v := view{Covers: c.sources.Coverage != nil, Doctors: c.sources.Doctor != nil}
	var l reading[ledger]
	var t reading[[]mysql.Tally]
	var q reading[queues]
	var reads sync.WaitGroup
	reads.Go(func() { t = c.tallies.get(ctx, c) })
	reads.Go(func() { l = c.ledger.get(ctx, c) })
	reads.Go(func() { q = c.queues.get(ctx, c) })
	var h reading[history]
	reads.Go(func() { h = c.history.get(ctx, c) })
	reads.Go(func() { v.Dates = c.dates.get(ctx, c) })
	reads.Go(func() { v.Problems = c.sources.Problems(ctx) })
	if v.Covers {
		v.Coverage = c.coverage.get(ctx, c)
	}
	if v.Doctors {
		v.Doctor = c.doctor.get(ctx, c)
	}
	reads.Wait()
	v.Now = c.Now().UTC()
	if c.sources.Buckets != nil {
		v.Buckets = c.sources.Buckets()
	}
	v.LedgerKnown, v.LedgerErr, v.LedgerAt = l.Known() && t.Known(), errorText(cmp.Or(l.Err, t.Err)), t.At
	v.addLedger(l.Value, t.Value)
	v.QueuesKnown, v.QueuesErr = q.Known(), errorText(q.Err)
	v.Depths, v.Workers, v.Broken = q.Value.depths, q.Value.workers, q.Value.broken != nil
	for _, u := range v.Coverage.Value {
		v.Left += u.Users
	}
	v.Verdict = judge(v)
	v.Counted = h.Known()
	v.Charts = c.charts(h.Value, v.Now)
	return v
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// addLedger sorts the tallies by what they mean to an operator.
func (v *view) addLedger(l ledger, tallies []mysql.Tally) {
	v.Progress, v.Did, v.Loose = l.progress, l.did, l.loose
	since := map[purge.Reason]*time.Time{}
	for _, o := range l.oldest {
		if first := since[o.Reason]; first == nil || o.OpenedAt.Before(*first) {
			since[o.Reason] = &o.OpenedAt
		}
		if !forDate(o.Reason) && (v.OldestDue == nil || o.OpenedAt.Before(*v.OldestDue)) {
			v.OldestDue = &o.OpenedAt
		}
	}
	open := map[purge.Reason]int64{}
	for _, t := range tallies {
		switch {
		case !t.State.Ended():
			v.Open += t.Count
			open[t.Reason] += t.Count
		case t.State == purge.Failed:
			v.Failures = append(v.Failures, line{
				Reason: string(t.Reason), Count: t.Count, Path: listOf(t.State, t.Reason), advice: failures[t.Reason],
				Again: "/requests/requeue?" + url.Values{
					"all": {"1"}, "state": {string(t.State)}, "reason": {string(t.Reason)},
				}.Encode(),
			})
		default:
			v.Ended = append(v.Ended, t)
			if a, ok := odd[t.Reason]; ok {
				v.Odd = append(v.Odd, line{
					Reason: string(t.State) + ": " + string(t.Reason), Count: t.Count, Path: listOf(t.State, t.Reason), advice: a,
				})
			}
		}
	}
	for reason, n := range open {
		v.Waits = append(v.Waits, line{
			Reason: cmp.Or(string(reason), "(none yet)"), Count: n, Since: since[reason], Path: listOf(purge.Queued, reason),
			advice: waits[reason],
		})
	}
	most := func(a, b line) int { return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Reason, b.Reason)) }
	slices.SortFunc(v.Waits, most)
	slices.SortFunc(v.Failures, most)
}

// listOf is the page that lists the requests in a state for a reason.
func listOf(state purge.State, reason purge.Reason) string {
	return "/requests?" + url.Values{"state": {string(state)}, "reason": {string(reason)}}.Encode()
}

// Pulling is how many workers pull tasks.
func (v view) Pulling() int { return presence.CountPulling(v.Workers) }

// findings returns the doctor's findings that are no mere notes.
func (v view) findings() []doctor.Finding {
	return slices.DeleteFunc(slices.Clone(v.Doctor.Value.Findings),
		func(f doctor.Finding) bool { return f.Severity == doctor.Note })
}

// ledger, queues and dates are what is read together.
type (
	ledger struct {
		progress mysql.Progress
		oldest   []mysql.Oldest
		did      []mysql.Operation // lately
		loose    time.Time         // when the oldest evidence was written that is in no anchor
	}
	queues struct {
		depths  []inspect.Depth
		workers []presence.Worker
		broken  error
		policy  string // of eviction; empty if Redis does not report it
	}
	dates struct{ Retained, Recoverable mysql.Dates }
)

func (c *Console) readLedger(ctx context.Context) (l ledger, err error) {
	if l.progress, err = c.sources.Ledger.Progress(ctx); err != nil {
		return l, err
	}
	if l.oldest, err = c.sources.Ledger.Oldest(ctx); err != nil {
		return l, err
	}
	if l.did, err = c.sources.Ledger.Operations(ctx, 20); err != nil {
		return l, err
	}
	l.loose, err = c.sources.Ledger.UnanchoredSince(ctx)
	return l, err
}

func (c *Console) readQueues(ctx context.Context) (q queues, err error) {
	if q.depths, err = c.sources.Queues.Backlog(ctx); err != nil {
		return q, err
	}
	q.broken, q.policy = c.sources.Queues.Statistics(ctx), c.sources.Queues.EvictionPolicy(ctx)
	q.workers, err = c.sources.Queues.Workers(ctx)
	return q, err
}

func (c *Console) readDates(ctx context.Context) (d dates, err error) {
	if d.Retained, err = c.sources.Ledger.Retained(ctx); err != nil {
		return d, err
	}
	d.Recoverable, err = c.sources.Ledger.Recoverable(ctx)
	return d, err
}

// coverageView is the page of users who still have links.
type coverageView struct {
	frame

	Covers   bool
	Coverage reading[[]Uncovered]
	Left     int
	Max      int // users that are listed of each class
}

func (c *Console) serveCoverage(w http.ResponseWriter, r *http.Request) {
	v := coverageView{
		frame: c.framed(r, "Coverage", "Coverage"), Covers: c.sources.Coverage != nil, Max: maxUncovered,
	}
	if v.Covers {
		v.Coverage = c.coverage.get(r.Context(), c)
		v.Refresh = !v.Coverage.Known() && r.URL.Query().Get("refresh") != "off"
	}
	for _, u := range v.Coverage.Value {
		v.Left += u.Users
	}
	c.show(w, r, http.StatusOK, "coverage", v)
}
