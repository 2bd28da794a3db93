package telemetry_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/telemetry"
)

var update = flag.Bool("update", false, "write the golden files anew")

var scraped = time.Date(2026, 11, 1, 3, 0, 0, 0, time.UTC)

// servers are all of them, and well.
func servers() telemetry.Servers {
	return telemetry.Servers{
		Ready:  func(context.Context) bool { return true },
		Ledger: func(context.Context) (telemetry.LedgerFigures, bool) { return telemetry.LedgerFigures{}, true },
		Queues: func(context.Context) (telemetry.RedisFigures, bool) {
			tasks := map[string]int{"pending": 0, "active": 0, "retry": 0, "scheduled": 0, "archived": 0, "completed": 0}
			return telemetry.RedisFigures{Queues: []telemetry.QueueFigures{{Queue: "purge", Tasks: tasks}}, Keeps: new(true)},
				true
		},
		Buckets: func() []telemetry.BucketFigures {
			return []telemetry.BucketFigures{{Bucket: "certs", Kind: "delete"}, {Bucket: "certs", Kind: "read"}}
		},
		Settings: func() []purge.BucketSettings { return []purge.BucketSettings{{Bucket: "certs"}} },
		Now:      func() time.Time { return scraped },
	}
}

// newMetrics registers everything that there is.
func newMetrics(t *testing.T, s telemetry.Servers) (*prometheus.Registry, *telemetry.Worker, *telemetry.Intake) {
	t.Helper()
	registry, err := telemetry.NewRegistry()
	if err != nil {
		t.Fatal(err)
	}
	worker, err := telemetry.NewWorker(registry)
	if err != nil {
		t.Fatal(err)
	}
	intake, err := telemetry.NewIntake(registry, purge.SourceAPI, purge.SourceDriver, purge.SourceBackfill)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := telemetry.NewWatch(registry); err != nil {
		t.Fatal(err)
	}
	if _, err := telemetry.NewNotify(registry); err != nil {
		t.Fatal(err)
	}
	if err := registry.Register(s); err != nil {
		t.Fatal(err)
	}
	return registry, worker, intake
}

// scrape returns /metrics.
func scrape(t *testing.T, registry *prometheus.Registry) string {
	t.Helper()
	_, text := get(t, telemetry.MetricsHandler(registry, slog.New(slog.DiscardHandler)), "/metrics")
	return text
}

// TestMetricsAreThoseOfTheList compares what there is at the start with a list for reviewers; go test -update writes
// it.
func TestMetricsAreThoseOfTheList(t *testing.T) {
	t.Parallel()
	const golden = "testdata/metrics.txt"
	registry, _, _ := newMetrics(t, servers())
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var list bytes.Buffer
	for _, f := range families {
		if !strings.HasPrefix(f.GetName(), "certpurge_") {
			continue
		}
		fmt.Fprintf(&list, "%s %s %d\n  %s\n", f.GetName(), strings.ToLower(f.GetType().String()), len(f.GetMetric()),
			f.GetHelp())
		labels := map[string][]string{}
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if !slices.Contains(labels[l.GetName()], l.GetValue()) {
					labels[l.GetName()] = append(labels[l.GetName()], l.GetValue())
				}
			}
		}
		for _, name := range []string{
			"bucket", "code", "found", "kind", "outcome", "queue", "reason", "result", "source",
			"state", "step",
		} {
			if values := labels[name]; len(values) > 0 {
				slices.Sort(values)
				fmt.Fprintf(&list, "  %s: %s\n", name, strings.Join(values, " "))
			}
			delete(labels, name)
		}
		for name := range labels {
			if f.GetName() != "certpurge_build_info" {
				t.Errorf("%s has the label %s; is it free of people?", f.GetName(), name)
			}
		}
	}
	if *update {
		if err := os.WriteFile(golden, list.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil || list.String() != string(want) {
		t.Errorf("%v; got\n%s\nwant\n%s", err, &list, want)
	}
}

// TestMetricsKeepTheRules asks what promtool check metrics asks.
func TestMetricsKeepTheRules(t *testing.T) {
	t.Parallel()
	registry, _, _ := newMetrics(t, servers())
	problems, err := promlint.New(strings.NewReader(scrape(t, registry))).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

func TestMetricsAreAtZeroFromTheStart(t *testing.T) {
	t.Parallel()
	registry, _, _ := newMetrics(t, servers())
	text := scrape(t, registry)
	for _, want := range []string{
		`certpurge_attempts_total{reason="none",state="done"} 0`, `certpurge_attempts_total{reason="held",state="failed"} 0`,
		`certpurge_attempts_total{reason="throttled",state="queued"} 0`,
		`certpurge_step_duration_seconds_count{step="verify"} 0`,
		`certpurge_objects_total{outcome="not_proven"} 0`, `certpurge_gcs_requests_total{code="429",kind="delete"} 0`,
		`certpurge_gcs_throttled_total{bucket="certs",kind="read"} 0`, `certpurge_reconciler_rounds_total{result="failed"} 0`,
		`certpurge_ledger_requests{reason="gave_up",state="failed"} 0`,
		`certpurge_ledger_requests{reason="none",state="running"} 0`,
		`certpurge_wishes_accepted_total{found="new",source="driver"} 0`, "certpurge_last_done_timestamp_seconds 0",
		"certpurge_ledger_oldest_due_age_seconds 0", "certpurge_evidence_unanchored_age_seconds 0",
		"certpurge_queue_workers 0", "certpurge_tasks_refused_total 0",
	} {
		if !strings.Contains(text, want+"\n") {
			t.Errorf("missing: %s", want)
		}
	}
}

func TestWorkerCounts(t *testing.T) {
	t.Parallel()
	registry, w, in := newMetrics(t, servers())
	w.Attempted(t.Context(), purge.Result{State: purge.Done, Reason: purge.ReasonNone}, nil, 300*time.Millisecond)
	w.Attempted(t.Context(), purge.Result{State: purge.Failed, Reason: purge.ReasonHeld}, nil, time.Second)
	w.Attempted(t.Context(), purge.Result{State: purge.Queued, Reason: purge.ReasonThrottled}, errors.New("later"),
		time.Second)
	w.Attempted(t.Context(), purge.Result{}, errors.New("MySQL is away"), time.Second)
	w.Refused()
	w.Took(purge.StepDelete, 200*time.Millisecond)
	w.Saw(purge.Erased, 8)
	w.Cleared(2)
	w.StorageRequest("delete", 204, 30*time.Millisecond)
	w.StorageRequest("list", 0, time.Second)
	w.StorageRequest("list", 418, time.Second)
	w.Reconciled(true, 3, 4, nil)
	w.Reconciled(false, 0, 0, nil)
	w.Reconciled(true, 1, 0, errors.New("MySQL is away"))
	in.Accepted(purge.SourceDriver, purge.FoundNew)
	text := scrape(t, registry)
	for _, want := range []string{
		`certpurge_attempts_total{reason="none",state="done"} 1`, `certpurge_attempts_total{reason="held",state="failed"} 1`,
		`certpurge_attempts_total{reason="throttled",state="queued"} 1`,
		`certpurge_attempts_total{reason="none",state="queued"} 1`,
		"certpurge_attempt_duration_seconds_count 4", "certpurge_tasks_refused_total 1",
		`certpurge_step_duration_seconds_bucket{step="delete",le="0.1"} 0`,
		`certpurge_step_duration_seconds_bucket{step="delete",le="0.25"} 1`,
		`certpurge_objects_total{outcome="erased"} 8`, "certpurge_references_cleared_total 2",
		`certpurge_gcs_requests_total{code="204",kind="delete"} 1`, `certpurge_gcs_requests_total{code="none",kind="list"} 1`,
		`certpurge_gcs_requests_total{code="418",kind="list"} 1`,
		`certpurge_gcs_request_duration_seconds_count{kind="list"} 2`,
		`certpurge_reconciler_rounds_total{result="led"} 1`, `certpurge_reconciler_rounds_total{result="followed"} 1`,
		`certpurge_reconciler_rounds_total{result="failed"} 1`, "certpurge_reconciler_tasks_restored_total 4",
		"certpurge_reconciler_tasks_removed_total 4",
		`certpurge_wishes_accepted_total{found="new",source="driver"} 1`,
	} {
		if !strings.Contains(text, want+"\n") {
			t.Errorf("missing: %s", want)
		}
	}
	if strings.Contains(text, "certpurge_last_done_timestamp_seconds 0\n") {
		t.Error("the last one done has no time")
	}
	// A request that had ended before is no success of now.
	registry, w, _ = newMetrics(t, servers())
	w.Attempted(t.Context(), purge.Result{State: purge.Done, Again: true}, nil, time.Second)
	if !strings.Contains(scrape(t, registry), "certpurge_last_done_timestamp_seconds 0\n") {
		t.Error("a repeated task counts as a success")
	}
}

func TestWatchCounts(t *testing.T) {
	t.Parallel()
	registry, err := telemetry.NewRegistry()
	if err != nil {
		t.Fatal(err)
	}
	w, err := telemetry.NewWatch(registry)
	if err != nil {
		t.Fatal(err)
	}
	w.Watched(false, nil)
	w.Watched(true, errors.New("MySQL is away"))
	if text := scrape(t, registry); !strings.Contains(text, "certpurge_watch_last_round_timestamp_seconds 0\n") {
		t.Errorf("a round of another watcher, or one that failed, counts as finished:\n%s", text)
	}
	w.Watched(true, nil)
	text := scrape(t, registry)
	for _, result := range []string{"led", "followed", "failed"} {
		if !strings.Contains(text, fmt.Sprintf("certpurge_watch_rounds_total{result=%q} 1\n", result)) {
			t.Errorf("%s is not counted:\n%s", result, text)
		}
	}
	if strings.Contains(text, "certpurge_watch_last_round_timestamp_seconds 0\n") {
		t.Error("the round has no time")
	}
}

func TestNotificationsAreCounted(t *testing.T) {
	t.Parallel()
	registry, err := telemetry.NewRegistry()
	if err != nil {
		t.Fatal(err)
	}
	n, err := telemetry.NewNotify(registry)
	if err != nil {
		t.Fatal(err)
	}
	n.Sent(5, 2, 1)
	n.Sent(1, 0, 0)
	n.Waits(7, 90*time.Second)
	text := scrape(t, registry)
	for _, want := range []string{
		`certpurge_notifications_total{result="delivered"} 6`, `certpurge_notifications_total{result="failed"} 2`,
		`certpurge_notifications_total{result="given_up"} 1`, "certpurge_notifications_waiting 7",
		"certpurge_notifications_oldest_age_seconds 90",
	} {
		if !strings.Contains(text, want+"\n") {
			t.Errorf("%s is missing:\n%s", want, text)
		}
	}
}

func TestServersAreReadAtEachScrape(t *testing.T) {
	t.Parallel()
	s := servers()
	s.Ledger = func(context.Context) (telemetry.LedgerFigures, bool) {
		return telemetry.LedgerFigures{
			Requests: map[purge.State]map[purge.Reason]int64{
				purge.Queued:  {purge.ReasonNone: 12},
				purge.Running: {purge.ReasonTransient: 3}, "odd": {"new": 1},
			},
			OldestDue: scraped.Add(-90 * time.Second), LastDone: scraped.Add(-time.Second),
			UnanchoredSince: scraped.Add(-time.Hour),
		}, true
	}
	s.Queues = func(context.Context) (telemetry.RedisFigures, bool) {
		return telemetry.RedisFigures{
			Queues: []telemetry.QueueFigures{{Queue: "backfill", Paused: true, Tasks: map[string]int{"pending": 7}}}, Workers: 2,
			Keeps: new(false), Broken: true,
		}, true
	}
	s.Ready = func(context.Context) bool { return false }
	s.Settings = func() []purge.BucketSettings {
		return []purge.BucketSettings{{
			Bucket: "certs", Versioning: true, SoftDelete: 7 * 24 * time.Hour,
			Retention: time.Minute,
		}, {Bucket: "old", SoftDeleteUnknown: true}}
	}
	s.Buckets = func() []telemetry.BucketFigures {
		return []telemetry.BucketFigures{
			{
				Bucket: "certs", Kind: "delete", Rate: 50, Ceiling: 100, Waiting: 4, Throttled: 5, Halved: 1,
				Waited: 1500 * time.Millisecond, InFlight: 6, MaxInFlight: 64,
			},
		}
	}
	registry, _, _ := newMetrics(t, s)
	text := scrape(t, registry)
	if strings.Contains(text, `certpurge_bucket_soft_delete_seconds{bucket="old"}`) {
		t.Error("a bucket that does not say whether it has soft delete is reported as one without")
	}
	for _, want := range []string{
		"certpurge_ledger_up 1", `certpurge_ledger_requests{reason="none",state="queued"} 12`,
		`certpurge_ledger_requests{reason="transient",state="running"} 3`,
		`certpurge_ledger_requests{reason="new",state="odd"} 1`, `certpurge_ledger_requests{reason="held",state="failed"} 0`,
		"certpurge_evidence_unanchored_age_seconds 3600", "certpurge_ledger_oldest_due_age_seconds 90", "certpurge_ledger_last_done_timestamp_seconds 1.793501999e+09",
		"certpurge_queue_up 1", "certpurge_queue_workers 2", `certpurge_queue_paused{queue="backfill"} 1`,
		`certpurge_queue_tasks{queue="backfill",state="pending"} 7`,
		`certpurge_gcs_rate_requests_per_second{bucket="certs",kind="delete"} 50`,
		`certpurge_gcs_rate_ceiling_requests_per_second{bucket="certs",kind="delete"} 100`,
		`certpurge_gcs_calls_waiting{bucket="certs",kind="delete"} 4`,
		`certpurge_gcs_throttled_total{bucket="certs",kind="delete"} 5`,
		`certpurge_gcs_rate_halved_total{bucket="certs",kind="delete"} 1`,
		`certpurge_gcs_waited_seconds_total{bucket="certs",kind="delete"} 1.5`,
		`certpurge_gcs_calls_in_flight{bucket="certs"} 6`, `certpurge_gcs_calls_in_flight_limit{bucket="certs"} 64`,
		"certpurge_ready 0", "certpurge_queue_noeviction 0", "certpurge_queue_statistics_up 0",
		`certpurge_bucket_soft_delete_seconds{bucket="certs"} 604800`,
		`certpurge_bucket_retention_seconds{bucket="certs"} 60`, `certpurge_bucket_versioning{bucket="certs"} 1`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("missing: %s", want)
		}
	}
}

// TestServersThatAreAwayLeaveNoOldFigures tells "unknown" from "as before".
func TestServersThatAreAwayLeaveNoOldFigures(t *testing.T) {
	t.Parallel()
	s := servers()
	s.Ledger = func(context.Context) (f telemetry.LedgerFigures, ok bool) { return f, false }
	s.Queues = func(context.Context) (f telemetry.RedisFigures, ok bool) { return f, false }
	registry, _, _ := newMetrics(t, s)
	text := scrape(t, registry)
	if !strings.Contains(text, "certpurge_ledger_up 0\n") || !strings.Contains(text, "certpurge_queue_up 0\n") ||
		strings.Contains(text, "certpurge_ledger_requests{") || strings.Contains(text, "certpurge_queue_tasks{") ||
		strings.Contains(text, "certpurge_queue_noeviction ") {
		t.Errorf("got\n%s", text)
	}
}
