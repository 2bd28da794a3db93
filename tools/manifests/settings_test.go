package manifests_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	batch "k8s.io/api/batch/v1"
)

// secretPath is where settings find their secrets.
var secretPath = regexp.MustCompile(`/run/secrets/[\w./-]+`)

// secrets are values of the right form, by what the names of their files end in.
var secrets = map[string]string{
	"dsn": "certpurge:x@tcp(127.0.0.1:1)/certpurge", "redis-url": "redis://127.0.0.1:1/5",
	"jwt-secret": strings.Repeat("x", 32), "jwt_secret": strings.Repeat("x", 32),
	"gcs.json": "{}",
}

// buildPrograms returns the directory of worker and enqueuer.
func buildPrograms(t *testing.T) (directory string) {
	t.Helper()
	directory = t.TempDir()
	command := exec.CommandContext(t.Context(), "go", "build", "-tags=disable_grpc_modules", //nolint:gosec // our own
		"-o", directory+"/", "./worker", "./enqueuer")
	command.Dir = root
	if output, err := command.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	return directory
}

// TestSettings gives all settings that are shipped to the real programs, with the environment that the containers have.
func TestSettings(t *testing.T) {
	t.Parallel()
	binaries := buildPrograms(t)
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

// TestCronJobs runs the very commands of the jobs, up to MySQL, which cannot be reached: their flags are right.
func TestCronJobs(t *testing.T) {
	t.Parallel()
	binaries := buildPrograms(t)
	credentials := filepath.Join(t.TempDir(), "google.json") // read before MySQL is asked, and not used
	if err := os.WriteFile(credentials, []byte(`{"type": "authorized_user", "client_id": "x", "client_secret": "x",
		"refresh_token": "x"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	jobs := of[*batch.CronJob](build(t, overlay(t, "", components(t)...)))
	if len(jobs) != 2 {
		t.Errorf("got %d jobs, want two", len(jobs))
	}
	for _, job := range jobs {
		container := job.Spec.JobTemplate.Spec.Template.Spec.Containers[0]
		program := container.Command[0]
		settings := localSettings(t, filepath.Join(root, "configs/kubernetes/base/settings", program+".yaml"))
		args := slices.Concat(container.Command[1:], container.Args)
		for i, arg := range args {
			args[i] = strings.NewReplacer("/etc/certpurge/"+program+".yaml", settings, "/var/lib/certpurge",
				t.TempDir()).Replace(arg)
		}
		command := exec.CommandContext(t.Context(), filepath.Join(binaries, program), args...) //nolint:gosec // our own
		command.Env = []string{"GOOGLE_APPLICATION_CREDENTIALS=" + credentials}
		output, err := command.CombinedOutput()
		const unavailable = 4
		if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != unavailable {
			t.Errorf("%s: %v ends with %v, want exit code %d\n%s", job.Name, args, err, unavailable, output)
		}
	}
}

func validate(t *testing.T, binaries, file string) {
	t.Helper()
	settings := localSettings(t, file)
	here, err := os.ReadFile(settings)
	if err != nil {
		t.Fatal(err)
	}
	binary := strings.TrimSuffix(filepath.Base(file), ".yaml")
	command := exec.CommandContext(t.Context(), filepath.Join(binaries, binary), //nolint:gosec // our own
		"--config", settings, "config", "validate")
	if !strings.Contains(string(here), "dsn_file") { // compose gives it by the environment
		command.Env = []string{"CERTPURGE_MYSQL_DSN=" + secrets["dsn"], "CERTPURGE_REDIS_URL=" + secrets["redis-url"]}
	} else {
		command.Env = []string{}
	}
	if output, err := command.CombinedOutput(); err != nil {
		t.Errorf("%s: %v\n%s", file, err, output)
	}
}

// localSettings copies settings, with secrets that are files of this test.
func localSettings(t *testing.T, file string) (copied string) {
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
	return settings
}
