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
	"syscall"
	"testing"
)

// machine is what an installer sees: programs on its PATH, and an apt that downloads one package for each name.
type machine struct {
	t        *testing.T
	path     []string          // programs on the PATH, by name or full path
	names    string            // what apt-cache pkgnames prints
	failures map[string]error  // by the end of the command line
	contents map[string]string // package name → the program in it
	oracle   []string          // the mysqld on the PATH that are Oracle's
	unstable string            // what apt-cache pkgnames prints with the lists of Debian's unstable
	commands []string
}

func newMachine(t *testing.T, path ...string) *machine {
	t.Helper()
	return &machine{
		t:     t,
		path:  path,
		names: "mariadb-server-core",
		contents: map[string]string{
			"mariadb-server-core": "usr/sbin/mariadbd", "redis-server": "usr/bin/redis-server",
			"mysql-server-core": "usr/sbin/mysqld",
		},
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
	case name == "apt-cache" && slices.Contains(args, "redis-server"):
		return "redis-server", nil
	case name == "apt-cache" && strings.Contains(line, "/unstable/lists"):
		return m.unstable, nil
	case name == "apt-cache":
		return m.names, nil
	case slices.Contains(args, "indextargets"):
		return "http://mirror/debian-security bookworm-security\nhttp://mirror/debian bookworm\nhttp://other x", nil
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

func (m *machine) installer(engine Engine, cache string) installer {
	l := locator{engine: engine, lookPath: m.lookPath, version: m.version, cache: cache}
	return installer{locator: l, run: m.run, out: m.t.Output()}
}

// version refuses all programs of the system except those in m.oracle.
func (m *machine) version(p program) (string, error) {
	if p.base == "" && !slices.Contains(m.oracle, p.path) {
		return "", errNotMySQL
	}
	return "9.7.4", nil
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
			if err := m.installer(MariaDB, "").install(t.Context()); err != nil {
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
		"versioned package": {
			names: "mariadb-server-core-10.3\nmariadb-server-core-10.6",
			core:  "mariadb-server-core-10.6",
		},
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
			in := m.installer(MariaDB, cache)
			if err := in.install(t.Context()); err != nil {
				t.Fatal(err)
			}

			found, err := in.programs()
			if err != nil {
				t.Fatal(err)
			}
			if got, want := found.mysql.path, filepath.Join(cache, "servers/usr/sbin/mariadbd"); got != want {
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

func TestInstallTakesAnyMySQLOfOracle(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		path, oracle []string
		want         string
	}{
		"on the PATH":           {[]string{"mysqld"}, []string{"mysqld"}, "mysqld"},
		"behind one of MariaDB": {[]string{"mysqld", "/usr/sbin/mysqld"}, []string{"/usr/sbin/mysqld"}, "/usr/sbin/mysqld"},
		"beside a MariaDB, alone": {
			[]string{"mariadbd", "/usr/libexec/mysqld"},
			[]string{"/usr/libexec/mysqld"},
			"/usr/libexec/mysqld",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newMachine(t, append(c.path, "redis-server")...)
			m.oracle = c.oracle
			in := m.installer(OracleMySQL, "")
			if err := in.install(t.Context()); err != nil {
				t.Fatal(err)
			}
			if found, err := in.programs(); err != nil || found.mysql.path != c.want || found.mysql.version != "9.7.4" {
				t.Errorf("got %+v, %v, want %s", found.mysql, err, c.want)
			}
			if len(m.commands) > 0 {
				t.Errorf("got %q, want no command", m.commands)
			}
		})
	}
}

// A MariaDB that calls itself mysqld does not count, neither on the machine nor in the tree of MariaDB.
func TestInstallUnpacksMySQL(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		names, unstable, core string
		updates               int
	}{
		"of the release":     {names: "mysql-server-core-8.0\nmysql-server-core-8.4", core: "mysql-server-core-8.4"},
		"of Debian unstable": {unstable: "mysql-server-core", core: "mysql-server-core", updates: 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newMachine(t, append([]string{"mysqld"}, debian...)...)
			m.names, m.unstable = c.names, c.unstable
			cache := t.TempDir()
			m.write(filepath.Join(cache, "servers/usr/sbin/mysqld"), 0o700)
			loader := filepath.Join(cache, "mysql/usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2")
			in := m.installer(OracleMySQL, cache)
			if err := in.install(t.Context()); err != nil {
				t.Fatal(err)
			}
			m.write(loader, 0o700)
			found, err := in.programs()
			if err != nil {
				t.Fatal(err)
			}
			want := []string{
				loader, "--library-path", filepath.Dir(loader), filepath.Join(cache, "mysql/usr/sbin/mysqld"), "--no-defaults",
			}
			if got := found.mysql.command("--no-defaults").Args; !slices.Equal(got, want) {
				t.Errorf("command: got %v, want %v", got, want)
			}
			if got, want := found.redis.path, filepath.Join(cache, "redis/usr/bin/redis-server"); got != want {
				t.Errorf("Redis: got %s, want %s", got, want)
			}
			if got := len(m.all("update")); got != c.updates {
				t.Errorf("apt-get update: got %d, want %d", got, c.updates)
			}
			if got := m.all("install"); len(got) != 2 || !strings.HasSuffix(got[0], " "+c.core) ||
				!strings.HasSuffix(got[1], " redis-server") {
				t.Errorf("apt-get install: got %q, want %s, then redis-server", got, c.core)
			}
		})
	}
}

func TestInstallSaysWhereMySQLIs(t *testing.T) {
	t.Parallel()
	m := newMachine(t, append([]string{"redis-server"}, debian...)...)
	m.names = ""
	err := m.installer(OracleMySQL, t.TempDir()).install(t.Context())
	if !errors.Is(err, errNoPackage) {
		t.Fatalf("got %v, want %v", err, errNoPackage)
	}
	for _, want := range []string{"mysqld and redis-server are needed", "mysql-server-core", "only unstable has MySQL"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("got %q, want %q in it", err, want)
		}
	}
}

func TestVersionOfMySQL(t *testing.T) {
	t.Parallel()
	for text, c := range map[string]struct {
		want string
		err  error
	}{
		"/usr/sbin/mysqld  Ver 8.4.6-0ubuntu0.25.04.3 for Linux on x86_64 ((Ubuntu))": {want: "8.4.6-0ubuntu0.25.04.3"},
		"/usr/sbin/mysqld  Ver 9.7.4-2 for Linux on x86_64 ((Debian))":                {want: "9.7.4-2"},
		"mysqld  Ver 10.3.39-MariaDB-0+deb10u1 for debian-linux-gnu on x86_64":        {err: errNotMySQL},
		"mysqld  Ver 5.7.42 for Linux on x86_64 (MySQL Community Server (GPL))":       {err: errTooOld},
		"no server at all": {err: errNotMySQL},
	} {
		path := filepath.Join(t.TempDir(), "mysqld")
		script := "#!/bin/sh\necho '" + text + "'\n"
		// A process that another test starts meanwhile would have the file open for writing, and nothing could run it.
		syscall.ForkLock.RLock()
		err := os.WriteFile(path, []byte(script), 0o700) //nolint:gosec // a program
		syscall.ForkLock.RUnlock()
		if err != nil {
			t.Fatal(err)
		}
		if got, err := readVersion(program{path: path}); got != c.want || !errors.Is(err, c.err) {
			t.Errorf("%s: got %q, %v, want %q, %v", text, got, err, c.want, c.err)
		}
	}
}

func TestUnknownEngineIsAnError(t *testing.T) {
	t.Setenv(EnvServer, "postgres")
	_, startErr := StartServers(t.Context(), Options{})
	for _, err := range []error{startErr, Install(t.Context(), t.Output())} {
		if want := `CERTPURGE_TEST_SERVER is "postgres": expected mariadb or mysql`; fmt.Sprint(err) != want {
			t.Errorf("got %v, want %s", err, want)
		}
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
	cache := t.TempDir()
	m.write(filepath.Join(cache, "servers/usr/bin/redis-server"), 0o700)
	if err := m.installer(MariaDB, cache).install(t.Context()); err != nil {
		t.Fatal(err)
	}
	commands := len(m.commands)
	if err := m.installer(MariaDB, cache).install(t.Context()); err != nil {
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
		"empty packages": {
			path: debian, contents: map[string]string{"redis-server": "usr/share/doc"},
			want: errUnfetched,
		},
		"offline":      {path: debian, failures: map[string]error{"redis-server": offline, "update": offline}, want: offline},
		"one is there": {path: []string{"mariadbd"}, want: errNoApt},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newMachine(t, c.path...)
			m.contents, m.failures = c.contents, c.failures
			cache := t.TempDir()
			given := cache
			if c.noCache {
				given = ""
			}
			err := m.installer(MariaDB, given).install(t.Context())
			if !errors.Is(err, c.want) {
				t.Fatalf("got %v, want %v", err, c.want)
			}
			for _, want := range []string{
				"apt-get install mariadb-server-core redis-server", "dnf install", "brew install",
				"docker compose up",
			} {
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

func TestUnpackUnpacksOnce(t *testing.T) {
	t.Parallel()
	m := newMachine(t, debian...)
	m.names = "postgresql-15\npostgresql"
	m.contents["postgresql"] = "usr/lib/postgresql/15/bin/postgres"
	cache := filepath.Join(t.TempDir(), "certpurge")
	in := m.installer(MariaDB, cache)
	for range 2 {
		tree, err := in.unpackTree(t.Context(), "postgresql", []string{"postgresql"})
		if err != nil {
			t.Fatal(err)
		}
		postgres := tree.Command(filepath.Join(tree.Root, m.contents["postgresql"]))
		if _, err := os.Stat(postgres.Path); err != nil {
			t.Error(err)
		}
		if want := "LD_LIBRARY_PATH=" + filepath.Join(cache, "postgresql/usr/lib/x86_64-linux-gnu"); !slices.Contains(
			postgres.Env, want) {
			t.Errorf("environment: got %q, want %s in it", postgres.Env, want)
		}
	}
	if got := m.all("install"); len(got) != 1 || !strings.HasSuffix(got[0], " install postgresql") {
		t.Errorf("got %q, want one download of postgresql", got)
	}
}

// TestTheNewestPackagesAreThoseOfUnstable although the release has one of the name.
func TestTheNewestPackagesAreThoseOfUnstable(t *testing.T) {
	t.Parallel()
	m := newMachine(t, debian...)
	in := m.installer(MariaDB, filepath.Join(t.TempDir(), "certpurge"))
	in.newest = true
	if _, err := in.unpackTree(t.Context(), "redis-unstable", []string{"redis-server"}); err != nil {
		t.Fatal(err)
	}
	got := m.all("install")
	if len(got) != 1 || !strings.Contains(got[0], "unstable/lists") || !strings.HasSuffix(got[0], " install redis-server") {
		t.Errorf("got %q, want one download from unstable", got)
	}
}

func TestRunCommandTellsTheLastLine(t *testing.T) {
	t.Parallel()
	_, err := runCommand(t.Context(), "/bin/sh", "-c", "echo first; echo E: the reason; exit 100")
	if got, want := fmt.Sprint(err), "running /bin/sh: exit status 100: E: the reason"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
