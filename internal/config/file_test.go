package config_test

import (
	"strings"
	"testing"

	"github.com/certpurge/certpurge/internal/config"
)

func TestFileProblemsAreNamedWithTheirPlace(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		file string
		want []string
	}{
		"unknown key in a section": {
			"redis:\n  host: a\n",
			[]string{`worker.yaml:2: unknown key "host" in redis; known keys: ` + redisKeys},
		},
		"unknown key in a nested section": {
			"queue:\n  weights: {purge: 3, low: 1}\n",
			[]string{`worker.yaml:2: unknown key "low" in queue.weights; known keys: purge, backfill`},
		},
		"key in capitals": {
			"Redis:\n  url: redis://a\n",
			[]string{`worker.yaml:1: unknown key "Redis"; known keys: log, mysql, lms, redis, tasks, queue, reconciler, evidence, locations, external_prefixes, external_links, shared_directories, gcs, admin, tracing`},
		},
		"merge key": {
			"log:\n  <<: {level: info}\n",
			[]string{`worker.yaml:2: unknown key "<<" in log; known keys: level, format`},
		},
		"key that may be a value": {
			"redis:\n  ? url:redis://me:hunter2@host\n  : x\n",
			[]string{`worker.yaml:2: unknown key in redis; known keys: ` + redisKeys},
		},
		"key that is a list": {
			"log:\n  ? [level]\n  : info\n",
			[]string{`worker.yaml:2: unknown key in log; known keys: level, format`},
		},
		"key set twice": {
			"log:\n  level: info\n  format: text\n  level: debug\n",
			[]string{`worker.yaml:4: log.level: is set twice, first in line 2`},
		},
		"section set twice": {
			"log:\n  level: info\nlog:\n  format: text\n",
			[]string{`worker.yaml:3: log: is set twice, first in line 1`},
		},
		"text for a section": {
			"log: info\n",
			[]string{`worker.yaml:1: log: must be a section (a mapping of keys), is "info"`},
		},
		"list for a section": {
			"log: [info]\n",
			[]string{`worker.yaml:1: log: must be a section (a mapping of keys), is a list`},
		},
		"section for a text": {
			"log: {level: {name: info}}\n",
			[]string{`worker.yaml:1: log.level: must be a text, is a section`},
		},
		"quoted number": {
			"gcs: {max_tries: \"4\"}\n",
			[]string{`worker.yaml:1: gcs.max_tries: must be a whole number, is the text "4"`},
		},
		"fraction": {
			"gcs: {max_tries: 1.5}\n",
			[]string{`worker.yaml:1: gcs.max_tries: must be a whole number, is 1.5`},
		},
		"number beyond any": {
			"gcs: {max_tries: 99999999999999999999}\n",
			[]string{`worker.yaml:1: gcs.max_tries: must be a whole number, is 99999999999999999999`},
		},
		"number for a switch": {
			"gcs: {anonymous: 1}\n",
			[]string{`worker.yaml:1: gcs.anonymous: must be true or false, is 1`},
		},
		"duration without a unit": {
			"tasks: {timeout: 180}\n",
			[]string{`worker.yaml:1: tasks.timeout: must be a duration such as "30s", "5m" or "7d", is 180`},
		},
		"zero without a unit": {
			"tasks: {retention: 0}\n",
			[]string{`worker.yaml:1: tasks.retention: must be a duration such as "30s", "5m" or "7d", is 0`},
		},
		"text for a list": {
			"lms: {excluded_states: PENDING}\n",
			[]string{`worker.yaml:1: lms.excluded_states: must be a list of texts, is "PENDING"`},
		},
		"section for a list": {
			"locations: {name: current}\n",
			[]string{`worker.yaml:1: locations: must be a list of locations, is a section`},
		},
		"text for an entry of a list": {
			"locations:\n  - current\n",
			[]string{`worker.yaml:2: locations[0]: must be a section (a mapping of keys), is "current"`},
		},
		"list for an entry of a list": {
			"lms:\n  excluded_states:\n    - PENDING\n    - [ABORTED]\n",
			[]string{`worker.yaml:4: lms.excluded_states[1]: must be a text, is a list`},
		},
		"no value": {
			"admin:\n  listen:\n",
			[]string{`worker.yaml:2: admin.listen: has no value; write "" or [] for an empty one, or remove the line`},
		},
		"alias": {
			"log: {level: &l info, format: *l}\n",
			[]string{`worker.yaml:1: log.format: is a YAML alias, which is not supported; write the value out`},
		},
		"tag of another language": {
			"log: {level: !ruby/object info}\n",
			[]string{`worker.yaml:1: log.level: must be a text, is "info"`},
		},
		"secret of a wrong type is not repeated": {
			"mysql:\n  dsn: [hunter2]\n",
			[]string{`worker.yaml:2: mysql.dsn: must be a text`},
		},
		"long value is cut": {
			"log: " + strings.Repeat("x", 1000) + "\n",
			[]string{`worker.yaml:1: log: must be a section (a mapping of keys), is "` + strings.Repeat("x", 100) + `…"`},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file, environ := test.file, []string{dsnVariable}
			if strings.Contains(file, "dsn") {
				environ = nil
			}
			if !strings.Contains(file, "locations") {
				file += locations
			}
			_, got := loadWorker(t, file, environ...)
			assertProblems(t, got, test.want...)
		})
	}
}

func TestUnreadableFilesAreOneProblem(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ file, want string }{
		"not a mapping": {"- a\n- b\n", `worker.yaml:1: must be a mapping of keys such as "mysql:", is a list`},
		"only a text":   {"log\n", `worker.yaml:1: must be a mapping of keys such as "mysql:", is "log"`},
		"two documents": {
			"log:\n  level: info\n---\nlog:\n",
			`worker.yaml: holds more than one YAML document; keep the first and remove the "---" after it`,
		},
		"tab": {
			"log:\n\tlevel: info\n",
			`worker.yaml:2: is not valid YAML: found character that cannot start any token`,
		},
		"unknown anchor": {"mysql:\n  dsn: *hunter2\n", `worker.yaml: is not valid YAML: unknown anchor (…) referenced`},
		"not text":       {"log: \xff\xfe\n", `worker.yaml: is not valid YAML: invalid leading UTF-8 octet`},
		"too large":      {strings.Repeat("#", 1<<20+1), `configuration file worker.yaml is larger than 1 MiB`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, got := loadWorker(t, test.file, dsnVariable)
			assertProblems(t, got, test.want)
		})
	}
}

func TestValuesAreTakenAsAnOperatorWritesThem(t *testing.T) {
	t.Parallel()
	cfg, got := loadWorker(t, `
log: {level: 'debug'}
gcs: {accept_soft_delete: yes, max_tries: 0x0a, user_project: 12345}
tasks: {timeout: 1m30s, retention: 0s}
lms: {excluded_states: [PENDING, ON_HOLD]}
locations:
  - {name: "2024", bucket: 2024-certificates, url_prefixes: [//cdn.example.com/]}
`, dsnVariable)
	assertProblems(t, got)
	type values struct {
		level, project, bucket, state, prefix string
		accept                                bool
		tries                                 int
		timeout, retention                    string
	}
	want := values{"debug", "12345", "2024-certificates", "ON_HOLD", "//cdn.example.com/", true, 10, "1m30s", "0s"}
	location := cfg.Locations[0]
	if got := (values{
		cfg.Log.Level, cfg.GCS.UserProject, location.Bucket, cfg.LMS.ExcludedStates[1], location.URLPrefixes[0],
		cfg.GCS.AcceptSoftDelete, cfg.GCS.MaxTries, cfg.Tasks.Timeout.String(), cfg.Tasks.Retention.String(),
	}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if location.DownloadsDir != "downloads" || location.VerifyDir != "cert" {
		t.Errorf("got directories %q and %q, want each entry to start from the defaults", location.DownloadsDir,
			location.VerifyDir)
	}
}

func TestEnqueuerRefusesTheWorkersKeys(t *testing.T) {
	t.Parallel()
	path := write(t, "enqueuer.yaml", "queue:\n  concurrency: 5\n")
	_, err := config.LoadEnqueuer(path, []string{dsnVariable})
	assertProblems(
		t,
		problems(t, err, path),
		`enqueuer.yaml:1: unknown key "queue"; known keys: log, mysql, lms, redis, tasks, evidence, serve, jwt, tokens, watch, notify, admin, tracing`,
	)
}

const redisKeys = "url, url_file, username, password, password_file, sentinel_username, sentinel_password, " +
	"sentinel_password_file, tls"
