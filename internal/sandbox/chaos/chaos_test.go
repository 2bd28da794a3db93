package chaos_test

import (
	"bytes"
	"encoding/json"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/certpurge/certpurge/internal/sandbox/chaos"
	"github.com/certpurge/certpurge/internal/sandbox/sandboxtest"
)

// TestNothingIsViolated plays a storm so short that it shows little more than that the suite works. make chaos plays it
// for minutes, with the faults whose traces stay for minutes; CI does that, too.
func TestNothingIsViolated(t *testing.T) {
	t.Parallel()
	enqueuer, worker := sandboxtest.Binaries(t)
	faults := []string{
		"gcs-lost-answer", "gcs-bucket-renamed", "mysql-kill", "redis-flush", "worker-term",
		"enqueuer-kill",
	}
	var out, people bytes.Buffer
	report, err := chaos.Run(t.Context(), chaos.Options{
		Users: 20, Seed: 5, Bound: 5 * time.Minute, Storm: time.Second, Faults: faults, Workers: 2, JSON: true, Out: &out,
		Err:      &people,
		Enqueuer: enqueuer, Worker: worker,
	})
	if err != nil {
		t.Fatalf("%v\n%s", err, people.String())
	}
	if !report.OK || report.Ends["done"] < 20 || report.ObjectsErased < 20*12 || report.Observer.Looks == 0 ||
		report.Observer.Sweeps == 0 {
		t.Errorf("got %+v", report)
	}
	for _, line := range report.Faults {
		if line.Episodes == 0 || line.Users == 0 {
			t.Errorf("%s was never played: %+v", line.Fault, line)
		}
	}
	if got, want := report.Observer.Cleared, report.ReferencesCleared; got != want {
		t.Errorf("the observer judged %d references, want %d: all that were cleared", got, want)
	}
	var line map[string]any
	if err := json.Unmarshal(out.Bytes(), &line); err != nil || strings.Count(out.String(), "\n") != 1 {
		t.Errorf("got %v, want one line of JSON:\n%s", err, out.String())
	}
}

func TestDeadLettersAreKeptInTheLedger(t *testing.T) {
	t.Parallel()
	enqueuer, worker := sandboxtest.Binaries(t)
	const users = 30
	var people bytes.Buffer
	report, err := chaos.Run(t.Context(), chaos.Options{
		Scenario: chaos.DeadLetters, Users: users, Seed: 6, Bound: 5 * time.Minute, Workers: 2, Out: &people, Err: &people,
		Enqueuer: enqueuer, Worker: worker,
	})
	if err != nil {
		t.Fatalf("%v\n%s", err, people.String())
	}
	d := report.DeadLetters
	if !report.OK || d == nil || d.Failed < users || d.Users != d.Failed+d.Others || d.Requeued != d.Failed ||
		d.Done < users ||
		d.Done+d.Blocked != d.Failed || d.ArchiveMax != 0 || d.ArchiveLooks == 0 {
		t.Errorf("got %+v of %+v", d, report)
	}
	if !strings.Contains(people.String(), "archive at most") {
		t.Errorf("the table is missing:\n%s", people.String())
	}
}

func TestOptionsAreChecked(t *testing.T) {
	t.Parallel()
	good := chaos.Options{Users: 1, Workers: 1, Bound: time.Minute, Out: io.Discard, Err: io.Discard}
	for want, spoil := range map[string]func(o *chaos.Options){
		"0 users":            func(o *chaos.Options) { o.Users = 0 },
		"0 workers":          func(o *chaos.Options) { o.Workers = 0 },
		"1s":                 func(o *chaos.Options) { o.Bound = time.Second },
		`no fault "dust"`:    func(o *chaos.Options) { o.Faults = []string{"gcs-503", "dust"} },
		`there is no "dust"`: func(o *chaos.Options) { o.Scenario = "dust" },
		"none can be chosen": func(o *chaos.Options) { o.Scenario, o.Faults = chaos.Flush, []string{"redis-flush"} },
	} {
		o := good
		spoil(&o)
		if _, err := chaos.Run(t.Context(), o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want an error that says %q", err, want)
		}
	}
}
