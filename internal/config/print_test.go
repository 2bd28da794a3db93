package config_test

import (
	"bytes"
	"reflect"
	"strings"
	"testing"

	"github.com/certpurge/certpurge/internal/config"
)

func TestPrintedConfigurationLoadsAgain(t *testing.T) {
	t.Parallel()
	file := `
redis: {url: redis://hunter2@redis:6379/0}
queue: {retry_cap: 1h30m, weights: {purge: 3}}
lms: {excluded_states: [PENDING]}
locations:
  - {name: "2024", bucket: example-certificates, object_prefix: "a b/", url_prefixes: [//cdn.example.com/]}
  - {name: null-and-void, bucket: "123", verify_dir: "yes"}
`
	want, got := loadWorker(t, file, dsnVariable)
	assertProblems(t, got)
	var printed bytes.Buffer
	if err := config.Print(&printed, want); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(printed.String(), "hunter2") {
		t.Fatalf("got\n%s\nwhich holds the password", &printed)
	}
	filled := strings.Replace(printed.String(), "dsn: REDACTED", "dsn: "+dsn, 1)
	filled = strings.Replace(filled, "url: REDACTED", "url: "+want.Redis.URL.Reveal(), 1)
	again, got := loadWorker(t, filled)
	assertProblems(t, got)
	again.Locations[1].URLPrefixes = nil // Printed, and so loaded, as an empty list.
	if !reflect.DeepEqual(again, want) {
		t.Errorf("got %+v\nwant %+v\nfrom\n%s", again, want, filled)
	}
}

func TestPrintLeavesOutSecretsThatFilesHold(t *testing.T) {
	t.Parallel()
	dsnFile := write(t, "dsn", dsn)
	cfg, err := config.LoadEnqueuer("", []string{"CERTPURGE_MYSQL_DSN_FILE=" + dsnFile})
	if err != nil {
		t.Fatal(err)
	}
	var printed bytes.Buffer
	if err := config.Print(&printed, &cfg); err != nil {
		t.Fatal(err)
	}
	if cfg.MySQL.DSN.Reveal() != dsn {
		t.Errorf("got DSN %q after printing, want it untouched", cfg.MySQL.DSN.Reveal())
	}
	filled := strings.Replace(printed.String(), "url: REDACTED", "url: "+cfg.Redis.URL.Reveal(), 1)
	again, err := config.LoadEnqueuer(write(t, "enqueuer.yaml", filled), nil)
	if err != nil || !reflect.DeepEqual(again, cfg) {
		t.Errorf("got %+v, %v, want %+v from\n%s", again, err, cfg, filled)
	}
}

func TestPrintTakesNothingElse(t *testing.T) {
	t.Parallel()
	var printed bytes.Buffer
	if err := config.Print(&printed, struct{ Password string }{"hunter2"}); err == nil || printed.Len() > 0 {
		t.Errorf("got %v and %q, want an error and no output", err, &printed)
	}
}
