package sandboxtest

import (
	"io"
	"os"
	"os/exec"
	"testing"
)

// Promtool runs Prometheus's promtool, which make rules says the place of, and fails the test if that is not content.
func Promtool(tb testing.TB, dir string, stdin io.Reader, args ...string) {
	tb.Helper()
	path := os.Getenv("CERTPURGE_TEST_PROMTOOL")
	if path == "" {
		tb.Fatal("CERTPURGE_TEST_PROMTOOL is not set: run make rules")
	}
	cmd := exec.CommandContext(tb.Context(), path, args...) //nolint:gosec // what the maker of the test wants
	cmd.Dir, cmd.Stdin = dir, stdin
	if output, err := cmd.CombinedOutput(); err != nil {
		tb.Errorf("promtool %q: %v\n%s", args, err, output)
	}
}
