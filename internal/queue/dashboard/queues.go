package dashboard

import (
	"encoding/json"
	"maps"
	"net/http"
	"time"

	"github.com/certpurge/certpurge/internal/queue/inspect"
)

// queues lists the queues. asynq counts in a script that fails when a single task is broken, and then the dashboard
// would show no queue at all. Until that task is dropped, the lengths of the lists are shown instead.
func (d *Dashboard) queues(w http.ResponseWriter, r *http.Request, next http.Handler) {
	answer := recorder{header: http.Header{}, status: http.StatusOK}
	next.ServeHTTP(&answer, r)
	if answer.status == http.StatusOK {
		maps.Copy(w.Header(), answer.header)
		_, _ = w.Write(answer.body.Bytes()) // the client has gone
		return
	}
	depths, err := inspect.Depths(r.Context(), d.redis)
	if err != nil {
		http.Error(w, "Redis does not answer.", http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	if err := json.NewEncoder(w).Encode(map[string]any{"queues": rows(depths)}); err != nil {
		return // the client has gone
	}
}

// row is a queue in the format of the dashboard's page (asynqmon v0.7.2, pinned by a test).
type row struct {
	Queue     string    `json:"queue"`
	Memory    int64     `json:"memory_usage_bytes"`
	Size      int       `json:"size"`
	Groups    int       `json:"groups"`
	Latency   int64     `json:"latency_msec"`
	Display   string    `json:"display_latency"`
	Active    int       `json:"active"`
	Pending   int       `json:"pending"`
	Waiting   int       `json:"aggregating"`
	Scheduled int       `json:"scheduled"`
	Retry     int       `json:"retry"`
	Archived  int       `json:"archived"`
	Completed int       `json:"completed"`
	Processed int64     `json:"processed"`
	Succeeded int64     `json:"succeeded"`
	Failed    int64     `json:"failed"`
	Paused    bool      `json:"paused"`
	Timestamp time.Time `json:"timestamp"`
}

// rows converts depths into the format of the page.
func rows(depths []inspect.Depth) []row {
	all := make([]row, 0, len(depths))
	for _, d := range depths {
		all = append(all, row{
			Queue: d.Queue, Display: "unknown: a task of the queue is broken", Active: d.Active, Pending: d.Pending,
			Scheduled: d.Scheduled,
			Retry:     d.Retry, Archived: d.Archived, Completed: d.Completed, Paused: d.Paused, Timestamp: time.Now(),
			Size: d.Size(),
		})
	}
	return all
}
