package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// machine is what an installer sees: programs on its PATH, and an apt that downloads one package for each name.
type machine struct {
	t        *testing.T
	path     []string          // programs on the PATH, by name or full path
	names    string            // what apt-cache pkgnames prints
	failures map[string]error  // by the end of the command line
	contents map[string]string // package name → the program in it
	commands []string
}

func newMachine(t *testing.T, path ...string) *machine {
	t.Helper()
	return &machine{
		t:        t,
		path:     path,
		names:    "mariadb-server-core",
		contents: map[string]string{"mariadb-server-core": "usr/sbin/mariadbd", "redis-server": "usr/bin/redis-server"},
	}
}

func (m *machine) lookPath(file string) (string, error) {
	if slices.Contains(m.path, file) {
		return file, nil
	}
	if filepath.IsAbs(file) && !slices.Contains(unsearched, filepath.Dir(file)) {
		return exec.LookPath(file) // in the tree that the test unpacks
	}
	return "", exec.ErrNotFound
}

func (m *machine) run(_ context.Context, name string, args ...string) (string, error) {
	line := name + " " + strings.Join(args, " ")
	m.commands = append(m.commands, line)
	for end, err := range m.failures {
		if strings.HasSuffix(line, end) {
			delete(m.failures, end) // fails once
			return "", err
		}
	}
	switch {
	case name == "apt-cache":
		return m.names, nil
	case slices.Contains(args, "install"):
		packages := args[slices.Index(args, "install")+1:]
		for _, option := range args {
			if archives, ok := strings.CutPrefix(option, "Dir::Cache::archives="); ok {
				for _, p := range packages {
					m.write(filepath.Join(archives, p+".deb"), 0o600)
				}
			}
		}
	case name == "dpkg":
		deb, tree := args[1], args[2]
		for p, program := range m.contents {
			if strings.Contains(filepath.Base(deb), p) {
				m.write(filepath.Join(tree, program), 0o700)
				m.write(filepath.Join(tree, "usr/lib/x86_64-linux-gnu", p+".so"), 0o600)
			}
		}
	}
	return "", nil
}

func (m *machine) write(path string, mode fs.FileMode) {
	m.t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, nil, mode)); err != nil {
		m.t.Fatal(err)
	}
}

func (m *machine) installer(unpacked string) installer {
	return installer{locator: locator{lookPath: m.lookPath, unpacked: unpacked}, run: m.run, out: m.t.Output()}
}

var debian = []string{"apt-get", "apt-cache", "dpkg"}

func TestInstallUsesWhatIsThere(t *testing.T) {
	t.Parallel()
	for name, path := range map[string][]string{
		"on the PATH":   {"mariadbd", "redis-server"},
		"beside it":     {"/usr/sbin/mariadbd", "redis-server"},
		"Fedora":        {"/usr/libexec/mariadbd", "redis-server"},
		"with apt, too": {"/usr/sbin/mariadbd", "redis-server", "apt-get", "apt-cache", "dpkg"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newMachine(t, path...)
			if err := m.installer("").install(t.Context()); err != nil {
				t.Error(err)
			}
			if len(m.commands) > 0 {
				t.Errorf("got %q, want no command", m.commands)
			}
		})
	}
}

func TestInstallUnpacksPackages(t *testing.T) {
	t.Parallel()
	noPackage := errors.New("unable to locate package")
	for name, c := range map[string]struct {
		names    string
		failures map[string]error
		core     string
		updates  bool
	}{
		"with the machine's lists": {names: "mariadb-server-core-dbg\nmariadb-server-core", core: "mariadb-server-core"},
		"versioned package":        {names: "mariadb-server-core-10.3\nmariadb-server-core-10.6", core: "mariadb-server-core-10.6"},
		"stale lists": {
			names: "mariadb-server-core", core: "mariadb-server-core", updates: true,
			failures: map[string]error{"redis-server": noPackage},
		},
		"no lists": {
			names: "mariadb-server-core", core: "mariadb-server-core", updates: true,
			failures: map[string]error{"pkgnames mariadb-server-core": noPackage},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newMachine(t, debian...)
			m.names, m.failures = c.names, c.failures
			cache := filepath.Join(t.TempDir(), "certpurge")
			in := m.installer(filepath.Join(cache, "servers"))
			if err := in.install(t.Context()); err != nil {
				t.Fatal(err)
			}

			found, err := in.programs()
			if err != nil {
				t.Fatal(err)
			}
			if got, want := found.mariadbd.path, filepath.Join(cache, "servers/usr/sbin/mariadbd"); got != want {
				t.Errorf("mariadbd: got %s, want %s", got, want)
			}
			libraries := []string{filepath.Join(cache, "servers/usr/lib/x86_64-linux-gnu")}
			if got := found.redis.libraries; !slices.Equal(got, libraries) {
				t.Errorf("libraries: got %v, want %v", got, libraries)
			}
			if entries, err := os.ReadDir(cache); err != nil || len(entries) != 1 {
				t.Errorf("cache directory: got %v, %v, want the servers only", entries, err)
			}
			installs := m.all("install")
			if last := installs[len(installs)-1]; !strings.HasSuffix(last, "install "+c.core+" redis-server") {
				t.Errorf("packages: got %q, want %s and redis-server", last, c.core)
			}
			for _, line := range installs {
				if !strings.Contains(line, " --download-only ") {
					t.Errorf("got %q, which changes the machine", line)
				}
			}
			updates := m.all("update")
			if got := len(updates) > 0; got != c.updates {
				t.Errorf("updates: got %q, want one: %t", updates, c.updates)
			}
			for _, line := range updates {
				if !strings.Contains(line, "Dir::State::lists="+cache) {
					t.Errorf("got %q, which changes the machine's own lists", line)
				}
			}
		})
	}
}

// all returns the command lines with that word among the arguments.
func (m *machine) all(word string) []string {
	var lines []string
	for _, line := range m.commands {
		if slices.Contains(strings.Fields(line), word) {
			lines = append(lines, line)
		}
	}
	return lines
}

func TestInstallReplacesAHalfTree(t *testing.T) {
	t.Parallel()
	m := newMachine(t, debian...)
	unpacked := filepath.Join(t.TempDir(), "servers")
	m.write(filepath.Join(unpacked, "usr/bin/redis-server"), 0o700)
	if err := m.installer(unpacked).install(t.Context()); err != nil {
		t.Fatal(err)
	}
	commands := len(m.commands)
	if err := m.installer(unpacked).install(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := m.commands[commands:]; len(got) > 0 {
		t.Errorf("a second Install: got %q, want no command", got)
	}
}

func TestInstallSaysWhatToDo(t *testing.T) {
	t.Parallel()
	offline := errors.New("no network")
	for name, c := range map[string]struct {
		path     []string
		noCache  bool
		contents map[string]string
		failures map[string]error
		want     error
	}{
		"another system":     {path: []string{"dnf"}, want: errNoApt},
		"no cache directory": {path: debian, noCache: true, want: errNoCache},
		"empty packages":     {path: debian, contents: map[string]string{"redis-server": "usr/share/doc"}, want: errUnfetched},
		"offline":            {path: debian, failures: map[string]error{"redis-server": offline, "update": offline}, want: offline},
		"one is there":       {path: []string{"mariadbd"}, want: errNoApt},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newMachine(t, c.path...)
			m.contents, m.failures = c.contents, c.failures
			cache := t.TempDir()
			unpacked := filepath.Join(cache, "servers")
			if c.noCache {
				unpacked = ""
			}
			err := m.installer(unpacked).install(t.Context())
			if !errors.Is(err, c.want) {
				t.Fatalf("got %v, want %v", err, c.want)
			}
			for _, want := range []string{"apt-get install mariadb-server-core redis-server", "dnf install", "brew install", "docker compose up"} {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("got %q, want %q in it", err, want)
				}
			}
			if left, _ := filepath.Glob(filepath.Join(cache, "unpacking-*")); len(left) > 0 {
				t.Errorf("left behind: got %v, want nothing", left)
			}
		})
	}
}

func TestRunCommandTellsTheLastLine(t *testing.T) {
	t.Parallel()
	_, err := runCommand(t.Context(), "/bin/sh", "-c", "echo first; echo E: the reason; exit 100")
	if got, want := fmt.Sprint(err), "running /bin/sh: exit status 100: E: the reason"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
