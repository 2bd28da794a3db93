package queue

import (
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"time"

	"github.com/redis/go-redis/v9"
)

// queues lists the queues. asynq counts in a script that dies when a single task is broken, and then the dashboard shows no
// queue at all; so what can be counted all the same is shown instead, until the doctor has been there.
func (d *Dashboard) queues(w http.ResponseWriter, r *http.Request, next http.Handler) {
	answer := recorder{header: http.Header{}, status: http.StatusOK}
	next.ServeHTTP(&answer, r)
	if answer.status == http.StatusOK {
		maps.Copy(w.Header(), answer.header)
		_, _ = w.Write(answer.body.Bytes()) // nobody is there to hear of it
		return
	}
	rows, err := counted(r.Context(), d.redis)
	if err != nil {
		http.Error(w, "Redis cannot be asked.", http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	if err := json.NewEncoder(w).Encode(map[string]any{"queues": rows}); err != nil {
		return // nobody is there to hear of it
	}
}

// row is a queue as the dashboard's page understands it (asynqmon v0.7.2, pinned by a test).
type row struct {
	Queue     string    `json:"queue"`
	Memory    int64     `json:"memory_usage_bytes"`
	Size      int64     `json:"size"`
	Groups    int64     `json:"groups"`
	Latency   int64     `json:"latency_msec"`
	Display   string    `json:"display_latency"`
	Active    int64     `json:"active"`
	Pending   int64     `json:"pending"`
	Waiting   int64     `json:"aggregating"`
	Scheduled int64     `json:"scheduled"`
	Retry     int64     `json:"retry"`
	Archived  int64     `json:"archived"`
	Completed int64     `json:"completed"`
	Processed int64     `json:"processed"`
	Succeeded int64     `json:"succeeded"`
	Failed    int64     `json:"failed"`
	Paused    bool      `json:"paused"`
	Timestamp time.Time `json:"timestamp"`
}

// counted asks for the length of each of a queue's sets, which no broken task can spoil.
func counted(ctx context.Context, rdb redis.UniversalClient) ([]row, error) {
	rows := make([]row, 0, len(Queues()))
	for _, name := range Queues() {
		counts, paused := map[string]*redis.IntCmd{}, (*redis.IntCmd)(nil)
		_, err := rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
			for _, set := range taskSets {
				if set == "pending" || set == "active" {
					counts[set] = p.LLen(ctx, setKey(name, set))
				} else {
					counts[set] = p.ZCard(ctx, setKey(name, set))
				}
			}
			paused = p.Exists(ctx, setKey(name, "paused"))
			return nil
		})
		if err != nil {
			return nil, err
		}
		of := func(set string) int64 { return counts[set].Val() }
		rows = append(rows, row{
			Queue: name, Display: "unknown: a task of the queue is broken", Active: of("active"), Pending: of("pending"), Scheduled: of("scheduled"),
			Retry: of("retry"), Archived: of("archived"), Completed: of("completed"), Paused: paused.Val() > 0, Timestamp: time.Now(),
			Size: of("active") + of("pending") + of("scheduled") + of("retry") + of("archived") + of("completed"),
		})
	}
	return rows, nil
}
