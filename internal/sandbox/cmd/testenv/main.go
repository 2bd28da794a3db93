// Testenv runs a command beside a private MySQL server and Redis, and passes it their addresses:
//
//	go run ./internal/sandbox/cmd/testenv -- go test ./...
//
// The server is a MariaDB, or Oracle's MySQL if CERTPURGE_TEST_SERVER is "mysql". One pair for a whole run of tests
// takes a third of a second (MySQL: two seconds); one for each package is slower. The command's exit code is testenv's.
// Servers that the environment already names (CERTPURGE_TEST_MYSQL and CERTPURGE_TEST_REDIS, both) are used instead.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	"github.com/certpurge/certpurge/internal/sandbox"
)

// exitFailed is for a failure of testenv itself.
const exitFailed = 2

func main() {
	code, err := run(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "testenv:", err)
		code = exitFailed
	}
	os.Exit(code)
}

var errUsage = errors.New("usage: testenv -- COMMAND [ARGUMENT]")

func run(args []string) (int, error) {
	if len(args) > 0 && args[0] == "--" {
		args = args[1:]
	}
	if len(args) == 0 {
		return 0, errUsage
	}
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	defer signal.Stop(signals)

	environment := os.Environ()
	if os.Getenv(sandbox.EnvMySQL) == "" || os.Getenv(sandbox.EnvRedis) == "" {
		servers, err := start()
		if err != nil {
			return 0, err
		}
		defer servers.Stop()
		environment = append(environment,
			sandbox.EnvMySQL+"="+servers.MySQL.SocketDSN("root", "", ""),
			sandbox.EnvRedis+"=redis://"+servers.Redis.Addr,
		)
	}
	return runCommand(args, environment, signals)
}

// start can be interrupted: its context ends with the first signal.
func start() (*sandbox.Servers, error) {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := sandbox.Install(ctx, os.Stderr); err != nil {
		return nil, err
	}
	return sandbox.StartServers(ctx, sandbox.Options{NoSync: true})
}

// runCommand waits for the command to end in its own time: signals are passed on, and it decides.
func runCommand(args, environment []string, signals <-chan os.Signal) (int, error) {
	cmd := exec.Command(args[0], args[1:]...) //nolint:gosec,noctx // running what it is given is its purpose
	cmd.Env = environment
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for {
		select {
		case sig := <-signals:
			_ = cmd.Process.Signal(sig) // an error means that it has just ended
		case err := <-ended:
			return exitCode(err)
		}
	}
}

// exitCode is the command's, or 128 and the number of the signal that ended it, as shells have it.
func exitCode(err error) (int, error) {
	if err == nil {
		return 0, nil
	}
	exit, ok := errors.AsType[*exec.ExitError](err)
	if !ok {
		return 0, err
	}
	if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return 128 + int(status.Signal()), nil
	}
	return exit.ExitCode(), nil
}
