package sandbox

import (
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// shell stands in for a server.
var shell = program{path: "/bin/sh"}

func TestFailedStartShowsTheOutput(t *testing.T) {
	t.Parallel()
	p := &server{
		name:    "broken",
		dir:     t.TempDir(),
		command: func() *exec.Cmd { return shell.command("-c", "echo no such thing >&2; exit 3") },
		ready:   func(context.Context) error { return errors.New("no process is there") },
	}
	err := p.Start(t.Context())
	if err == nil {
		t.Fatal("got nil, want an error")
	}
	for _, want := range []string{"starting broken", "exit status 3", "no such thing"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("got %q, want %q in it", err, want)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(p.dir, "*"+pidSuffix)); len(left) > 0 {
		t.Errorf("pid files: got %v, want none", left)
	}
}

func TestStartEndsWithItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancelCause(t.Context())
	enough := errors.New("enough")
	p := &server{
		name:    "deaf",
		dir:     t.TempDir(),
		command: func() *exec.Cmd { return shell.command("-c", "exec sleep 60") },
		ready: func(context.Context) error {
			cancel(enough)
			return errors.New("no process is there")
		},
	}
	if err := p.Start(ctx); !errors.Is(err, enough) {
		t.Errorf("got %v, want %v", err, enough)
	}
}

// A program that refuses to run as root is started with another account.
func TestStartChildKeepsTheCredential(t *testing.T) {
	t.Parallel()
	//nolint:gosec // ids of accounts are no larger
	account := &syscall.Credential{Uid: uint32(os.Geteuid()), Gid: uint32(os.Getegid()), NoSetGroups: true}
	cmd := shell.command("-c", "exit 0")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: account}
	child, err := StartChild(t.TempDir(), "child", "", cmd)
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Wait(t.Context()); err != nil {
		t.Error(err)
	}
	if got, want := cmd.SysProcAttr.Credential, account; got != want {
		t.Errorf("got the credential %v, want %v", got, want)
	}
}

// Someone takes the port between our look at it and the start of the server.
func TestStartTakesAnotherPortWhenOneIsLost(t *testing.T) {
	t.Parallel()
	locator, err := defaultLocator()
	if err != nil {
		t.Fatal(err)
	}
	programs, err := locator.programs()
	if err != nil {
		t.Fatal(err)
	}
	r := newRedis(programs.redis, t.TempDir(), Options{})
	t.Cleanup(r.Stop)
	var taken net.Listener
	err = r.startOnFreePort(t.Context(), lastPort, func(addr string) {
		r.listenOn(addr)
		if taken != nil {
			return
		}
		if taken, err = new(net.ListenConfig).Listen(t.Context(), "tcp", addr); err != nil {
			t.Fatal(err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	if r.Addr == taken.Addr().String() {
		t.Errorf("got %s, which another has", r.Addr)
	}
}

func TestInterruptedStartLeavesNothing(t *testing.T) {
	parent := t.TempDir()
	t.Setenv("TMPDIR", parent)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := StartServers(ctx, Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
	if left, err := os.ReadDir(parent); err != nil || len(left) > 0 {
		t.Errorf("got %v, %v, want an empty directory", left, err)
	}
}
