package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
)

// advice ends the error of an Install that cannot help.
func (in installer) advice() string {
	apt, fedora, brew := "mariadb-server-core", "mariadb-server", "mariadb"
	if in.engine == OracleMySQL {
		apt, fedora, brew = "mysql-server-core-8.0", "mysql-server", "mysql"
	}
	return fmt.Sprintf("install them with \"apt-get install %s redis-server\" (%s), \"dnf install %s redis\" (Fedora) or"+
		" \"brew install %s redis\" (macOS), or use \"docker compose up\" instead", apt, in.releases(), fedora, brew)
}

func (in installer) releases() string {
	if in.engine == OracleMySQL {
		return "Ubuntu; of Debian's releases only unstable has MySQL"
	}
	return "Debian, Ubuntu"
}

// Install makes sure that StartServers finds the programs of the chosen engine and redis-server. What is on the machine
// is used as it is. Otherwise, on Debian and Ubuntu, the packages are downloaded and unpacked into the user's cache
// directory. Nothing is installed there in the sense of the package manager: no root is needed, no service is set up or
// started, and no MySQL has to make room for a MariaDB. On other systems the error says what to install.
func Install(ctx context.Context, out io.Writer) error {
	locator, err := defaultLocator()
	if err != nil {
		return err
	}
	return installer{locator: locator, run: runCommand, out: out}.install(ctx)
}

// installer holds what Install takes from the machine.
type installer struct {
	locator

	run func(ctx context.Context, name string, args ...string) (output string, err error)
	out io.Writer

	newest bool // packages are those of Debian's unstable, not of the machine's release
}

var (
	errNoApt     = errors.New("apt-get and dpkg are not here to fetch them")
	errNoCache   = errors.New("the user has no cache directory to keep them in")
	errUnfetched = errors.New("the packages did not contain them")
)

func (in installer) install(ctx context.Context) error {
	if _, err := in.programs(); err == nil {
		return nil
	}
	err := in.fetch(ctx)
	if err == nil {
		if _, err = in.programs(); err == nil {
			return nil
		}
		err = fmt.Errorf("%w: %w", errUnfetched, err)
	}
	server := mariadbd
	if in.engine == OracleMySQL {
		server = mysqld
	}
	return fmt.Errorf("%s and %s are needed (%w): %s", server, redisServer, err, in.advice())
}

// canUnpack says why packages cannot be unpacked here.
func (in installer) canUnpack() error {
	for _, tool := range []string{"apt-get", "apt-cache", "dpkg"} {
		if _, err := in.lookPath(tool); err != nil {
			return errNoApt
		}
	}
	if in.cache == "" {
		return errNoCache
	}
	return nil
}

func (in installer) fetch(ctx context.Context) error {
	if err := in.canUnpack(); err != nil {
		return err
	}
	if in.engine == MariaDB {
		fmt.Fprintf(in.out, "MariaDB and Redis are not installed: unpacking private copies into %s\n", in.cache)
		return in.unpackPackages(ctx, treeServers, mariadbPackage, redisServer)
	}
	if _, err := in.database(); err != nil {
		fmt.Fprintf(in.out, "MySQL is not installed: unpacking a private copy into %s\n", in.cache)
		if err := in.unpackPackages(ctx, treeMySQL, mysqlPackage); err != nil {
			return err
		}
	}
	if _, err := in.find(redisServer, treeServers, treeRedis); err != nil {
		fmt.Fprintf(in.out, "Redis is not installed: unpacking a private copy into %s\n", in.cache)
		return in.unpackPackages(ctx, treeRedis, redisServer)
	}
	return nil
}

// runCommand returns what the command wrote; its error ends with the last line of that.
func runCommand(ctx context.Context, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...) //nolint:gosec // apt and dpkg, see apt.go
	cmd.Env = append(cmd.Environ(), "LC_ALL=C")
	text, err := cmd.CombinedOutput()
	output := strings.TrimSpace(string(text))
	if err != nil {
		return output, fmt.Errorf("running %s: %w: %s", name, err, output[strings.LastIndexByte(output, '\n')+1:])
	}
	return output, nil
}
