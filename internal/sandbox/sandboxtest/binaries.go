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

// Binaries returns the paths of the real enqueuer and the real worker. The first test of a process that calls it builds
// them, with the race detector if the test itself has it.
func Binaries(tb testing.TB) (enqueuer, worker string) {
	tb.Helper()
	return shipped.path(tb, "enqueuer"), shipped.path(tb, "worker")
}

// DemoBinary returns the path of the demo's program, built as Binaries builds the others.
func DemoBinary(tb testing.TB) string {
	tb.Helper()
	return demoProgram.path(tb, "demo")
}

// Main removes them.
var (
	shipped     = binaries{packages: []string{"worker", "enqueuer"}}
	demoProgram = binaries{packages: []string{"internal/sandbox/cmd/demo"}}
)

type binaries struct {
	packages []string // below the module's
	once     sync.Once
	dir      string
	err      error
}

func (b *binaries) path(tb testing.TB, name string) string {
	tb.Helper()
	b.once.Do(b.build)
	if b.err != nil {
		tb.Fatal(b.err)
	}
	return filepath.Join(b.dir, name)
}

func (b *binaries) build() {
	if b.dir, b.err = os.MkdirTemp("", "certpurge-test-"); b.err != nil {
		return
	}
	args := append([]string{"build", "-tags=disable_grpc_modules", "-o", b.dir + "/"}, raceFlag...)
	for _, name := range b.packages {
		args = append(args, "github.com/certpurge/certpurge/"+name)
	}
	cmd := exec.Command("go", args...) //nolint:gosec,noctx // shared by all tests
	if output, err := cmd.CombinedOutput(); err != nil {
		b.err = fmt.Errorf("building the binaries: %w\n%s", err, bytes.TrimSpace(output))
	}
}

func (b *binaries) remove() {
	if b.dir != "" {
		_ = os.RemoveAll(b.dir) // the system empties its directory for such things
	}
}
