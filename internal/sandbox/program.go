package sandbox

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// The servers' programs.
const (
	mariadbd    = "mariadbd"
	mysqld      = "mysqld"
	redisServer = "redis-server"
)

// program is an executable, and what was unpacked beside it.
type program struct {
	path      string
	libraries []string // directories; none for a program that belongs to the system
	loader    string   // the dynamic loader of the libraries, if they have their own C library
	base      string   // the directory usr of the tree; empty for a program that belongs to the system
	version   string   // of mysqld only
}

const systemPath = "/usr/sbin:/usr/bin:/sbin:/bin"

// command runs the program in an environment of its own: variables such as MYSQL_TCP_PORT would change the server.
func (p program) command(args ...string) *exec.Cmd {
	path, env := p.path, []string{"LC_ALL=C", "PATH=" + systemPath}
	switch libraries := strings.Join(p.libraries, ":"); {
	case p.loader != "":
		// The program was made for another release of the system: the machine's loader does not fit its C library.
		args = append([]string{"--library-path", libraries, path}, args...)
		path = p.loader
	case libraries != "":
		env = append(env, "LD_LIBRARY_PATH="+libraries)
	}
	// Not bound to a context: a server outlives the one it was started with.
	cmd := exec.Command(path, args...) //nolint:gosec,noctx // one of our servers; Child owns its life
	cmd.Env = env
	return cmd
}

// shared lists the directories where scripts and messages of this program may be. They are found from the real place of
// the executable: a link into a directory of links, as Homebrew has, leads nowhere.
func (p program) shared() []string {
	path := p.path
	if resolved, err := filepath.EvalSymlinks(path); err == nil {
		path = resolved
	}
	share := filepath.Join(filepath.Dir(filepath.Dir(path)), "share")
	return []string{filepath.Join(share, "mysql"), filepath.Join(share, "mariadb"), share}
}

// messages is the directory of the server's error texts, or "" when only the server knows it.
func (p program) messages() string {
	for _, dir := range p.shared() {
		if _, err := os.Stat(filepath.Join(dir, "english", "errmsg.sys")); err == nil {
			return dir
		}
	}
	return ""
}

// locator finds programs.
type locator struct {
	engine   Engine
	lookPath func(file string) (string, error) // exec.LookPath
	version  func(p program) (string, error)   // what mysqld --version says
	cache    string                            // where Install unpacks; "" when the user has no cache directory
}

// The trees that Install unpacks, below the cache directory. The one of MySQL may hold the C library of another release
// of the system, so the others have their own.
const (
	treeServers = "servers" // MariaDB and Redis
	treeMySQL   = "mysql"
	treeRedis   = "redis" // Redis alone, beside MySQL
)

// unsearched are directories of servers that are not on every user's PATH.
var unsearched = []string{"/usr/sbin", "/usr/local/sbin", "/usr/libexec"}

func defaultLocator() (locator, error) {
	engine, err := ChosenEngine()
	if err != nil {
		return locator{}, err
	}
	l := locator{engine: engine, lookPath: exec.LookPath, version: readVersion}
	if cache, err := os.UserCacheDir(); err == nil {
		l.cache = filepath.Join(cache, "certpurge")
	}
	return l, nil
}

// candidates are the places where a program may be: those of the system first.
func (l locator) candidates(name string, trees []string) []program {
	found := []program{{path: name}}
	for _, dir := range unsearched {
		found = append(found, program{path: filepath.Join(dir, name)})
	}
	if l.cache == "" {
		return found
	}
	for _, tree := range trees {
		unpacked := Tree{filepath.Join(l.cache, tree)}
		for _, dir := range []string{"sbin", "bin"} {
			found = append(found, unpacked.program(filepath.Join(unpacked.Root, "usr", dir, name)))
		}
	}
	return found
}

// libraries of the unpacked packages: Debian keeps them in a directory named after the architecture. With a pattern, it
// returns the files in there.
func libraries(root, pattern string) []string {
	var found []string
	for _, dir := range []string{"usr/lib/*-linux-gnu*", "lib/*-linux-gnu*"} {
		// The pattern is well-formed, the only error of Glob.
		matches, _ := filepath.Glob(filepath.Join(root, dir, pattern))
		found = append(found, matches...)
	}
	return found
}

// find returns the first candidate that is there. What calls itself mysqld may be a MariaDB or too old, so it is asked.
func (l locator) find(name string, trees ...string) (program, error) {
	var reason error
	for _, p := range l.candidates(name, trees) {
		path, err := l.lookPath(p.path)
		if err == nil {
			p.path = path
			if name != mysqld {
				return p, nil
			}
			if p.version, err = l.version(p); err == nil {
				return p, nil
			}
			reason = err
		}
		reason = cmp.Or(reason, err)
	}
	return program{}, fmt.Errorf("finding %s: %w", name, reason)
}

// versionText is in what mysqld --version prints: "mysqld  Ver 8.4.6-0ubuntu0 for Linux on x86_64 ((Ubuntu))".
var versionText = regexp.MustCompile(`\bVer ((\d+)\.\S+)`)

var (
	errNotMySQL = errors.New("is not Oracle's MySQL")
	errTooOld   = errors.New("is older than MySQL 8.0")
)

// readVersion asks a mysqld for its version.
func readVersion(p program) (string, error) {
	text, err := p.command("--no-defaults", "--version").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("running %s --version: %w", p.path, err)
	}
	version := versionText.FindSubmatch(text)
	if version == nil || bytes.Contains(text, []byte("MariaDB")) {
		return "", fmt.Errorf("%s %w", p.path, errNotMySQL)
	}
	if major, err := strconv.Atoi(string(version[2])); err != nil || major < 8 {
		return "", fmt.Errorf("%s %w", p.path, errTooOld)
	}
	return string(version[1]), nil
}

// programs are the two that StartServers needs.
type programs struct{ mysql, redis program }

func (l locator) programs() (programs, error) {
	m, mysqlErr := l.database()
	r, redisErr := l.redis(InstalledRedis)
	return programs{mysql: m, redis: r}, errors.Join(mysqlErr, redisErr)
}

// database finds the server of the chosen engine.
func (l locator) database() (program, error) {
	if l.engine == OracleMySQL {
		return l.find(mysqld, treeMySQL)
	}
	return l.find(mariadbd, treeServers)
}

// Engine is a program that serves MySQL's protocol.
type Engine string

// The engines, as EnvServer names them.
const (
	MariaDB     Engine = "mariadb"
	OracleMySQL Engine = "mysql"
)

// EnvServer names the variable that chooses the engine of StartServers; MariaDB, if it is empty.
const EnvServer = "CERTPURGE_TEST_SERVER"

// Title is the engine's name in texts.
func (e Engine) Title() string {
	if e == OracleMySQL {
		return "MySQL"
	}
	return "MariaDB"
}

// ChosenEngine reads EnvServer.
func ChosenEngine() (Engine, error) {
	switch e := Engine(os.Getenv(EnvServer)); e {
	case "":
		return MariaDB, nil
	case MariaDB, OracleMySQL:
		return e, nil
	default:
		return "", fmt.Errorf("%s is %q: expected %s or %s", EnvServer, string(e), MariaDB, OracleMySQL)
	}
}
