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

// TestNothingIsViolated is the form of the suite that every test run plays. Faults whose traces stay for minutes are left
// to make chaos.
func TestNothingIsViolated(t *testing.T) {
	t.Parallel()
	enqueuer, worker := sandboxtest.Binaries(t)
	faults := []string{
		"gcs-429", "gcs-503", "gcs-reset", "gcs-lost-answer", "gcs-permission", "gcs-bucket-renamed", "mysql-kill", "mysql-restart",
		"mysql-deadlock", "redis-flush", "redis-restart", "worker-term", "enqueuer-kill", "enqueue-twice",
	}
	var out, people bytes.Buffer
	report, err := chaos.Run(t.Context(), chaos.Options{
		Users: 60, Seed: 5, Bound: 90 * time.Second, Faults: faults, Workers: 2, JSON: true, Out: &out, Err: &people,
		Enqueuer: enqueuer, Worker: worker,
	})
	if err != nil {
		t.Fatalf("%v\n%s", err, people.String())
	}
	if !report.OK || report.Ends["done"] < 60 || report.ObjectsErased < 60*12 || report.Observer.Looks == 0 || report.Observer.Sweeps == 0 {
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

func TestOptionsAreChecked(t *testing.T) {
	t.Parallel()
	good := chaos.Options{Users: 1, Workers: 1, Bound: time.Minute, Out: io.Discard, Err: io.Discard}
	for want, spoil := range map[string]func(o *chaos.Options){
		"0 users":         func(o *chaos.Options) { o.Users = 0 },
		"0 workers":       func(o *chaos.Options) { o.Workers = 0 },
		"1s":              func(o *chaos.Options) { o.Bound = time.Second },
		`no fault "dust"`: func(o *chaos.Options) { o.Faults = []string{"gcs-503", "dust"} },
	} {
		o := good
		spoil(&o)
		if _, err := chaos.Run(t.Context(), o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want an error that says %q", err, want)
		}
	}
}
