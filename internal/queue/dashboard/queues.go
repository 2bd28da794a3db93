package dashboard

import (
	"encoding/json"
	"maps"
	"net/http"
	"time"

	"github.com/certpurge/certpurge/internal/queue/inspect"
)

// queues lists the queues. asynq counts in a script that dies when a single task is broken, and then the dashboard
// shows no queue at all; so what can be counted all the same is shown instead, until the doctor has been there.
func (d *Dashboard) queues(w http.ResponseWriter, r *http.Request, next http.Handler) {
	answer := recorder{header: http.Header{}, status: http.StatusOK}
	next.ServeHTTP(&answer, r)
	if answer.status == http.StatusOK {
		maps.Copy(w.Header(), answer.header)
		_, _ = w.Write(answer.body.Bytes()) // nobody is there to hear of it
		return
	}
	depths, err := inspect.Depths(r.Context(), d.redis)
	if err != nil {
		http.Error(w, "Redis cannot be asked.", http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	if err := json.NewEncoder(w).Encode(map[string]any{"queues": rows(depths)}); err != nil {
		return // nobody is there to hear of it
	}
}

// row is a queue as the dashboard's page understands it (asynqmon v0.7.2, pinned by a test).
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

// rows makes what the page understands of what could be counted.
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
