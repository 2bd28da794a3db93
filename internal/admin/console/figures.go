package console

import (
	"context"

	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/queue/presence"
	"github.com/certpurge/certpurge/internal/telemetry"
)

// Servers gives the metrics what the page knows of ledger and queues, so that both together read no more than one of
// them.
func (c *Console) Servers() telemetry.Servers {
	return telemetry.Servers{
		Ready:  func(ctx context.Context) bool { return len(c.sources.Problems(ctx)) == 0 },
		Ledger: c.ledgerFigures, Queues: c.queueFigures, Now: c.Now,
	}
}

func (c *Console) ledgerFigures(ctx context.Context) (f telemetry.LedgerFigures, ok bool) {
	l, t := c.ledger.get(ctx, c), c.tallies.get(ctx, c)
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
	f.UnanchoredSince = l.Value.loose
	return f, true
}

func (c *Console) queueFigures(ctx context.Context) (f telemetry.RedisFigures, ok bool) {
	q := c.queues.get(ctx, c)
	if q.Err != nil || !q.Known() {
		return f, false
	}
	f.Workers, f.Broken = presence.CountPulling(q.Value.workers), q.Value.broken != nil
	if q.Value.policy != "" {
		f.Keeps = new(q.Value.policy == "noeviction")
	}
	for _, d := range q.Value.depths {
		f.Queues = append(f.Queues, telemetry.QueueFigures{Queue: d.Queue, Paused: d.Paused, Tasks: map[string]int{
			"pending": d.Pending, "active": d.Active, "retry": d.Retry, "scheduled": d.Scheduled, "archived": d.Archived,
			"completed": d.Completed,
		}})
	}
	return f, true
}
