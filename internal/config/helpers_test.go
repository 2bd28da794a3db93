package config_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/certpurge/certpurge/internal/config"
)

const (
	dsn         = "certpurge:hunter2@tcp(127.0.0.1:3306)/certpurge"
	dsnVariable = "CERTPURGE_MYSQL_DSN=" + dsn
)

// locations is the least that a worker's file must have.
const locations = `
locations:
  - name: current
    bucket: example-certificates
`

// write puts content into a file of that name and returns its path.
func write(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// problems returns what err lists, with the directory of the file at path taken off.
func problems(t *testing.T, err error, path string) []string {
	t.Helper()
	if err == nil {
		return nil
	}
	invalid, ok := err.(*config.Error) //nolint:errorlint // The loaders promise this very type.
	if !ok {
		t.Fatalf("got an error of type %T: %v, want *config.Error", err, err)
	}
	var list []string
	for _, problem := range invalid.Problems {
		list = append(list, strings.ReplaceAll(problem, filepath.Dir(path)+string(filepath.Separator), ""))
	}
	return list
}

// loadWorker loads a worker's file of that content and returns its problems.
func loadWorker(t *testing.T, content string, environ ...string) (config.Worker, []string) {
	t.Helper()
	path := write(t, "worker.yaml", content)
	cfg, err := config.LoadWorker(path, environ)
	return cfg, problems(t, err, path)
}

// loadEnqueuer loads an enqueuer's file of that content and returns its problems.
func loadEnqueuer(t *testing.T, content string, environ ...string) []string {
	t.Helper()
	path := write(t, "enqueuer.yaml", content)
	_, err := config.LoadEnqueuer(path, environ)
	return problems(t, err, path)
}

func assertProblems(t *testing.T, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("got problems:\n  %s\nwant:\n  %s", strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
}
