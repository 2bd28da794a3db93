package config_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/certpurge/certpurge/internal/config"
)

// FuzzLoad gives the loaders any file, and secrets that are broken in any way. They must not panic, must answer with
// an *Error or a configuration, and must show no secret.
func FuzzLoad(f *testing.F) {
	for _, example := range []string{workerExample, enqueuerExample} {
		content, err := os.ReadFile(example)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(content, "user:", "@tcp(localhost:3306)/certpurge", "redis://")
	}
	f.Add([]byte("locations:\n  - {name: a, bucket: aaa, url_prefixes: [//a/]}\n"), "user:", "@tcp(h:1)/c?x=", "unix://")
	f.Add([]byte("log: {level: &a info, format: *a}\n"), "", "", "")
	f.Add([]byte("? [a]\n: {<<: *b}\n---\n!!int x: 0x_\n"), "@unix(", "/", "redis://u:")
	f.Fuzz(func(t *testing.T, file []byte, before, after, scheme string) {
		const secret = "hunter2-do-not-show"
		path := filepath.Join(t.TempDir(), "fuzz.yaml")
		if err := os.WriteFile(path, file, 0o600); err != nil {
			t.Fatal(err)
		}
		environ := []string{"CERTPURGE_MYSQL_DSN=" + before + secret + after, "CERTPURGE_REDIS_URL=" + scheme + secret + after}
		worker, err := config.LoadWorker(path, environ)
		checkFuzzed(t, worker, err, secret)
		enqueuer, err := config.LoadEnqueuer(path, environ)
		checkFuzzed(t, enqueuer, err, secret)
	})
}

func checkFuzzed(t *testing.T, cfg any, err error, secret string) {
	t.Helper()
	if err != nil {
		if len(problems(t, err, "/x/fuzz.yaml")) == 0 {
			t.Error("got an error without a problem")
		}
		if strings.Contains(err.Error(), secret) {
			t.Errorf("got %v, which shows the secret", err)
		}
		return
	}
	var printed bytes.Buffer
	if err := config.Print(&printed, cfg); err != nil {
		t.Error(err)
	}
	if strings.Contains(printed.String(), secret) {
		t.Errorf("printed\n%s\nwhich shows the secret", &printed)
	}
}

// FuzzSecretsInFile puts a secret into the file itself, under whatever quoting and nonsense.
func FuzzSecretsInFile(f *testing.F) {
	f.Add("user:", "@tcp(localhost:3306)/certpurge")
	f.Add("\"user:", "@tcp(localhost:3306)/certpurge")
	f.Add("*", "")
	f.Add("[", "]")
	f.Add("!!int ", "")
	f.Add("|\n    ", "\n  url")
	f.Add("{a", ": b}")
	f.Fuzz(func(t *testing.T, before, after string) {
		const secret = "hunter2-do-not-show"
		if strings.ContainsAny(before, ":\n,{?") && !strings.HasPrefix(before, "user:") {
			return // Then the secret may become a key, or the value of one that is not secret.
		}
		path := filepath.Join(t.TempDir(), "fuzz.yaml")
		if err := os.WriteFile(path, []byte("mysql:\n  dsn: "+before+secret+after+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		cfg, err := config.LoadEnqueuer(path, nil)
		checkFuzzed(t, cfg, err, secret)
	})
}
