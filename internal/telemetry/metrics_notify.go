package telemetry

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Notify holds the metrics of a process that sends notifications.
type Notify struct {
	tries   *prometheus.CounterVec
	waiting prometheus.Gauge
	oldest  prometheus.Gauge
}

// NewNotify registers the metrics of a process that sends notifications.
func NewNotify(r prometheus.Registerer) (*Notify, error) {
	n := &Notify{
		tries: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "certpurge_notifications_total", Help: "Notifications that this process delivered, tried to deliver in vain " +
				"(failed: it is tried again), or gave up after notify.max_age.",
		}, []string{"result"}),
		waiting: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "certpurge_notifications_waiting", Help: "Notifications that are not delivered yet. Every process with a " +
				"notify.url reports all of them: take the maximum, not the sum.",
		}),
		oldest: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "certpurge_notifications_oldest_age_seconds", Help: "For how long the oldest notification has waited; 0 if " +
				"none waits.",
		}),
	}
	for _, result := range []string{"delivered", "failed", "given_up"} {
		n.tries.WithLabelValues(result)
	}
	return n, register(r, n.tries, n.waiting, n.oldest)
}

// Sent counts notifications that were delivered, tries that failed, and notifications that were given up.
func (n *Notify) Sent(delivered, failed, givenUp int) {
	n.tries.WithLabelValues("delivered").Add(float64(delivered))
	n.tries.WithLabelValues("failed").Add(float64(failed))
	n.tries.WithLabelValues("given_up").Add(float64(givenUp))
}

// Waits sets how many notifications wait, and for how long the oldest has.
func (n *Notify) Waits(waiting int64, oldest time.Duration) {
	n.waiting.Set(float64(waiting))
	n.oldest.Set(oldest.Seconds())
}
