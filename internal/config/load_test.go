package config_test

import (
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/certpurge/certpurge/internal/config"
)

func TestEnvironmentGoesOverFileGoesOverDefaults(t *testing.T) {
	t.Parallel()
	file := "gcs:\n  max_tries: 7\n  max_in_flight: 10\n" + locations
	cfg, got := loadWorker(t, file, dsnVariable, "CERTPURGE_GCS_MAX_IN_FLIGHT=20")
	assertProblems(t, got)
	if cfg.GCS.CallTimeout != 30*time.Second {
		t.Errorf("in neither: got call_timeout %s, want the default 30s", cfg.GCS.CallTimeout)
	}
	if cfg.GCS.MaxTries != 7 {
		t.Errorf("in the file: got max_tries %d, want 7", cfg.GCS.MaxTries)
	}
	if cfg.GCS.MaxInFlight != 20 {
		t.Errorf("in both: got max_in_flight %d, want the environment's 20", cfg.GCS.MaxInFlight)
	}
}

func TestEnvironmentSuppliesWhatTheFileGotWrong(t *testing.T) {
	t.Parallel()
	// The file is still wrong, but the rules then speak of the value that counts.
	_, got := loadWorker(t, "gcs:\n  max_tries: many\n"+locations, dsnVariable, "CERTPURGE_GCS_MAX_TRIES=11")
	assertProblems(t, got,
		`worker.yaml:2: gcs.max_tries: must be a whole number, is "many"`,
		`CERTPURGE_GCS_MAX_TRIES: gcs.max_tries: must be between 1 and 10, is 11`)
}

func TestNoFileMeansDefaultsAndEnvironment(t *testing.T) {
	t.Parallel()
	got, err := config.LoadEnqueuer("", []string{dsnVariable, "CERTPURGE_LMS_DATABASE=edxapp", "HOME=/root"})
	if err != nil {
		t.Fatal(err)
	}
	want := config.DefaultEnqueuer()
	want.MySQL.DSN = config.NewSecret(dsn)
	want.LMS.Database = "edxapp"
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestEmptyFilesMeanDefaults(t *testing.T) {
	t.Parallel()
	for name, content := range map[string]string{
		"empty":          "",
		"only a comment": "# nothing\n",
		"only a start":   "---\n",
		"empty sections": "mysql:\nredis:\n  # url: redis://other\ntasks: {}\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := write(t, "enqueuer.yaml", content)
			got, err := config.LoadEnqueuer(path, []string{dsnVariable})
			if err != nil {
				t.Fatal(err)
			}
			want := config.DefaultEnqueuer()
			want.MySQL.DSN = config.NewSecret(dsn)
			if !reflect.DeepEqual(got, want) {
				t.Errorf("got %+v, want %+v", got, want)
			}
		})
	}
}

func TestMissingFileIsNamed(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "worker.yaml")
	_, err := config.LoadWorker(path, []string{dsnVariable})
	assertProblems(t, problems(t, err, path), "configuration file worker.yaml does not exist")
	_, err = config.LoadWorker(filepath.Dir(path), []string{dsnVariable})
	assertProblems(t, problems(t, err, filepath.Dir(path)),
		"configuration file "+filepath.Base(filepath.Dir(path))+" cannot be read: is a directory")
}

func TestAllProblemsAreReportedAtOnce(t *testing.T) {
	t.Parallel()
	file := `log:
  lvl: debug
gcs:
  max_in_flight: 0
  max_tries: many
tasks:
  timeout: 90
  retention: 1500ms
locations:
  - name: current
    buckts: example-certificates
surprise: 1
`
	_, got := loadWorker(t, file, "CERTPURGE_ADMIN_LISTEN=8081", "CERTPURGE_QUEUE_CONCURENCY=7",
		"CERTPURGE_MYSQL_QUERY_TIMEOUT=10")
	assertProblems(
		t,
		got,
		`worker.yaml:2: unknown key "lvl" in log; known keys: level, format`,
		`worker.yaml:5: gcs.max_tries: must be a whole number, is "many"`,
		`worker.yaml:7: tasks.timeout: must be a duration such as "30s", "5m" or "7d", is 90`,
		`worker.yaml:11: unknown key "buckts" in locations[0]; known keys: name, bucket, object_prefix, downloads_dir, verify_dir, url_prefixes, signed, missing_files, allow_empty`,
		`worker.yaml:12: unknown key "surprise"; known keys: log, mysql, lms, redis, tasks, queue, reconciler, evidence, locations, external_prefixes, external_links, shared_directories, gcs, admin, tracing`,
		`CERTPURGE_MYSQL_QUERY_TIMEOUT: mysql.query_timeout: must be a duration such as "30s", "5m" or "7d", is "10"`,
		`CERTPURGE_QUEUE_CONCURENCY: names no configuration key; known are CERTPURGE_QUEUE_CONCURRENCY, `+
			`CERTPURGE_QUEUE_DRAIN_TIMEOUT, CERTPURGE_QUEUE_MAX_AGE, CERTPURGE_QUEUE_MAX_ATTEMPTS, CERTPURGE_QUEUE_RETRY_BASE, CERTPURGE_QUEUE_RETRY_CAP, `+
			`CERTPURGE_QUEUE_WEIGHTS_BACKFILL, CERTPURGE_QUEUE_WEIGHTS_PURGE`,
		`mysql.dsn: must be set`,
		`worker.yaml:8: tasks.retention: must be whole seconds between 0s and 24h, is 1.5s`,
		`worker.yaml:10: locations[0].bucket: must be set`,
		`worker.yaml:4: gcs.max_in_flight: must be between 1 and 100, is 0`,
		`CERTPURGE_ADMIN_LISTEN: admin.listen: must be written host:port or :port, or be empty, is "8081"`,
	)
}

func TestErrorListsItsProblems(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		problems []string
		want     string
	}{
		{[]string{"a: must be set"}, "invalid configuration: a: must be set"},
		{[]string{"a: must be set", "b: is wrong"}, "invalid configuration, 2 problems:\n  a: must be set\n  b: is wrong"},
	} {
		if got := (&config.Error{Problems: test.problems}).Error(); got != test.want {
			t.Errorf("got %q, want %q", got, test.want)
		}
	}
}
