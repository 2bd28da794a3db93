package sandbox

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// The servers' programs.
const (
	mariadbd    = "mariadbd"
	redisServer = "redis-server"
)

// program is an executable, and the libraries that were unpacked beside it.
type program struct {
	path      string
	libraries []string // directories; none for a program that belongs to the system
}

// command runs the program in an environment of its own: variables such as MYSQL_TCP_PORT would change the server.
func (p program) command(args ...string) *exec.Cmd {
	// Not bound to a context: a server outlives the one it was started with.
	cmd := exec.Command(p.path, args...) //nolint:gosec,noctx // one of our servers; process.launch owns its life
	cmd.Env = []string{"LC_ALL=C", "PATH=/usr/sbin:/usr/bin:/sbin:/bin"}
	if len(p.libraries) > 0 {
		cmd.Env = append(cmd.Env, "LD_LIBRARY_PATH="+strings.Join(p.libraries, ":"))
	}
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
	lookPath func(file string) (string, error) // exec.LookPath
	unpacked string                            // where Install unpacks; "" when the user has no cache directory
}

// unsearched are directories of servers that are not on every user's PATH.
var unsearched = []string{"/usr/sbin", "/usr/local/sbin", "/usr/libexec"}

func defaultLocator() locator {
	l := locator{lookPath: exec.LookPath}
	if cache, err := os.UserCacheDir(); err == nil {
		l.unpacked = filepath.Join(cache, "certpurge", "servers")
	}
	return l
}

// find prefers a program of the system to an unpacked one.
func (l locator) find(name string) (program, error) {
	path, err := l.lookPath(name)
	if err == nil {
		return program{path: path}, nil
	}
	for _, dir := range unsearched {
		if path, err := l.lookPath(filepath.Join(dir, name)); err == nil {
			return program{path: path}, nil
		}
	}
	if l.unpacked != "" {
		for _, dir := range []string{"sbin", "bin"} {
			if path, err := l.lookPath(filepath.Join(l.unpacked, "usr", dir, name)); err == nil {
				return program{path: path, libraries: l.libraries()}, nil
			}
		}
	}
	return program{}, fmt.Errorf("finding %s: %w", name, err)
}

// libraries of the unpacked packages; Debian keeps them in a directory named after the architecture.
func (l locator) libraries() []string {
	var dirs []string
	for _, pattern := range []string{"usr/lib/*-linux-gnu*", "lib/*-linux-gnu*"} {
		// The pattern is well-formed, which is all that Glob complains about.
		matches, _ := filepath.Glob(filepath.Join(l.unpacked, pattern))
		dirs = append(dirs, matches...)
	}
	return dirs
}

// programs are the two that StartServers needs.
type programs struct{ mariadbd, redis program }

func (l locator) programs() (programs, error) {
	m, mariadbErr := l.find(mariadbd)
	r, redisErr := l.find(redisServer)
	return programs{mariadbd: m, redis: r}, errors.Join(mariadbErr, redisErr)
}
