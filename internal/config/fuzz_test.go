package config_test

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

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
	path := filepath.Join(f.TempDir(), "fuzz.yaml") // Each fuzzing process has its own, and runs one input at a time.
	f.Fuzz(func(t *testing.T, file []byte, before, after, scheme string) {
		const secret = "hunter2-do-not-show"
		if err := os.WriteFile(path, file, 0o600); err != nil {
			t.Fatal(err)
		}
		environ := []string{
			"CERTPURGE_MYSQL_DSN=" + before + secret + after,
			"CERTPURGE_REDIS_URL=" + scheme + secret + after, "CERTPURGE_JWT_HS256_SECRET=" + before + secret,
		}
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
	path := filepath.Join(f.TempDir(), "fuzz.yaml")
	f.Fuzz(func(t *testing.T, before, after string) {
		const secret = "hunter2-do-not-show"
		file := []byte("mysql:\n  dsn: " + before + secret + after + "\n")
		var document yaml.Node
		if yaml.Unmarshal(file, &document) == nil && !onlySecretHolds(&document, secret) {
			return // It has become a key, or the value of a key that is shown.
		}
		if err := os.WriteFile(path, file, 0o600); err != nil {
			t.Fatal(err)
		}
		cfg, err := config.LoadEnqueuer(path, nil)
		checkFuzzed(t, cfg, err, secret)
	})
}

// onlySecretHolds reports whether text is in the value of mysql.dsn alone, or nowhere.
func onlySecretHolds(document *yaml.Node, text string) bool {
	if len(document.Content) == 0 {
		return true
	}
	root := document.Content[0]
	if root.Kind != yaml.MappingNode || len(root.Content) != 2 || root.Content[0].Value != "mysql" {
		return !nodeHolds(root, text)
	}
	section := root.Content[1]
	for i := 0; i+1 < len(section.Content); i += 2 {
		key, value := section.Content[i], section.Content[i+1]
		if nodeHolds(key, text) || key.Value != "dsn" && nodeHolds(value, text) {
			return false
		}
	}
	return section.Kind == yaml.MappingNode
}

func nodeHolds(node *yaml.Node, text string) bool {
	return strings.Contains(node.Value, text) ||
		slices.ContainsFunc(node.Content, func(child *yaml.Node) bool { return nodeHolds(child, text) })
}
