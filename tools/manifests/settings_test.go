package manifests_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// secretPath is where settings find their secrets.
var secretPath = regexp.MustCompile(`/run/secrets/[\w./-]+`)

// secrets are values of the right form, by what the names of their files end in.
var secrets = map[string]string{
	"dsn": "certpurge:x@tcp(mysql:3306)/certpurge", "redis-url": "redis://redis:6379/5",
	"jwt-secret": strings.Repeat("x", 32), "jwt_secret": strings.Repeat("x", 32),
	"gcs.json": "{}",
}

// TestSettings gives all settings that are shipped to the real programs, with the environment that the containers have.
func TestSettings(t *testing.T) {
	t.Parallel()
	binaries := t.TempDir()
	command := exec.CommandContext(t.Context(), "go", "build", "-tags=disable_grpc_modules", "-o", binaries+"/",
		"./worker", "./enqueuer") //nolint:gosec // our own
	command.Dir = root
	if output, err := command.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	var files []string
	for _, pattern := range []string{
		root + "/configs/compose/*.yaml", root + "/configs/kubernetes/base/settings/*.yaml",
		root + "/configs/kubernetes/overlays/*/settings/*.yaml",
		os.Getenv("CERTPURGE_TEST_TUTOR") + "/*/settings/*.yaml",
	} {
		found, err := filepath.Glob(pattern)
		if err != nil || len(found) < 2 {
			t.Fatalf("got %d files %s, %v", len(found), pattern, err)
		}
		files = append(files, found...)
	}
	for _, file := range files {
		t.Run(filepath.Base(filepath.Dir(filepath.Dir(file)))+"/"+filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			validate(t, binaries, file)
		})
	}
}

func validate(t *testing.T, binaries, file string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	here := secretPath.ReplaceAllStringFunc(string(text), func(path string) string {
		for end, value := range secrets {
			if strings.HasSuffix(path, end) {
				target := filepath.Join(dir, filepath.Base(path))
				if err := os.WriteFile(target, []byte(value), 0o600); err != nil {
					t.Fatal(err)
				}
				return target
			}
		}
		t.Fatalf("%s reads %s: what is that?", file, path)
		return ""
	})
	settings := filepath.Join(dir, "settings.yaml")
	if err := os.WriteFile(settings, []byte(here), 0o600); err != nil {
		t.Fatal(err)
	}
	binary := strings.TrimSuffix(filepath.Base(file), ".yaml")
	command := exec.CommandContext(t.Context(), filepath.Join(binaries, binary), "--config", settings, "config",
		"validate") //nolint:gosec // our own
	if !strings.Contains(here, "dsn_file") { // compose gives it by the environment
		command.Env = []string{"CERTPURGE_MYSQL_DSN=" + secrets["dsn"], "CERTPURGE_REDIS_URL=" + secrets["redis-url"]}
	} else {
		command.Env = []string{}
	}
	if output, err := command.CombinedOutput(); err != nil {
		t.Errorf("%s: %v\n%s", file, err, output)
	}
}
