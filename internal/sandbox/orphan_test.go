package sandbox_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/certpurge/certpurge/internal/sandbox/sandboxtest"
)

// The servers must not outlive the process that started them, however it ends.
func TestDeadParentLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(t *testing.T, parent *exec.Cmd, closeInput func() error){
		"killed": func(t *testing.T, parent *exec.Cmd, _ func() error) {
			t.Helper()
			if err := parent.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		},
		"exit without Stop": func(t *testing.T, _ *exec.Cmd, closeInput func() error) {
			t.Helper()
			if err := closeInput(); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			parent := exec.CommandContext(t.Context(), os.Args[0]) //nolint:gosec // this test binary
			parent.Env = append(os.Environ(), helperVariable+"=1")
			parent.Stderr = t.Output()
			input, err := parent.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			output, err := parent.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := parent.Start(); err != nil {
				t.Fatal(err)
			}
			var mariadb, socket, redis string
			if _, err := fmt.Fscanln(output, &mariadb, &socket, &redis); err != nil {
				t.Fatalf("reading where the servers are: %v", err)
			}
			for _, addr := range []string{mariadb, redis} {
				if !listens(t.Context(), addr) {
					t.Errorf("no process listens at %s", addr)
				}
			}

			end(t, parent, input.Close)
			_ = parent.Wait() // how it ended was our choice

			sandboxtest.Eventually(t, "both servers are gone", func() bool {
				return !listens(t.Context(), mariadb) && !listens(t.Context(), redis)
			})
			sandboxtest.Eventually(t, "the directory is gone", func() bool { return !exists(filepath.Dir(socket)) })
		})
	}
}
