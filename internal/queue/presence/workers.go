package presence

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"github.com/certpurge/certpurge/internal/queue"
)

// Where asynq lists its servers and their tasks (internal/base of asynq v0.26.0; pinned by a test).
const (
	asynqServers = "asynq:servers"
	asynqWorkers = "asynq:workers"
)

// Keys are the sorted sets that Workers reads.
func Keys() []string { return []string{presenceList, asynqServers, asynqWorkers} }

// Workers returns all workers of our queues, in the order of their hosts and processes: those that keep their state in
// Redis, and those of older versions, which only asynq lists. Servers of other applications in the same Redis are left
// out.
func Workers(ctx context.Context, rdb redis.UniversalClient) ([]Worker, error) {
	all, err := present(ctx, rdb)
	if err != nil {
		return nil, fmt.Errorf("listing workers: %w", err)
	}
	// asynq reads the states of all servers and of all their tasks, so very long lists are left out.
	counts := make([]*redis.IntCmd, 2)
	_, err = rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		counts[0], counts[1] = p.ZCard(ctx, asynqServers), p.ZCard(ctx, asynqWorkers)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("listing workers: %w", queue.Explain(err))
	}
	var servers []*asynq.ServerInfo
	if counts[0].Val() <= maxWorkers && counts[1].Val() <= maxWorkers {
		servers, err = asynq.NewInspectorFromRedisClient(rdb).Servers()
	}
	// asynq tidies its list while reading it, by a script: a replica refuses that, and so does an account that only reads.
	if err != nil && !redis.HasErrorPrefix(err, "READONLY") && !redis.HasErrorPrefix(err, "NOPERM") {
		return nil, fmt.Errorf("listing workers: %w", err)
	}
	for _, s := range servers {
		ours := slices.ContainsFunc(queue.Queues(), func(name string) bool { return s.Queues[name] > 0 })
		if ours && !slices.ContainsFunc(all, func(w Worker) bool { return w.Host == s.Host && w.PID == s.PID }) {
			all = append(all, Worker{Host: s.Host, PID: s.PID, State: Pulling, Since: s.Started})
		}
	}
	slices.SortFunc(all, func(a, b Worker) int { return cmp.Or(cmp.Compare(a.Host, b.Host), cmp.Compare(a.PID, b.PID)) })
	return all, nil
}

// CountPulling returns the number of workers that pull tasks.
func CountPulling(workers []Worker) int {
	n := 0
	for _, w := range workers {
		if w.State == Pulling {
			n++
		}
	}
	return n
}

// NonePulls says why none of the workers pulls tasks; it is empty if one does.
func NonePulls(workers []Worker) string {
	switch {
	case CountPulling(workers) > 0:
		return ""
	case len(workers) == 0:
		return "no worker is running"
	case len(workers) == 1:
		return "no worker pulls tasks: " + workers[0].String()
	default:
		// A paused worker has a reason; others are starting or stopping.
		first := workers[max(0, slices.IndexFunc(workers, func(w Worker) bool { return w.State == Paused }))]
		return fmt.Sprintf("none of %d workers pulls tasks: %s", len(workers), first)
	}
}
