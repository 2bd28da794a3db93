package sandboxtest

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// Binaries returns the paths of the real enqueuer and the real worker. They are built when the first test of a process
// asks, as that test itself is built, so that races in them are found, too.
func Binaries(tb testing.TB) (enqueuer, worker string) {
	tb.Helper()
	built.once.Do(built.build)
	if built.err != nil {
		tb.Fatal(built.err)
	}
	return filepath.Join(built.dir, "enqueuer"), filepath.Join(built.dir, "worker")
}

// built is removed by Main.
var built binaries

type binaries struct {
	once sync.Once
	dir  string
	err  error
}

func (b *binaries) build() {
	if b.dir, b.err = os.MkdirTemp("", "certpurge-test-"); b.err != nil {
		return
	}
	args := append([]string{"build", "-tags=disable_grpc_modules", "-o", b.dir + "/"}, raceFlag...)
	const module = "github.com/certpurge/certpurge/"
	cmd := exec.Command("go", append(args, module+"worker",
		module+"enqueuer")...) //nolint:gosec,noctx // shared by all tests
	if output, err := cmd.CombinedOutput(); err != nil {
		b.err = fmt.Errorf("building the binaries: %w\n%s", err, bytes.TrimSpace(output))
	}
}

func (b *binaries) remove() {
	if b.dir != "" {
		_ = os.RemoveAll(b.dir) // the system empties its directory for such things
	}
}
