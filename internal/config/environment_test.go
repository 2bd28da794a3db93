package config_test

import (
	"slices"
	"testing"
	"time"

	"github.com/certpurge/certpurge/internal/config"
)

func TestEveryKindOfValueCanComeFromTheEnvironment(t *testing.T) {
	t.Parallel()
	cfg, got := loadWorker(t, locations,
		dsnVariable,
		"CERTPURGE_LOG_LEVEL= debug ",
		"CERTPURGE_QUEUE_WEIGHTS_PURGE=9",
		"CERTPURGE_QUEUE_RETRY_CAP=1h",
		"CERTPURGE_GCS_ACCEPT_SOFT_DELETE=true",
		"CERTPURGE_LMS_EXCLUDED_STATES=PENDING, ABORTED,ON_HOLD",
		"CERTPURGE_REDIS_URL=rediss://user:a=b,c$HOME@redis:6379/1")
	assertProblems(t, got)
	if cfg.Log.Level != "debug" || cfg.Queue.Weights.Purge != 9 || cfg.Queue.RetryCap != time.Hour ||
		!cfg.GCS.AcceptSoftDelete {
		t.Errorf("got %+v, want each value of the environment", cfg)
	}
	if want := []string{"PENDING", "ABORTED", "ON_HOLD"}; !slices.Equal(cfg.LMS.ExcludedStates, want) {
		t.Errorf("got excluded_states %q, want %q", cfg.LMS.ExcludedStates, want)
	}
	// A password is taken as it is: no splitting, no expansion.
	if got, want := cfg.Redis.URL.Reveal(), "rediss://user:a=b,c$HOME@redis:6379/1"; got != want {
		t.Errorf("got redis.url %q, want %q", got, want)
	}
}

func TestVariablesThatCannotBeReadAreNamed(t *testing.T) {
	t.Parallel()
	_, got := loadWorker(t, locations, dsnVariable,
		"CERTPURGE_GCS_ANONYMOUS=maybe", "CERTPURGE_GCS_MAX_TRIES=4.0", "CERTPURGE_TASKS_TIMEOUT=3 minutes")
	assertProblems(t, got,
		`CERTPURGE_GCS_ANONYMOUS: gcs.anonymous: must be true or false, is "maybe"`,
		`CERTPURGE_GCS_MAX_TRIES: gcs.max_tries: must be a whole number, is "4.0"`,
		`CERTPURGE_TASKS_TIMEOUT: tasks.timeout: must be a duration such as "30s", "5m" or "7d", is "3 minutes"`)
}

func TestUnknownVariablesAreRefused(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"CERTPURGE_TASKS_RETRIES": "CERTPURGE_TASKS_RETRIES: names no configuration key; known are " +
			"CERTPURGE_TASKS_RETENTION, CERTPURGE_TASKS_TIMEOUT",
		"CERTPURGE_REDIS_PORT": "CERTPURGE_REDIS_PORT: names no configuration key; known are CERTPURGE_REDIS_PASSWORD, " +
			"CERTPURGE_REDIS_PASSWORD_FILE," +
			" CERTPURGE_REDIS_SENTINEL_PASSWORD, CERTPURGE_REDIS_SENTINEL_PASSWORD_FILE, CERTPURGE_REDIS_SENTINEL_USERNAME, " +
			"CERTPURGE_REDIS_TLS_CA_FILE," +
			" CERTPURGE_REDIS_TLS_CERTIFICATE_FILE, CERTPURGE_REDIS_TLS_KEY_FILE, CERTPURGE_REDIS_TLS_SERVER_NAME, " +
			"CERTPURGE_REDIS_URL," +
			" CERTPURGE_REDIS_URL_FILE, CERTPURGE_REDIS_USERNAME",
		"CERTPURGE_MONGO_URL": "CERTPURGE_MONGO_URL: names no configuration key; the variables are those of " +
			"docs/configuration.md",
		"CERTPURGE_LOCATIONS_0_NAME": "CERTPURGE_LOCATIONS_0_NAME: names no configuration key; the variables are those of " +
			"docs/configuration.md",
		"CERTPURGE_": "CERTPURGE_: names no configuration key; the variables are those of docs/configuration.md",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, got := loadWorker(t, locations, dsnVariable, name+"=6379")
			assertProblems(t, got, want)
			_, got = loadWorker(t, locations, dsnVariable, name+"=")
			assertProblems(t, got, want)
		})
	}
}

func TestVariablesThatAreNotOursToJudgeAreLeftAlone(t *testing.T) {
	t.Parallel()
	for _, variable := range []string{
		"CERTPURGE_CONFIG=/etc/certpurge/worker.yaml",
		"CERTPURGE_TEST_MYSQL_DSN=x",
		"certpurge_redis_host=a",
		"XCERTPURGE_REDIS_HOST=a",
		"CERTPURGE_GCS_ENDPOINT=", // Empty counts as not set.
		// What Kubernetes sets for services named certpurge and certpurge-worker.
		"CERTPURGE_SERVICE_HOST=10.0.0.1",
		"CERTPURGE_SERVICE_PORT_METRICS=8081",
		"CERTPURGE_PORT=tcp://10.0.0.1:8081",
		"CERTPURGE_WORKER_SERVICE_PORT=8081",
		"CERTPURGE_WORKER_PORT_8081_TCP=tcp://10.0.0.1:8081",
		"CERTPURGE_WORKER_PORT_8081_TCP_ADDR=10.0.0.1",
	} {
		t.Run(variable, func(t *testing.T) {
			t.Parallel()
			_, got := loadWorker(t, locations, dsnVariable, variable)
			assertProblems(t, got)
		})
	}
}

func TestOneEnvironmentServesBothBinaries(t *testing.T) {
	t.Parallel()
	_, err := config.LoadEnqueuer("", []string{dsnVariable, "CERTPURGE_QUEUE_CONCURRENCY=7"})
	if err != nil {
		t.Errorf("got %v, want the worker's variable to be left alone", err)
	}
	_, err = config.LoadEnqueuer("", []string{dsnVariable, "CERTPURGE_QUEUE_CONCURENCY=7"})
	if err == nil {
		t.Error("got no error, want a misspelt variable of the worker to be refused")
	}
}
