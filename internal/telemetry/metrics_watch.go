package telemetry

import "github.com/prometheus/client_golang/prometheus"

// Watch holds the metrics of a watcher.
type Watch struct {
	rounds *prometheus.CounterVec
	last   prometheus.Gauge
}

// NewWatch registers the metrics of a watcher.
func NewWatch(r prometheus.Registerer) (*Watch, error) {
	w := &Watch{
		rounds: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "certpurge_watch_rounds_total", Help: "Rounds of the watcher: led, followed (another watcher is at " +
				"work), or failed.",
		}, []string{"result"}),
		last: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "certpurge_watch_last_round_timestamp_seconds", Help: "When this process last finished a round of the " +
				"watcher; 0 if it has not yet.",
		}),
	}
	for _, result := range []string{"led", "followed", "failed"} {
		w.rounds.WithLabelValues(result)
	}
	return w, register(r, w.rounds, w.last)
}

// Watched counts a round of the watcher; led is false if another watcher leads, or made a round shortly before.
func (w *Watch) Watched(led bool, err error) {
	switch {
	case err != nil:
		w.rounds.WithLabelValues("failed").Inc()
	case led:
		w.rounds.WithLabelValues("led").Inc()
		w.last.SetToCurrentTime()
	default:
		w.rounds.WithLabelValues("followed").Inc()
	}
}
