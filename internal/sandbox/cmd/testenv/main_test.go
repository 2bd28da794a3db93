package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/certpurge/certpurge/internal/sandbox"
)

// helperVariable makes this test binary behave as testenv.
const helperVariable = "CERTPURGE_TESTENV_HELPER"

func TestMain(m *testing.M) {
	if os.Getenv(helperVariable) != "" {
		main()
	}
	os.Exit(m.Run())
}

// testenv is a command that has servers already, unless they are asked for.
func testenv(ctx context.Context, t *testing.T, withServers bool, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(ctx, os.Args[0], args...) //nolint:gosec // this test binary
	cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool {
		return strings.HasPrefix(v, "CERTPURGE_") && !strings.HasPrefix(v, sandbox.EnvServer+"=")
	})
	cmd.Env = append(cmd.Env, helperVariable+"=1")
	if !withServers {
		cmd.Env = append(cmd.Env, sandbox.EnvMySQL+"=elsewhere", sandbox.EnvRedis+"=elsewhere")
	}
	cmd.Stderr = t.Output()
	return cmd
}

func TestExitCodeIsTheCommands(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		args []string
		want int
	}{
		"success":         {[]string{"--", "true"}, 0},
		"failure":         {[]string{"--", "sh", "-c", "exit 7"}, 7},
		"without dashes":  {[]string{"sh", "-c", "exit 3"}, 3},
		"killed":          {[]string{"--", "sh", "-c", "kill -9 $$"}, 128 + 9},
		"unknown command": {[]string{"--", "/no/such/command"}, exitFailed},
		"no command":      {[]string{"--"}, exitFailed},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cmd := testenv(t.Context(), t, false, c.args...)
			err := cmd.Run()
			if _, ok := errors.AsType[*exec.ExitError](err); err != nil && !ok {
				t.Fatal(err)
			}
			if got := cmd.ProcessState.ExitCode(); got != c.want {
				t.Errorf("got %d, want %d", got, c.want)
			}
		})
	}
}

func TestCommandHasServersWhileItRuns(t *testing.T) {
	t.Parallel()
	// The socket is there while the command runs.
	script := `echo "$CERTPURGE_TEST_MYSQL $CERTPURGE_TEST_REDIS"; ` +
		`s=${CERTPURGE_TEST_MYSQL#*unix(}; test -S "${s%%)*}" || exit 8; exit 5`
	var output bytes.Buffer
	cmd := testenv(t.Context(), t, true, "--", "sh", "-c", script)
	cmd.Stdout = &output
	err := cmd.Run()
	if got, want := cmd.ProcessState.ExitCode(), 5; got != want {
		t.Fatalf("exit code: got %d (%v), want %d", got, err, want)
	}
	mysql, redis, _ := strings.Cut(strings.TrimSpace(output.String()), " ")
	if !strings.HasPrefix(mysql, "root@unix(") || !strings.HasPrefix(redis, "redis://127.0.0.1:") {
		t.Fatalf("variables: got %q and %q, want root's DSN and a redis URL", mysql, redis)
	}
	socket, _, _ := strings.Cut(strings.TrimPrefix(mysql, "root@unix("), ")")
	if _, err := os.Stat(filepath.Dir(socket)); !os.IsNotExist(err) {
		t.Errorf("directory of the servers afterwards: got %v, want it gone", err)
	}
}

func TestServersFromTheEnvironmentAreUsed(t *testing.T) {
	t.Parallel()
	got, err := testenv(t.Context(), t, false, "--", "sh", "-c",
		"echo $CERTPURGE_TEST_MYSQL $CERTPURGE_TEST_REDIS").Output()
	if want := "elsewhere elsewhere\n"; err != nil || string(got) != want {
		t.Errorf("got %q, %v, want %q", got, err, want)
	}
}

func TestSignalsReachTheCommand(t *testing.T) {
	t.Parallel()
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		t.Run(sig.String(), func(t *testing.T) {
			t.Parallel()
			// read returns when a signal has been handled, or when the input ends.
			cmd := testenv(t.Context(), t, false, "--", "sh", "-c", "trap 'exit 9' INT TERM; echo ready; read line; exit 1")
			input, err := cmd.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			defer input.Close()
			output, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			if line, err := bufio.NewReader(output).ReadString('\n'); line != "ready\n" {
				t.Fatalf("got %q, %v, want ready", line, err)
			}
			if err := cmd.Process.Signal(sig); err != nil {
				t.Fatal(err)
			}
			_ = cmd.Wait() // the exit code says it
			if got, want := cmd.ProcessState.ExitCode(), 9; got != want {
				t.Errorf("got %d, want %d", got, want)
			}
		})
	}
}
