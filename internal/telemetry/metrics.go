package telemetry

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/certpurge/certpurge/internal/purge"
)

// The metrics of certpurge are declared in this file and in the other metrics_*.go. They have no label that could name
// a user, and each exists, at zero, from the start: a series that appears only with the first failure cannot be alerted
// on.

// Worker holds the metrics of a worker. It implements queue.Metrics and purge.Observer.
type Worker struct {
	attempts   *prometheus.CounterVec
	attempt    prometheus.Histogram
	refused    prometheus.Counter
	steps      *prometheus.HistogramVec
	objects    *prometheus.CounterVec
	references prometheus.Counter
	lastDone   prometheus.Gauge
	requests   *prometheus.CounterVec
	request    *prometheus.HistogramVec
	rounds     *prometheus.CounterVec
	restored   prometheus.Counter
	removed    prometheus.Counter
}

// durations are bounds of histograms, in seconds: most purges take less than one, and a timeout at most an hour.
var durations = []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 180}

// NewWorker registers the metrics of a worker.
func NewWorker(r prometheus.Registerer) (*Worker, error) {
	w := &Worker{
		attempts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "certpurge_attempts_total",
			Help: "Attempts at requests, by the state and the reason that the request had afterwards. State queued means that " +
				"it is tried again.",
		}, []string{"state", "reason"}),
		attempt: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "certpurge_attempt_duration_seconds", Help: "Time that attempts at requests took.", Buckets: durations,
		}),
		refused: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "certpurge_tasks_refused_total", Help: "Tasks in Redis that have no request in the ledger, or that " +
				"another program made.",
		}),
		steps: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "certpurge_step_duration_seconds", Help: "Time that the steps of attempts took.", Buckets: durations,
		}, []string{"step"}),
		objects: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "certpurge_objects_total",
			Help: "Object generations, by what attempts have found out about them. Outcomes absent, missing and " +
				"missing_accepted count" +
				" directories that held none, external counts links.",
		}, []string{"outcome"}),
		references: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "certpurge_references_cleared_total", Help: "References that attempts have cleared in the LMS.",
		}),
		lastDone: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "certpurge_last_done_timestamp_seconds", Help: "When this process last got a request done; 0 if it " +
				"has not yet.",
		}),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "certpurge_gcs_requests_total", Help: "Requests to Cloud Storage, by the status code of the answer. Code " +
				"none means that no answer came.",
		}, []string{"kind", "code"}),
		request: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "certpurge_gcs_request_duration_seconds", Help: "Time until Cloud Storage answered a request.",
			Buckets: durations,
		}, []string{"kind"}),
		rounds: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "certpurge_reconciler_rounds_total", Help: "Rounds of the reconciler: led, followed (another process " +
				"leads), or failed.",
		}, []string{"result"}),
		restored: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "certpurge_reconciler_tasks_restored_total", Help: "Tasks that the reconciler has put back into Redis.",
		}),
		removed: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "certpurge_reconciler_tasks_removed_total", Help: "Archived and broken tasks that the reconciler has " +
				"removed from Redis.",
		}),
	}
	w.zero()
	return w, register(r, w.attempts, w.attempt, w.refused, w.steps, w.objects, w.references, w.lastDone, w.requests,
		w.request, w.rounds, w.restored, w.removed)
}

// ends are the states and reasons that a request can have after an attempt.
func ends() map[purge.State][]purge.Reason {
	return map[purge.State][]purge.Reason{
		purge.Done:    {purge.ReasonNone, purge.ReasonNothingToPurge, purge.ReasonFilesMissing},
		purge.Refused: {purge.ReasonNotRetiring, purge.ReasonUnknownUser, purge.ReasonNotOrphan},
		purge.Failed: {
			purge.ReasonHeld, purge.ReasonNoPermission, purge.ReasonUnrecognised, purge.ReasonShared, purge.ReasonTooMany,
			purge.ReasonFilesMissing, purge.ReasonGaveUp,
		},
		purge.Queued: {
			purge.ReasonNone, purge.ReasonTransient, purge.ReasonThrottled, purge.ReasonRetained, purge.ReasonSoftDeleted,
			purge.ReasonMisconfigured,
			purge.ReasonUnavailable, purge.ReasonStopped,
		},
	}
}

// outcomes are those that exist from the start.
func outcomes() []purge.Outcome {
	return []purge.Outcome{
		purge.Erased, purge.Absent, purge.Missing, purge.MissingAccepted, purge.External, purge.SoftDeleted, purge.HeldBack,
		purge.KeptUntil, purge.NotProven, purge.Referenced, purge.TooYoung, purge.Foreign,
	}
}

// codes are the answers of Cloud Storage that exist from the start; others are added when they come.
func codes() []string {
	return []string{"200", "204", "400", "401", "403", "404", "408", "412", "429", "500", "502", "503", "504", "none"}
}

// zero makes every series exist.
func (w *Worker) zero() {
	for state, reasons := range ends() {
		for _, reason := range reasons {
			w.attempts.WithLabelValues(string(state), none(string(reason)))
		}
	}
	for _, step := range purge.Steps() {
		w.steps.WithLabelValues(string(step))
	}
	for _, outcome := range outcomes() {
		w.objects.WithLabelValues(string(outcome))
	}
	for _, kind := range []string{"list", "delete", "bucket"} {
		w.request.WithLabelValues(kind)
		for _, code := range codes() {
			w.requests.WithLabelValues(kind, code)
		}
	}
	for _, result := range []string{"led", "followed", "failed"} {
		w.rounds.WithLabelValues(result)
	}
}

// none is the value of a label that is empty; an empty one is no label at all.
func none(s string) string { return cmp.Or(s, "none") }

// Attempted counts an attempt.
func (w *Worker) Attempted(ctx context.Context, result purge.Result, err error, took time.Duration) {
	state, reason := cmp.Or(result.State, purge.Queued), result.Reason
	if err != nil && !slices.Contains(ends()[state], reason) {
		reason = purge.ReasonNone
	}
	w.attempts.WithLabelValues(string(state), none(string(reason))).Inc()
	observe(ctx, w.attempt, took.Seconds())
	if state == purge.Done && !result.Again {
		w.lastDone.SetToCurrentTime()
	}
}

// observe adds the id of the trace as an exemplar, if there is one that is kept.
func observe(ctx context.Context, h prometheus.Histogram, value float64) {
	id := traceID(ctx)
	if with, ok := h.(prometheus.ExemplarObserver); ok && id != "" {
		with.ObserveWithExemplar(value, prometheus.Labels{"trace_id": id})
		return
	}
	h.Observe(value)
}

// Refused counts a task that was dropped: of another program, unreadable, or without a request.
func (w *Worker) Refused() { w.refused.Inc() }

// Took observes a step.
func (w *Worker) Took(step purge.Step, d time.Duration) {
	w.steps.WithLabelValues(string(step)).Observe(d.Seconds())
}

// Saw counts objects.
func (w *Worker) Saw(outcome purge.Outcome, n int) {
	w.objects.WithLabelValues(string(outcome)).Add(float64(n))
}

// Cleared counts references.
func (w *Worker) Cleared(references int) { w.references.Add(float64(references)) }

// StorageRequest counts a request to Cloud Storage; status 0 means that no answer came.
func (w *Worker) StorageRequest(kind string, status int, took time.Duration) {
	code := "none"
	if status != 0 {
		code = strconv.Itoa(status)
	}
	w.requests.WithLabelValues(kind, code).Inc()
	w.request.WithLabelValues(kind).Observe(took.Seconds())
}

// Reconciled counts a round of the reconciler.
func (w *Worker) Reconciled(led bool, restored, removed int, err error) {
	result := "followed"
	switch {
	case err != nil:
		result = "failed"
	case led:
		result = "led"
	}
	w.rounds.WithLabelValues(result).Inc()
	w.restored.Add(float64(restored))
	w.removed.Add(float64(removed))
}

// Intake holds the metrics of a process that accepts submissions.
type Intake struct{ accepted *prometheus.CounterVec }

// NewIntake registers them. sources are those of the submissions that the process accepts.
func NewIntake(r prometheus.Registerer, sources ...purge.Source) (*Intake, error) {
	in := &Intake{accepted: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "certpurge_wishes_accepted_total",
		Help: "Submissions accepted into the ledger, by source and by what was found: new, or the state of the request " +
			"that was there.",
	}, []string{"source", "found"})}
	for _, source := range sources {
		for _, found := range []purge.Found{
			purge.FoundNew, purge.Found(purge.Queued), purge.Found(purge.Running),
			purge.Found(purge.Done), purge.Found(purge.Refused), purge.Found(purge.Failed),
		} {
			in.accepted.WithLabelValues(string(source), string(found))
		}
	}
	return in, register(r, in.accepted)
}

// Accepted counts a submission.
func (in *Intake) Accepted(source purge.Source, found purge.Found) {
	in.accepted.WithLabelValues(string(source), string(found)).Inc()
}
