package riverbench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/certpurge/certpurge/internal/sandbox"
)

const startTimeout = 30 * time.Second

// postgres is a private PostgreSQL server. It listens on a socket in its directory only, and ends with this process. If
// that is killed, a shared memory segment of 56 bytes is left.
type postgres struct {
	dir    string // of the data and the socket
	server *sandbox.Child
	pid    int
	remove func()
}

// programs makes commands of PostgreSQL's programs.
type programs func(name string, args ...string) *exec.Cmd

// startPostgres installs a PostgreSQL if the machine has none, and starts it on a new data directory.
func startPostgres(ctx context.Context) (*postgres, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute) // the download included
	defer cancel()
	root, remove, err := sandbox.Directory()
	if err != nil {
		return nil, err
	}
	p := &postgres{dir: filepath.Join(root, "postgres"), remove: remove}
	if err := p.start(ctx, root); err != nil {
		p.stop()
		return nil, fmt.Errorf("starting PostgreSQL: %w", err)
	}
	return p, nil
}

func (p *postgres) start(ctx context.Context, root string) error {
	account, err := unprivileged()
	if err != nil {
		return err
	}
	if err := os.Mkdir(p.dir, 0o700); err != nil {
		return err
	}
	if account != nil {
		//nolint:gosec // the server's account must reach its own directory in it
		if err := errors.Join(os.Chmod(root, 0o711), os.Chown(p.dir, int(account.Uid), int(account.Gid))); err != nil {
			return err
		}
	}
	command, err := find(ctx, root, account != nil)
	if err != nil {
		return err
	}
	as := func(cmd *exec.Cmd) *exec.Cmd {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: account}
		return cmd
	}
	data := filepath.Join(p.dir, "data")
	initdb, err := sandbox.StartChild(root, "initdb", "", as(command("initdb", "--pgdata="+data, "--username=postgres",
		"--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync")))
	if err != nil {
		return err
	}
	if err := initdb.Wait(ctx); err != nil {
		return err
	}
	server := as(command("postgres", "-D", data, "-k", p.dir,
		"-c", "listen_addresses=",
		// As the sandbox's MySQL: a commit is handed to the kernel, but not synced to disk.
		"-c", "fsync=off",
		// Files in its directory, so that a killed server leaves nothing in /dev/shm.
		"-c", "dynamic_shared_memory_type=mmap"))
	if p.server, err = sandbox.StartChild(root, "postgres", "", server); err != nil {
		return err
	}
	p.pid = server.Process.Pid
	return p.awaitReady(ctx)
}

func (p *postgres) awaitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	pool, err := pgxpool.New(ctx, p.dsn("postgres"))
	if err != nil {
		return err
	}
	defer pool.Close()
	for {
		if err = pool.Ping(ctx); err == nil {
			return nil
		}
		if pauseErr := p.server.Pause(ctx, 20*time.Millisecond); pauseErr != nil {
			return errors.Join(pauseErr, err)
		}
	}
}

// stop ends the server, if it was started, and removes its directory.
func (p *postgres) stop() {
	if p.server != nil {
		_ = p.server.Stop() // it is gone in any case
	}
	p.remove()
}

func (p *postgres) dsn(database string) string {
	return fmt.Sprintf("host=%s user=postgres dbname=%s", p.dir, database)
}

// unprivileged is the account for the server if this process runs as root, as which PostgreSQL refuses to run.
func unprivileged() (*syscall.Credential, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	account, err := user.Lookup("nobody") //nolint:misspell // its name
	if err != nil {
		return nil, err
	}
	uid, uidErr := strconv.ParseUint(account.Uid, 10, 32)
	gid, gidErr := strconv.ParseUint(account.Gid, 10, 32)
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, errors.Join(uidErr, gidErr)
}

// Where packages put the programs, which are on the PATH of few users: Debian and Ubuntu, PostgreSQL's own packages for
// Fedora, Homebrew.
var directories = []string{
	"/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/opt/homebrew/opt/postgresql@*/bin",
	"/usr/local/opt/postgresql@*/bin",
}

// find returns the machine's own programs, or unpacks private ones where there is apt. Those of root's cache directory
// are copied to where the server's account may read them.
func find(ctx context.Context, dir string, isRoot bool) (programs, error) {
	if bin, ok := installed("/"); ok {
		return func(name string, args ...string) *exec.Cmd {
			//nolint:gosec,noctx // PostgreSQL's programs; Child owns their life
			cmd := exec.Command(filepath.Join(bin, name), args...)
			cmd.Env = []string{"LC_ALL=C", "PATH=" + bin + ":/usr/bin:/bin"}
			return cmd
		}, nil
	}
	tree, err := sandbox.Unpack(ctx, os.Stderr, "postgresql", "postgresql")
	if err != nil {
		return nil, fmt.Errorf("initdb and postgres are not installed: %w", err)
	}
	if isRoot {
		own := sandbox.Tree{Root: filepath.Join(dir, "programs")}
		if err := os.CopyFS(own.Root, os.DirFS(tree.Root)); err != nil {
			return nil, err
		}
		tree = own
	}
	bin, ok := installed(tree.Root)
	if !ok {
		return nil, fmt.Errorf("the packages in %s have no initdb and postgres", tree.Root)
	}
	return func(name string, args ...string) *exec.Cmd {
		return tree.Command(filepath.Join(bin, name), args...)
	}, nil
}

// installed finds the directory of initdb and postgres below root. Of several versions, any does.
func installed(root string) (bin string, ok bool) {
	var found []string
	if path, err := exec.LookPath("initdb"); err == nil && root == "/" {
		found = append(found, filepath.Dir(path))
	}
	for _, pattern := range directories {
		matches, _ := filepath.Glob(filepath.Join(root, pattern)) // the patterns are well-formed
		found = append(found, matches...)
	}
	for _, bin := range found {
		_, initdbErr := os.Stat(filepath.Join(bin, "initdb"))
		_, postgresErr := os.Stat(filepath.Join(bin, "postgres"))
		if initdbErr == nil && postgresErr == nil {
			return bin, true
		}
	}
	return "", false
}
