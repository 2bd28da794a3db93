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
const advice = "install them with \"apt-get install mariadb-server-core redis-server\" (Debian, Ubuntu), " +
	"\"dnf install mariadb-server redis\" (Fedora) or \"brew install mariadb redis\" (macOS), " +
	"or use \"docker compose up\" instead"

// Install makes sure that StartServers finds mariadbd and redis-server. What is on the machine is used as it is.
// Otherwise, on Debian and Ubuntu, the packages are downloaded and unpacked into the user's cache directory. Nothing is
// installed there in the sense of the package manager: no root is needed, no service is set up or started, and no
// MySQL has to make room for a MariaDB. On other systems the error says what to install.
func Install(ctx context.Context, out io.Writer) error {
	return installer{locator: defaultLocator(), run: runCommand, out: out}.install(ctx)
}

// installer holds what Install takes from the machine.
type installer struct {
	locator

	run func(ctx context.Context, name string, args ...string) (output string, err error)
	out io.Writer
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
		err = errUnfetched
	}
	return fmt.Errorf("mariadbd and redis-server are needed (%w): %s", err, advice)
}

func (in installer) fetch(ctx context.Context) error {
	for _, tool := range []string{"apt-get", "apt-cache", "dpkg"} {
		if _, err := in.lookPath(tool); err != nil {
			return errNoApt
		}
	}
	if in.unpacked == "" {
		return errNoCache
	}
	fmt.Fprintf(in.out, "MariaDB and Redis are not installed: unpacking private copies into %s\n", in.unpacked)
	return in.unpackPackages(ctx)
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
