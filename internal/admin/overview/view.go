package overview

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"github.com/certpurge/certpurge/internal/doctor"
	"github.com/certpurge/certpurge/internal/login"
	"github.com/certpurge/certpurge/internal/mysql"
	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/queue/inspect"
	"github.com/certpurge/certpurge/internal/queue/presence"
)

// view is what the template shows.
type view struct {
	About   About
	Style   string // address of the style
	Now     time.Time
	Refresh bool
	Visitor login.Visitor

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

	QueuesKnown bool
	QueuesErr   string
	Depths      []inspect.Depth
	Workers     []presence.Worker
	Broken      bool // asynq's statistics fail

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
	advice
}

// look reads everything, as fresh as it may be, and at the same time.
func (p *Page) look(ctx context.Context) view {
	v := view{
		About: p.about, Style: p.about.Base + "/assets/overview.css?" + p.tag, Covers: p.sources.Coverage != nil,
		Doctors: p.sources.Doctor != nil,
	}
	var l reading[ledger]
	var t reading[[]mysql.Tally]
	var q reading[queues]
	var reads sync.WaitGroup
	reads.Go(func() { t = p.tallies.get(ctx, p) })
	reads.Go(func() { l = p.ledger.get(ctx, p) })
	reads.Go(func() { q = p.queues.get(ctx, p) })
	reads.Go(func() { v.Dates = p.dates.get(ctx, p) })
	reads.Go(func() { v.Problems = p.sources.Problems(ctx) })
	if v.Covers {
		v.Coverage = p.coverage.get(ctx, p)
	}
	if v.Doctors {
		v.Doctor = p.doctor.get(ctx, p)
	}
	reads.Wait()
	v.Now = p.Now().UTC()
	if p.sources.Buckets != nil {
		v.Buckets = p.sources.Buckets()
	}
	v.LedgerKnown, v.LedgerErr, v.LedgerAt = l.Known() && t.Known(), text(cmp.Or(l.Err, t.Err)), t.At
	v.addLedger(l.Value, t.Value)
	v.QueuesKnown, v.QueuesErr = q.Known(), text(q.Err)
	v.Depths, v.Workers, v.Broken = q.Value.depths, q.Value.workers, q.Value.broken != nil
	for _, u := range v.Coverage.Value {
		v.Left += u.Users
	}
	v.Verdict = judge(v)
	return v
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// addLedger sorts the tallies by what they mean to an operator.
func (v *view) addLedger(l ledger, tallies []mysql.Tally) {
	v.Progress = l.progress
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
			v.Failures = append(v.Failures, line{Reason: string(t.Reason), Count: t.Count, advice: failures[t.Reason]})
		default:
			v.Ended = append(v.Ended, t)
			if a, ok := odd[t.Reason]; ok {
				v.Odd = append(v.Odd, line{Reason: string(t.State) + ": " + string(t.Reason), Count: t.Count, advice: a})
			}
		}
	}
	for reason, n := range open {
		v.Waits = append(v.Waits, line{
			Reason: cmp.Or(string(reason), "(none yet)"), Count: n, Since: since[reason],
			advice: waits[reason],
		})
	}
	most := func(a, b line) int { return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Reason, b.Reason)) }
	slices.SortFunc(v.Waits, most)
	slices.SortFunc(v.Failures, most)
}

// Pulling is how many workers pull tasks.
func (v view) Pulling() int { return presence.CountPulling(v.Workers) }

// findings returns the doctor's findings that are no mere notes.
func (v view) findings() []doctor.Finding {
	return slices.DeleteFunc(slices.Clone(v.Doctor.Value.Findings),
		func(f doctor.Finding) bool { return f.Severity == doctor.Note })
}
