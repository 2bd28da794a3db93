package release_test

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const root = "../.."

// program stands for worker and enqueuer. The worker calls html.EscapeString.
const program = `package main

import (
	"fmt"
	"html"
	"os"
)

func main() {
	if os.Args[1] == "man" {
		if err := os.WriteFile(os.Args[2]+"/NAME.1", []byte("a page"), 0o644); err != nil {
			panic(err)
		}
	}
	fmt.Println(html.CALL(os.Args[1]))
}
`

// run runs a command in a directory, and returns what it says and its exit code.
func run(t *testing.T, dir string, environment []string, command ...string) (output string, code int) {
	t.Helper()
	c := exec.CommandContext(t.Context(), command[0], command[1:]...) //nolint:gosec // the commands of these tests
	c.Dir = dir
	c.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example.org",
		"GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@example.org", "GIT_COMMITTER_DATE=2026-01-02T03:04:05Z",
		"GOFLAGS=-mod=readonly")
	c.Env = append(c.Env, environment...)
	text, err := c.CombinedOutput()
	var failed *exec.ExitError
	if err != nil && !errors.As(err, &failed) {
		t.Fatal(err)
	}
	return string(text), c.ProcessState.ExitCode()
}

func must(t *testing.T, dir string, command ...string) {
	t.Helper()
	if output, code := run(t, dir, nil, command...); code != 0 {
		t.Fatalf("%v: exit code %d\n%s", command, code, output)
	}
}

func minisign(t *testing.T, arguments ...string) {
	t.Helper()
	must(t, root, append([]string{"go", "tool", "-modfile=tools/go.mod", "minisign"}, arguments...)...)
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// repository makes a repository with the real Makefile, scripts and tools, and one commit with a tag.
func repository(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{".ci", "tools/release"} {
		if err := os.CopyFS(filepath.Join(dir, name), os.DirFS(filepath.Join(root, name))); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"Makefile", ".gitignore", "tools/go.mod", "tools/go.sum"} {
		write(t, filepath.Join(dir, name), read(t, filepath.Join(root, name)))
	}
	write(t, filepath.Join(dir, "go.mod"), "module example.org/certpurge\n\ngo 1.26.0\n")
	for name, function := range map[string]string{"worker": "EscapeString", "enqueuer": "UnescapeString"} {
		write(t, filepath.Join(dir, name, "main.go"), strings.NewReplacer("NAME", name, "CALL", function).Replace(program))
	}
	for _, name := range []string{
		"LICENSE", "README.md", "SECURITY.md", "CONTRIBUTING.md", "CHANGELOG.md",
		"docs/README.md", "configs/worker.yaml", "configs/enqueuer.yaml", "configs/systemd/certpurge-worker.service",
	} {
		write(t, filepath.Join(dir, name), name)
	}
	must(t, dir, "git", "init", "--quiet")
	must(t, dir, "git", "add", ".")
	must(t, dir, "git", "commit", "--quiet", "--message=one")
	must(t, dir, "git", "tag", "v1.2.3")
	return dir
}

// files are the files of a directory with their texts.
func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		all[entry.Name()] = read(t, filepath.Join(dir, entry.Name()))
	}
	return all
}

func TestDist(t *testing.T) {
	t.Parallel()
	origin := repository(t)
	keys := t.TempDir()
	public, secret := filepath.Join(keys, "public"), filepath.Join(keys, "secret")
	minisign(t, "-G", "-W", "-p", public, "-s", secret)

	// Two builders, one with settings of his own and a key.
	var releases []string
	for _, environment := range [][]string{
		{"DIST_SIGNING_KEY="},
		{"DIST_SIGNING_KEY=" + secret, "GOFLAGS=-race", "GOAMD64=v3", "LC_ALL=C.UTF-8", "TZ=Asia/Tokyo"},
	} {
		clone := filepath.Join(t.TempDir(), "clone")
		must(t, root, "git", "clone", "--quiet", origin, clone)
		output, code := run(t, clone, environment, "make", "dist")
		if code != 0 {
			t.Fatalf("make dist: exit code %d\n%s", code, output)
		}
		if unsigned := strings.Contains(output, "is not signed"); unsigned != (environment[0] == "DIST_SIGNING_KEY=") {
			t.Errorf("with %v:\n%s", environment, output)
		}
		releases = append(releases, filepath.Join(clone, "dist"))
	}
	plain, signed := files(t, releases[0]), files(t, releases[1])
	var want []string
	for _, target := range []string{"darwin_arm64", "linux_amd64", "linux_arm64"} {
		suffixes := []string{".cdx.json", ".deb", ".rpm", ".tar.gz"}
		if target == "darwin_arm64" {
			suffixes = []string{".cdx.json", ".tar.gz"}
		}
		for _, suffix := range suffixes {
			want = append(want, "certpurge_v1.2.3_"+target+suffix)
		}
	}
	if got := slices.Sorted(maps.Keys(plain)); !slices.Equal(got, append([]string{"PROVENANCE", "SHA256SUMS"}, want...)) {
		t.Errorf("got the files %v", got)
	}
	if got := strings.Count(plain["SHA256SUMS"], "\n"); got != len(want)+1 {
		t.Errorf("got %d checksums in\n%s", got, plain["SHA256SUMS"])
	}
	for _, line := range []string{
		"version: v1.2.3\n", "tag: v1.2.3\n", "targets: linux/amd64 linux/arm64 darwin/arm64\n", "GOAMD64=v1",
	} {
		if !strings.Contains(plain["PROVENANCE"], line) {
			t.Errorf("no %q in\n%s", line, plain["PROVENANCE"])
		}
	}
	if signed["SHA256SUMS.minisig"] == "" {
		t.Error("not signed")
	}
	delete(signed, "SHA256SUMS.minisig")
	if !maps.Equal(plain, signed) {
		t.Errorf("two clones made different bytes:\n%s\n%s", plain["SHA256SUMS"], signed["SHA256SUMS"])
	}

	isDeb(t, filepath.Join(releases[0], "certpurge_v1.2.3_linux_amd64.deb"))
	isRPM(t, filepath.Join(releases[0], "certpurge_v1.2.3_linux_amd64.rpm"))

	verify := func(dir string) (string, int) {
		return run(t, origin, nil, "make", "dist-verify", "RELEASE="+dir, "KEY="+public)
	}
	output, code := verify(releases[1])
	if code != 0 || !strings.Contains(output, "certpurge v1.2.3") || !strings.Contains(output, "makes the same bytes") ||
		strings.Contains(output, "not signed") {
		t.Errorf("exit code %d\n%s", code, output)
	}
	if output, code := verify(releases[0]); code == 0 || !strings.Contains(output, "SHA256SUMS.minisig") {
		t.Errorf("a release that is not signed: exit code %d\n%s", code, output)
	}
	for name, change := range map[string]func(dir string){
		"a changed archive": func(dir string) {
			write(t, filepath.Join(dir, want[1]), signed[want[1]]+"x")
		},
		"a changed checksum": func(dir string) {
			write(t, filepath.Join(dir, "SHA256SUMS"), "0"+signed["SHA256SUMS"][1:])
		},
		"another key": func(dir string) {
			minisign(t, "-G", "-W", "-p", dir+"/public", "-s", dir+"/secret")
			minisign(t, "-S", "-s", dir+"/secret", "-m", dir+"/SHA256SUMS")
		},
	} {
		dir := t.TempDir()
		if err := os.CopyFS(dir, os.DirFS(releases[1])); err != nil {
			t.Fatal(err)
		}
		change(dir)
		if output, code := verify(dir); code == 0 || strings.Contains(output, "same bytes") {
			t.Errorf("%s: exit code %d\n%s", name, code, output)
		}
	}

	// What was signed, but is not what the commit makes.
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(releases[0])); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, want[1]), "something else")
	must(t, dir, "bash", "-c", "sha256sum certpurge* PROVENANCE >SHA256SUMS")
	output, code = run(t, origin, nil, "make", "dist-verify", "RELEASE="+dir)
	if code == 0 || !strings.Contains(output, "> ") || !strings.Contains(output, "signature is not checked") {
		t.Errorf("other bytes than the commit makes: exit code %d\n%s", code, output)
	}
}

func TestDistRefuses(t *testing.T) {
	t.Parallel()
	origin := repository(t)
	worktree := filepath.Join(t.TempDir(), "worktree")
	must(t, origin, "git", "worktree", "add", "--quiet", "--detach", worktree)
	output, code := run(t, worktree, nil, "make", "dist")
	if code == 0 || !strings.Contains(output, "did not record the commit") {
		t.Errorf("in a linked worktree: exit code %d\n%s", code, output)
	}
	output, code = run(t, origin, []string{"DIST_SIGNING_KEY=/does/not/exist"}, "make", "dist")
	if code == 0 || !strings.Contains(output, "cannot read /does/not/exist") || strings.Contains(output, ".tar.gz") {
		t.Errorf("without the key: exit code %d\n%s", code, output)
	}
	write(t, filepath.Join(origin, "new"), "")
	output, code = run(t, origin, nil, "make", "dist")
	if code == 0 || !strings.Contains(output, "has changes") {
		t.Errorf("with a new file: exit code %d\n%s", code, output)
	}
}

// database makes a vulnerability database with one entry: a function of package html.
func database(t *testing.T, function string) string {
	t.Helper()
	dir := t.TempDir()
	const modified = `"modified": "2026-01-01T00:00:00Z"`
	write(t, filepath.Join(dir, "index/db.json"), "{"+modified+"}")
	write(t, filepath.Join(dir, "index/modules.json"),
		`[{"path": "stdlib", "vulns": [{"id": "GO-2099-0001", `+modified+`}]}]`)
	write(t, filepath.Join(dir, "ID/GO-2099-0001.json"), fmt.Sprintf(`{"schema_version": "1.3.1", "id": "GO-2099-0001", %s,
		"published": "2026-01-01T00:00:00Z", "summary": "made up", "details": "made up",
		"database_specific": {"url": "https://example.org/GO-2099-0001"},
		"affected": [{"package": {"name": "stdlib", "ecosystem": "Go"},
			"ranges": [{"type": "SEMVER", "events": [{"introduced": "0"}]}],
			"ecosystem_specific": {"imports": [{"path": "html", "symbols": [%q]}]}}]}`, modified, function))
	return "file://" + dir
}

// TestVuln: the worker calls html.EscapeString, the enqueuer does not.
func TestVuln(t *testing.T) {
	t.Parallel()
	origin := repository(t)
	must(t, origin, "go", "build", "-o", "programs/", "./worker", "./enqueuer")
	called, unused := database(t, "EscapeString"), database(t, "NoSuchFunction")
	for _, test := range []struct {
		name, database string
		arguments      []string
		code           int
		says           []string
	}{
		{"called", called, nil, 3, []string{"main.go:", "== worker", "html.EscapeString"}},
		{"linked only", called, []string{"./enqueuer"}, 3, []string{"== worker", "html.EscapeString"}},
		{
			"programs", called,
			[]string{"-mode=binary", "programs/enqueuer", "programs/worker"},
			3,
			[]string{"html.EscapeString"},
		},
		{"one program", called, []string{"-mode=binary", "programs/enqueuer"}, 0, []string{"== enqueuer"}},
		{"neither called nor linked", unused, nil, 0, []string{"== worker", "== enqueuer"}},
		{"no such database", "file:///does/not/exist", nil, 75, []string{"nothing was checked"}},
		{"no such server", "http://127.0.0.1:1", nil, 75, []string{"nothing was checked"}},
		{"no such program", called, []string{"-mode=binary", "programs/none"}, 1, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			command := append([]string{".ci/vuln"}, test.arguments...)
			output, code := run(t, origin, []string{"GOVULNDB=" + test.database}, command...)
			if code != test.code {
				t.Fatalf("exit code %d, want %d\n%s", code, test.code, output)
			}
			for _, text := range test.says {
				if !strings.Contains(output, text) {
					t.Errorf("no %q in\n%s", text, output)
				}
			}
		})
	}
}
