package sandbox

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"time"
)

const (
	stopTimeout = 15 * time.Second // after this a child is killed; more than the drain_timeout of any of them
	logTail     = 4 << 10          // bytes of a child's output in an error
)

// ErrKilled means that a child did not obey SIGTERM in time.
var ErrKilled = fmt.Errorf("it did not end within %v after SIGTERM", stopTimeout)

// Child is one run of a program, which ends with this process at the latest: the kernel or the watchdog kills it.
type Child struct {
	Name string
	Log  string // path of its output

	cmd    *exec.Cmd
	before int64 // size of the log before this run
	gone   chan struct{}
	err    error // of Wait; set when gone is closed
}

// StartChild starts cmd in dir, a directory of StartServers or of a test. Its output is appended to the file log, which
// may be empty for name.log in dir. A Stdout and a Credential that cmd has already stay. The process runs until it
// ends, or until Stop or Kill: no context is its end.
func StartChild(dir, name, log string, cmd *exec.Cmd) (*Child, error) {
	if log == "" {
		log = filepath.Join(dir, name+".log")
	}
	c := &Child{Name: name, Log: log, cmd: cmd, gone: make(chan struct{})}
	file, err := os.OpenFile(log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600) //nolint:gosec // the caller's
	if err != nil {
		return nil, fmt.Errorf("starting %s: %w", name, err)
	}
	defer file.Close() // the child has its own
	if c.before, err = file.Seek(0, io.SeekEnd); err != nil {
		return nil, fmt.Errorf("starting %s: %w", name, err)
	}
	attributes := childAttributes()
	if cmd.SysProcAttr != nil {
		attributes.Credential = cmd.SysProcAttr.Credential
	}
	cmd.Dir, cmd.SysProcAttr, cmd.Stderr = dir, attributes, file
	if cmd.Stdout == nil {
		cmd.Stdout = file
	}
	started := make(chan error)
	go c.supervise(filepath.Join(dir, name+pidSuffix), started)
	if err := <-started; err != nil {
		return nil, fmt.Errorf("starting %s: %w", name, err)
	}
	return c, nil
}

// supervise starts the child and waits for its end. The pid file exists exactly as long as the process does: the
// watchdog kills what it finds in it.
func (c *Child) supervise(pidFile string, started chan<- error) {
	// Linux ties the death signal of childAttributes to the thread that started the child, not to the process: the thread
	// has to live as long as the child does.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err := c.cmd.Start()
	if err == nil {
		err = os.WriteFile(pidFile, []byte(strconv.Itoa(c.cmd.Process.Pid)), 0o600)
		if err != nil {
			_ = c.cmd.Process.Kill()
			_ = c.cmd.Wait()
		}
	}
	started <- err
	if err != nil {
		return
	}
	c.err = c.cmd.Wait()
	_ = os.Remove(pidFile)
	close(c.gone)
}

// Gone is closed when the process has ended.
func (c *Child) Gone() <-chan struct{} { return c.gone }

// Exit is how the process ended, and the error of that. It may be called when Gone is closed.
func (c *Child) Exit() (*os.ProcessState, error) { return c.cmd.ProcessState, c.err }

// Ended is the error of a child that has ended by itself.
func (c *Child) Ended() error {
	if c.err != nil {
		return c.failed("running", c.err)
	}
	return fmt.Errorf("running %s: it ended by itself\n%s", c.Name, c.Output())
}

func (c *Child) failed(doing string, err error) error {
	return fmt.Errorf("%s %s: %w\n%s", doing, c.Name, err, c.Output())
}

// Pause returns nil after d. It returns an error at once if the child or ctx ends.
func (c *Child) Pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-c.gone:
		return c.Ended()
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}

// Wait waits for the end of a command. If ctx ends before, it stops the command.
func (c *Child) Wait(ctx context.Context) error {
	select {
	case <-c.gone:
	case <-ctx.Done():
		_ = c.Stop() // the cause explains more
		return context.Cause(ctx)
	}
	if c.err != nil {
		return c.Ended()
	}
	return nil
}

// Kill ends the process at once.
func (c *Child) Kill() {
	_ = c.cmd.Process.Kill() // an error means that it has ended
	<-c.gone
}

// Stop signals the process to end and waits for that. The error is ErrKilled if it had to be killed, otherwise that of
// the process, or nil if it had ended before. It may be called again. SIGCONT follows because a test may have stopped
// the process with SIGSTOP, and a stopped process acts on nothing else.
func (c *Child) Stop() error {
	select {
	case <-c.gone:
		return nil
	default:
	}
	_ = c.cmd.Process.Signal(syscall.SIGTERM) // an error means that it has ended just now
	_ = c.cmd.Process.Signal(syscall.SIGCONT)
	timer := time.NewTimer(stopTimeout)
	defer timer.Stop()
	select {
	case <-c.gone:
	case <-timer.C:
		c.Kill()
		return c.failed("stopping", ErrKilled)
	}
	if c.err != nil {
		return c.failed("stopping", c.err)
	}
	return nil
}

// Output is the end of what this run has written.
func (c *Child) Output() []byte {
	file, err := os.Open(c.Log)
	if err != nil {
		return nil // the error that is being explained says more
	}
	defer file.Close()
	size, _ := file.Seek(0, io.SeekEnd)
	from := max(c.before, size-logTail)
	text, _ := io.ReadAll(io.NewSectionReader(file, from, logTail))
	if _, lines, ok := bytes.Cut(text, []byte("\n")); ok && from > c.before {
		text = lines
	}
	return bytes.TrimSpace(text)
}
