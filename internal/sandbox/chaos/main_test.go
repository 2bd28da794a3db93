package chaos_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/certpurge/certpurge/internal/sandbox/sandboxtest"
)

func TestMain(m *testing.M) {
	code := sandboxtest.Main(m)
	built.remove()
	os.Exit(code)
}

// built are the real binaries, built when the first test asks.
var built binaries

type binaries struct {
	once sync.Once
	dir  string
	err  error
}

// get returns the paths of both.
func (b *binaries) get(t *testing.T) (enqueuer, worker string) {
	t.Helper()
	b.once.Do(func() {
		if b.dir, b.err = os.MkdirTemp("", "certpurge-chaos-test-"); b.err != nil { //nolint:usetesting // all tests use them
			return
		}
		args := append([]string{"build", "-tags=disable_grpc_modules", "-o", b.dir + "/"}, raceFlag...)
		cmd := exec.Command("go", append(args, "./worker", "./enqueuer")...) //nolint:gosec,noctx // shared by all tests
		cmd.Dir = filepath.Join("..", "..", "..")
		if output, err := cmd.CombinedOutput(); err != nil {
			b.err = fmt.Errorf("building the binaries: %w\n%s", err, bytes.TrimSpace(output))
		}
	})
	if b.err != nil {
		t.Fatal(b.err)
	}
	return filepath.Join(b.dir, "enqueuer"), filepath.Join(b.dir, "worker")
}

func (b *binaries) remove() {
	if b.dir != "" {
		_ = os.RemoveAll(b.dir)
	}
}
