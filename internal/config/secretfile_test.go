package config_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/certpurge/certpurge/internal/config"
)

func TestSecretsAreReadFromTheirFiles(t *testing.T) {
	t.Parallel()
	const url = "redis://hunter2@redis:6379/0"
	urlFile := write(t, "url", url+"\r\n")
	dsnFile := write(t, "dsn", dsn+"\n")
	path := write(t, "enqueuer.yaml", "redis:\n  url_file: "+urlFile+"\n")
	got, err := config.LoadEnqueuer(path, []string{"CERTPURGE_MYSQL_DSN_FILE=" + dsnFile})
	if err != nil {
		t.Fatal(err)
	}
	if got.MySQL.DSN.Reveal() != dsn {
		t.Errorf("got DSN %q, want %q", got.MySQL.DSN.Reveal(), dsn)
	}
	if got.Redis.URL.Reveal() != url { // Although there is a default.
		t.Errorf("got URL %q, want %q", got.Redis.URL.Reveal(), url)
	}
}

func TestSecretAndItsFileTogetherAreRefused(t *testing.T) {
	t.Parallel()
	secret := write(t, "secret", dsn)
	for name, test := range map[string]struct {
		file, variable, want string
	}{
		"both in the file": {
			"mysql:\n  dsn: " + dsn + "\n  dsn_file: " + secret + "\n", "",
			"enqueuer.yaml:2: mysql.dsn: is set together with mysql.dsn_file; keep one of them",
		},
		"one in the environment": {
			"mysql:\n  dsn_file: " + secret + "\n", dsnVariable,
			"CERTPURGE_MYSQL_DSN: mysql.dsn: is set together with mysql.dsn_file; keep one of them",
		},
		"other in the environment": {
			"mysql:\n  dsn: " + dsn + "\nredis:\n  url: redis://a\n", "CERTPURGE_REDIS_URL_FILE=" + secret,
			"enqueuer.yaml:4: redis.url: is set together with redis.url_file; keep one of them",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := write(t, "enqueuer.yaml", test.file)
			_, err := config.LoadEnqueuer(path, []string{test.variable})
			assertProblems(t, problems(t, err, path), test.want)
		})
	}
}

func TestEmptySecretBesideItsFileIsNotSet(t *testing.T) {
	t.Parallel()
	const url = "redis://hunter2@redis:6379/0"
	path := write(t, "enqueuer.yaml", "mysql:\n  dsn: \"\"\n  dsn_file: "+write(t, "dsn", dsn)+"\n")
	cfg, err := config.LoadEnqueuer(path, []string{
		"CERTPURGE_REDIS_URL=",
		"CERTPURGE_REDIS_URL_FILE=" + write(t, "url", url),
	})
	if err != nil || cfg.MySQL.DSN.Reveal() != dsn || cfg.Redis.URL.Reveal() != url {
		t.Errorf("got %q, %q, %v, want the secrets of the files", cfg.MySQL.DSN.Reveal(), cfg.Redis.URL.Reveal(), err)
	}
}

func TestUnusableSecretFilesAreNamedButNotShown(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, test := range map[string]struct {
		content string
		want    string
	}{
		"missing":   {"", "CERTPURGE_MYSQL_DSN_FILE: mysql.dsn_file: missing does not exist"},
		"empty":     {"\n", "empty: mysql.dsn: must be the one line of its file"},
		"two-lines": {dsn + "\nhunter2", "two-lines: mysql.dsn: must be the one line of its file"},
		"wrong": {
			"hunter2", "wrong: mysql.dsn: must be written user:password@tcp(host:3306)/certpurge and name the ledger's database",
		},
	} {
		path := filepath.Join(dir, name)
		if test.content != "" {
			if err := os.WriteFile(path, []byte(test.content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := config.LoadEnqueuer("", []string{"CERTPURGE_MYSQL_DSN_FILE=" + path})
			assertProblems(t, problems(t, err, path), test.want)
		})
	}
}
