package overview

import (
	"context"

	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/telemetry"
)

// Servers gives the metrics what the page knows of ledger and queues, so that both together read no more than one of them.
func (p *Page) Servers() telemetry.Servers {
	return telemetry.Servers{Ledger: p.ledgerFigures, Queues: p.queueFigures, Now: p.Now}
}

func (p *Page) ledgerFigures(ctx context.Context) (f telemetry.LedgerFigures, ok bool) {
	l, t := p.ledger.get(ctx, p), p.tallies.get(ctx, p)
	if l.Err != nil || !l.Known() || t.Err != nil || !t.Known() {
		return f, false
	}
	f.Requests = map[purge.State]map[purge.Reason]int64{}
	for _, n := range t.Value {
		if f.Requests[n.State] == nil {
			f.Requests[n.State] = map[purge.Reason]int64{}
		}
		f.Requests[n.State][n.Reason] += n.Count
	}
	for _, o := range l.Value.oldest {
		if !forDate(o.Reason) && (f.OldestDue.IsZero() || o.OpenedAt.Before(f.OldestDue)) {
			f.OldestDue = o.OpenedAt
		}
	}
	if last := l.Value.progress.LastDone; last != nil {
		f.LastDone = *last
	}
	return f, true
}

func (p *Page) queueFigures(ctx context.Context) (f []telemetry.QueueFigures, workers int, ok bool) {
	q := p.queues.get(ctx, p)
	if q.Err != nil || !q.Known() {
		return nil, 0, false
	}
	for _, d := range q.Value.depths {
		f = append(f, telemetry.QueueFigures{Queue: d.Queue, Paused: d.Paused, Tasks: map[string]int{
			"pending": d.Pending, "active": d.Active, "retry": d.Retry, "scheduled": d.Scheduled, "archived": d.Archived, "completed": d.Completed,
		}})
	}
	return f, q.Value.workers, true
}
