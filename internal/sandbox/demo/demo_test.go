package demo_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/certpurge/certpurge/internal/sandbox/demo"
	"github.com/certpurge/certpurge/internal/sandbox/sandboxtest"
)

// spy is a worker that records where it runs before it becomes the real one.
type spy struct {
	t      *testing.T
	path   string // of the script
	where  string // file: directory and process id
	output string // file: what the worker logs
}

// newSpy makes a spy that then runs command, in the language of the shell.
func newSpy(t *testing.T, command string) *spy {
	t.Helper()
	dir := t.TempDir()
	s := &spy{
		t: t, path: filepath.Join(dir, "worker"), where: filepath.Join(dir, "where"),
		output: filepath.Join(dir, "output"),
	}
	script := fmt.Sprintf("#!/bin/sh\necho \"$PWD\" $$ >'%s'\n%s\n", s.where,
		strings.ReplaceAll(command, "OUTPUT", s.output))
	syscall.ForkLock.RLock()                           // else a process that starts meanwhile has it open for writing, and nothing can run it
	err := os.WriteFile(s.path, []byte(script), 0o700) //nolint:gosec // it has to be run
	syscall.ForkLock.RUnlock()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// found returns the demo's directory and the worker's process.
func (s *spy) found() (dir string, pid int) {
	s.t.Helper()
	text, err := os.ReadFile(s.where)
	if err != nil {
		s.t.Fatalf("the worker was never started: %v", err)
	}
	if _, err := fmt.Sscan(string(text), &dir, &pid); err != nil {
		s.t.Fatal(err)
	}
	return dir, pid
}

// gone reports whether nothing of the demo is left.
func (s *spy) gone() bool {
	dir, pid := s.found()
	_, err := os.Stat(dir)
	return errors.Is(err, os.ErrNotExist) && errors.Is(syscall.Kill(pid, 0), syscall.ESRCH)
}

func (s *spy) checkGone() {
	s.t.Helper()
	if !s.gone() {
		dir, pid := s.found()
		s.t.Errorf("the directory %s or the worker %d is still there", dir, pid)
	}
}

func TestDemoHoldsWithTheRealBinaries(t *testing.T) {
	t.Parallel()
	enqueuer, worker := sandboxtest.Binaries(t)
	s := newSpy(t, "exec '"+worker+"' \"$@\" 2>'OUTPUT'")
	var out, people bytes.Buffer
	report, err := demo.Run(t.Context(), demo.Options{
		Users: 20, JSON: true, Out: &out, Err: &people, Enqueuer: enqueuer, Worker: s.path, Seed: 3,
	})
	if err != nil {
		t.Fatalf("%v\n%s", err, people.String())
	}
	if !report.OK || report.Done < 20 || report.Refused == 0 || report.Failed == 0 || report.Waiting == 0 ||
		report.ObjectsErased < 20*12 {
		t.Errorf("got %+v", report)
	}
	if got, want := report.Done+report.Refused+report.Failed+report.Waiting, report.Users; got != want {
		t.Errorf("ends: got %d in all, want %d", got, want)
	}
	var line map[string]any
	lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &line); err != nil {
		t.Fatalf("the last line of the output: %v", err)
	}
	for _, key := range []string{
		"users", "done", "refused", "failed", "objects_erased", "references_cleared", "objects_left", "references_left",
		"foreign_objects_touched", "foreign_rows_touched", "ok",
	} {
		if _, ok := line[key]; !ok {
			t.Errorf("the JSON has no %s", key)
		}
	}
	if !strings.Contains(people.String(), "The check holds.") {
		t.Errorf("the result is not printed:\n%s", people.String())
	}
	s.checkGone()
	log, err := os.ReadFile(s.output)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"the report":       people.String() + out.String(),
		"the worker's log": string(log),
	} {
		if personal := regexp.MustCompile(`learner\d+|@example|retired__|https?://\S*downloads|\b[0-9a-f]{32}\b`).FindString(
			text); personal != "" {
			t.Errorf("%s holds %q", name, personal)
		}
	}
}

func TestKeepWaitsForTheEnd(t *testing.T) {
	t.Parallel()
	enqueuer, worker := sandboxtest.Binaries(t)
	s := newSpy(t, "exec '"+worker+"' \"$@\"")
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	people := newPage()
	ended := make(chan error, 1)
	go func() {
		_, err := demo.Run(ctx, demo.Options{
			Users: 1, Keep: true, Out: people, Err: people, Enqueuer: enqueuer,
			Worker: s.path,
		})
		people.close()
		ended <- err
	}()
	text := people.until("once more")
	if s.gone() {
		t.Error("everything is gone before the end")
	}
	// The commands that are printed work as they stand.
	script := regexp.MustCompile(`(?m)^  (export .*|\S+/enqueuer status.*)$`).FindAllString(text, -1)
	commands := strings.Join(script, "\n")
	output, err := exec.CommandContext(t.Context(), "sh", "-ec", commands).CombinedOutput() //nolint:gosec // the demo's
	if err != nil || len(script) < 5 || !strings.Contains(string(output), "not_retiring") {
		t.Errorf("running\n%s\ngot %v\n%s", strings.Join(script, "\n"), err, output)
	}
	consoles := regexp.MustCompile(`Console +(\S+) +\(the worker's: (\S+)\)`).FindStringSubmatch(text)
	if len(consoles) != 3 {
		t.Fatalf("no address of a console in %s", text)
	}
	for i, process := range []string{"serve", "worker"} {
		if page := get(t, consoles[i+1]); !strings.Contains(page, process) {
			t.Errorf("%s: got %s", process, page)
		}
	}
	interrupt()
	if err := <-ended; err != nil {
		t.Errorf("got %v, want nil: the end was asked for", err)
	}
	s.checkGone()
}

// get returns a page that must be there.
func get(t *testing.T, url string) string {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := (&http.Client{}).Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }() // only read from
	page, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK {
		t.Fatalf("%s: got %d, %v", url, answer.StatusCode, err)
	}
	return string(page)
}

func TestInterruptedDemoLeavesNothing(t *testing.T) {
	t.Parallel()
	enqueuer, _ := sandboxtest.Binaries(t)
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	s := newSpy(t, "trap 'exit 0' TERM; while :; do sleep 0.05; done") // never purges a user
	people := newPage()
	ended := make(chan error, 1)
	go func() {
		_, err := demo.Run(ctx, demo.Options{Users: 1, Out: people, Err: people, Enqueuer: enqueuer, Worker: s.path})
		people.close()
		ended <- err
	}()
	people.until("Purging: 0 of")
	interrupt()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want that it was cancelled", err)
	}
	s.checkGone()
}

func TestFailingWorkerIsExplained(t *testing.T) {
	t.Parallel()
	enqueuer, _ := sandboxtest.Binaries(t)
	s := newSpy(t, "echo 'worker: the bucket is missing' >&2; exit 5")
	_, err := demo.Run(t.Context(), demo.Options{
		Users: 1, Out: io.Discard, Err: io.Discard, Enqueuer: enqueuer,
		Worker: s.path,
	})
	if err == nil || !strings.Contains(err.Error(), "the bucket is missing") ||
		!strings.Contains(err.Error(), "exit status 5") {
		t.Errorf("got %v, want the worker's own words and its exit status", err)
	}
	s.checkGone()
}

func TestFailingEnqueuerIsExplained(t *testing.T) {
	t.Parallel()
	s := newSpy(t, "echo 'enqueuer: no rights' >&2; exit 4")
	_, err := demo.Run(t.Context(), demo.Options{
		Users: 1, Out: io.Discard, Err: io.Discard, Enqueuer: s.path,
		Worker: s.path,
	})
	if err == nil || !strings.Contains(err.Error(), "enqueuer migrate") || !strings.Contains(err.Error(), "no rights") {
		t.Errorf("got %v, want the command and its own words", err)
	}
	s.checkGone()
}

func TestLazyWorkerFailsTheCheck(t *testing.T) {
	t.Parallel()
	enqueuer, worker := sandboxtest.Binaries(t)
	// Its configuration keeps the history, which the check does not expect.
	s := newSpy(t, "CERTPURGE_LMS_CLEAR_HISTORY=false exec '"+worker+"' \"$@\"")
	var people bytes.Buffer
	report, err := demo.Run(t.Context(), demo.Options{
		Users: 1, Out: &people, Err: io.Discard, Enqueuer: enqueuer,
		Worker: s.path,
	})
	if !errors.Is(err, demo.ErrNotAsExpected) || report.OK || report.ReferencesLeft == 0 {
		t.Errorf("got %+v, %v, want references left", report, err)
	}
	if !strings.Contains(people.String(), "WRONG") || !strings.Contains(people.String(), "does NOT hold") {
		t.Errorf("the output lacks it:\n%s", people.String())
	}
	s.checkGone()
}

func TestKilledDemoLeavesNothing(t *testing.T) {
	t.Parallel()
	enqueuer, worker := sandboxtest.Binaries(t)
	s := newSpy(t, "exec '"+worker+"' \"$@\"")
	parent := exec.CommandContext(t.Context(), os.Args[0], enqueuer) //nolint:gosec // this test binary
	parent.Env = append(os.Environ(), helperVariable+"="+s.path)
	people := newPage()
	parent.Stdout, parent.Stderr = people, t.Output()
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		_ = parent.Wait() // how it ends is our choice
		people.close()
		close(ended)
	}()
	people.until("once more")
	if err := parent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-ended
	deadline := time.NewTimer(20 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !s.gone() {
		select {
		case <-tick.C:
		case <-deadline.C:
			dir, pid := s.found()
			t.Fatalf("the directory %s or the worker %d is still there", dir, pid)
		}
	}
}

func TestSecretsAreInNoFile(t *testing.T) {
	t.Parallel()
	enqueuer, _ := sandboxtest.Binaries(t)
	s := newSpy(t, `cat *.yaml >'OUTPUT'; stat -c '%a' *.yaml >>'OUTPUT'; env >>'OUTPUT'; exit 5`)
	if _, err := demo.Run(t.Context(), demo.Options{
		Users: 1, Out: io.Discard, Err: io.Discard, Enqueuer: enqueuer,
		Worker: s.path,
	}); err == nil {
		t.Error("got nil, want an error")
	}
	text, err := os.ReadFile(s.output)
	if err != nil {
		t.Fatal(err)
	}
	password := regexp.MustCompile(`(?m)^CERTPURGE_MYSQL_DSN=certpurge_worker:([A-Z2-7]{20,})@`).FindStringSubmatch(string(
		text))
	if password == nil || strings.Count(string(text), password[1]) != 1 {
		t.Errorf("got\n%s\nwant a random password in the environment and nowhere else", text)
	}
	if got, want := strings.Count(string(text), "\n600\n"), 1; got != want ||
		!strings.Contains(string(text), "\n600\n600\n") {
		t.Errorf("modes of the files: got\n%s\nwant 600 for both", text)
	}
}

func TestNumberOfUsersIsChecked(t *testing.T) {
	t.Parallel()
	for _, users := range []int{-1, 0, 1_000_000} {
		_, err := demo.Run(t.Context(), demo.Options{Users: users, Out: io.Discard, Err: io.Discard})
		if err == nil || !strings.Contains(err.Error(), strconv.Itoa(users)) {
			t.Errorf("%d users: got %v, want an error that names the number", users, err)
		}
	}
}
