package telemetry

import (
	"context"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/certpurge/certpurge/internal/purge"
)

// scrapeTime bounds what a scrape may wait for servers.
const scrapeTime = 5 * time.Second

// LedgerFigures is what the ledger says of all requests, of all workers.
type LedgerFigures struct {
	Requests  map[purge.State]map[purge.Reason]int64
	OldestDue time.Time // zero if none is due
	LastDone  time.Time // zero if none ever was
	// UnanchoredSince is when the oldest evidence was written that is in no anchor; zero if all is.
	UnanchoredSince time.Time
}

// QueueFigures is what Redis says of one queue.
type QueueFigures struct {
	Queue  string
	Tasks  map[string]int // by asynq's state
	Paused bool
}

// RedisFigures is what Redis says of all queues.
type RedisFigures struct {
	Queues  []QueueFigures
	Workers int
	// Keeps is whether Redis drops nothing when its memory is full; nil if it does not report it.
	Keeps  *bool
	Broken bool // asynq's own statistics fail
}

// BucketFigures is how fast one bucket is worked on with requests of one kind.
type BucketFigures struct {
	Bucket, Kind          string
	Rate, Ceiling         float64 // requests a second; 0 for no limit
	Waiting               int
	Throttled, Halved     int64
	Waited                time.Duration
	InFlight, MaxInFlight int
}

// Servers are the servers whose state is read when the metrics are scraped. What is nil is not read. ok is false if a
// server could not be asked: then its figures are left out, because old ones would look like new ones.
type Servers struct {
	Ready    func(context.Context) bool // the process itself
	Ledger   func(context.Context) (f LedgerFigures, ok bool)
	Queues   func(context.Context) (f RedisFigures, ok bool)
	Buckets  func() []BucketFigures
	Settings func() []purge.BucketSettings // those that were read; an unknown soft delete has no metric: 0 would mean off
	Now      func() time.Time
}

var (
	ready = desc("certpurge_ready", "Whether the process is ready; 0 while it starts, is paused, stops, or a "+
		"server does not do what its work needs.")
	ledgerUp = desc("certpurge_ledger_up", "Whether the ledger could be read.")
	requests = desc("certpurge_ledger_requests", "Requests in the ledger. Every process reports all of them: take "+
		"the maximum, not the sum.", "state", "reason")
	oldestDue = desc("certpurge_ledger_oldest_due_age_seconds",
		"Age of the oldest open request that waits for no date; 0 if there is none.")
	lastDone = desc("certpurge_ledger_last_done_timestamp_seconds",
		"When any process last got a request done; 0 if none ever was.")
	unanchored = desc("certpurge_evidence_unanchored_age_seconds",
		"Age of the oldest evidence that is in no anchor; 0 if all is.")
	queueUp    = desc("certpurge_queue_up", "Whether the queues in Redis could be read.")
	queueTasks = desc("certpurge_queue_tasks", "Tasks in a queue, by asynq's state; right also while a task is broken.",
		"queue", "state")
	queuePaused = desc("certpurge_queue_paused", "Whether a queue is paused.", "queue")
	workers     = desc("certpurge_queue_workers", "Workers that pull tasks.")
	noeviction  = desc("certpurge_queue_noeviction", "Whether Redis drops nothing when its memory is full "+
		"(maxmemory-policy noeviction); left out where it does not report it.")
	statistics = desc("certpurge_queue_statistics_up", "Whether asynq's own statistics can be read; 0 while a task is "+
		"broken, and with it parts of the dashboard.")
	rate = desc("certpurge_gcs_rate_requests_per_second",
		"Requests that may be sent to a bucket in a second now; 0 for no limit.", "bucket", "kind")
	ceiling = desc("certpurge_gcs_rate_ceiling_requests_per_second",
		"Requests that may be sent to a bucket in a second at most; 0 for no limit.", "bucket", "kind")
	waiting   = desc("certpurge_gcs_calls_waiting", "Calls that wait for their turn.", "bucket", "kind")
	throttled = desc("certpurge_gcs_throttled_total", "Answers of Cloud Storage that asked for fewer requests.",
		"bucket", "kind")
	halved = desc("certpurge_gcs_rate_halved_total", "How often the rate was halved.", "bucket", "kind")
	waited = desc("certpurge_gcs_waited_seconds_total", "Time that calls have waited for their turn.", "bucket",
		"kind")
	inFlight    = desc("certpurge_gcs_calls_in_flight", "Calls to a bucket that are under way.", "bucket")
	maxInFlight = desc("certpurge_gcs_calls_in_flight_limit", "Calls to a bucket that may be under way.", "bucket")
	softDelete  = desc("certpurge_bucket_soft_delete_seconds",
		"How long a bucket keeps deleted objects restorable, as last read; 0 for not at all, missing if unknown.", "bucket")
	retention = desc("certpurge_bucket_retention_seconds", "The age that an object of a bucket must have to be "+
		"deleted, as last read; 0 for none.", "bucket")
	versioning = desc("certpurge_bucket_versioning", "Whether a bucket keeps old versions of objects, as last read. All "+
		"of them are deleted.", "bucket")
)

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(name, help, labels, nil)
}

// Describe implements prometheus.Collector.
func (s Servers) Describe(out chan<- *prometheus.Desc) {
	var all []*prometheus.Desc
	if s.Ready != nil {
		all = append(all, ready)
	}
	if s.Ledger != nil {
		all = append(all, ledgerUp, requests, oldestDue, lastDone, unanchored)
	}
	if s.Queues != nil {
		all = append(all, queueUp, queueTasks, queuePaused, workers, noeviction, statistics)
	}
	if s.Buckets != nil {
		all = append(all, rate, ceiling, waiting, throttled, halved, waited, inFlight, maxInFlight)
	}
	if s.Settings != nil {
		all = append(all, softDelete, retention, versioning)
	}
	for _, d := range all {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (s Servers) Collect(out chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), scrapeTime)
	defer cancel()
	if s.Ready != nil {
		gauge(out, ready, one(s.Ready(ctx)))
	}
	if s.Ledger != nil {
		f, ok := s.Ledger(ctx)
		gauge(out, ledgerUp, one(ok))
		if ok {
			s.collectLedger(out, f)
		}
	}
	if s.Queues != nil {
		f, ok := s.Queues(ctx)
		gauge(out, queueUp, one(ok))
		if ok {
			collectQueues(out, f)
		}
	}
	if s.Buckets != nil {
		collectBuckets(out, s.Buckets())
	}
	if s.Settings != nil {
		for _, b := range s.Settings() {
			if !b.SoftDeleteUnknown {
				gauge(out, softDelete, b.SoftDelete.Seconds(), b.Bucket)
			}
			gauge(out, retention, b.Retention.Seconds(), b.Bucket)
			gauge(out, versioning, one(b.Versioning), b.Bucket)
		}
	}
}

func (s Servers) collectLedger(out chan<- prometheus.Metric, f LedgerFigures) {
	all := ends()
	all[purge.Running] = []purge.Reason{purge.ReasonNone}
	for state, reasons := range f.Requests { // values that are not listed above are shown, too
		for reason := range reasons {
			if !slices.Contains(all[state], reason) {
				all[state] = append(all[state], reason)
			}
		}
	}
	for state, reasons := range all {
		for _, reason := range reasons {
			gauge(out, requests, float64(f.Requests[state][reason]), string(state), none(string(reason)))
		}
	}
	age, last := 0.0, 0.0
	if !f.OldestDue.IsZero() {
		age = max(0, s.Now().Sub(f.OldestDue).Seconds())
	}
	if !f.LastDone.IsZero() {
		last = float64(f.LastDone.UnixMilli()) / 1000
	}
	gauge(out, oldestDue, age)
	gauge(out, lastDone, last)
	age = 0
	if !f.UnanchoredSince.IsZero() {
		age = max(0, s.Now().Sub(f.UnanchoredSince).Seconds())
	}
	gauge(out, unanchored, age)
}

func collectQueues(out chan<- prometheus.Metric, f RedisFigures) {
	gauge(out, workers, float64(f.Workers))
	gauge(out, statistics, one(!f.Broken))
	if f.Keeps != nil {
		gauge(out, noeviction, one(*f.Keeps))
	}
	for _, q := range f.Queues {
		gauge(out, queuePaused, one(q.Paused), q.Queue)
		for state, tasks := range q.Tasks {
			gauge(out, queueTasks, float64(tasks), q.Queue, state)
		}
	}
}

func collectBuckets(out chan<- prometheus.Metric, all []BucketFigures) {
	seen := map[string]bool{}
	for _, f := range all {
		gauge(out, rate, f.Rate, f.Bucket, f.Kind)
		gauge(out, ceiling, f.Ceiling, f.Bucket, f.Kind)
		gauge(out, waiting, float64(f.Waiting), f.Bucket, f.Kind)
		counter(out, throttled, float64(f.Throttled), f.Bucket, f.Kind)
		counter(out, halved, float64(f.Halved), f.Bucket, f.Kind)
		counter(out, waited, f.Waited.Seconds(), f.Bucket, f.Kind)
		if !seen[f.Bucket] {
			seen[f.Bucket] = true
			gauge(out, inFlight, float64(f.InFlight), f.Bucket)
			gauge(out, maxInFlight, float64(f.MaxInFlight), f.Bucket)
		}
	}
}

func gauge(out chan<- prometheus.Metric, d *prometheus.Desc, value float64, labels ...string) {
	out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
}

func counter(out chan<- prometheus.Metric, d *prometheus.Desc, value float64, labels ...string) {
	out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, value, labels...)
}

func one(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}
