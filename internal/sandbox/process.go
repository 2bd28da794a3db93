package sandbox

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"time"
)

const (
	startTimeout = 30 * time.Second       // a loaded machine needs a few seconds at worst
	stopTimeout  = 10 * time.Second       // after this a server is killed
	pollEvery    = 5 * time.Millisecond   // between two attempts to connect to a server that starts
	logTail      = 4 << 10                // bytes of a server's output in the error of a failed start
	attemptLimit = 500 * time.Millisecond // for one attempt to connect
)

// process is a server program that can be started and stopped again and again.
type process struct {
	name    string                          // in errors, and of its files
	dir     string                          // where its log and pid file are
	command func() *exec.Cmd                // a fresh command for each start
	ready   func(ctx context.Context) error // nil once the server answers

	mu   sync.Mutex
	live *running // nil when stopped
}

// Start starts the server and waits until it answers. It is for a server that was stopped or killed; a running one is
// an error.
func (p *process) Start(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.live != nil && !p.live.ended() {
		return fmt.Errorf("starting %s: it is running", p.name)
	}
	cmd := p.command()
	live, err := p.launch(cmd)
	if err != nil {
		return fmt.Errorf("starting %s: %w", p.name, err)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, startTimeout, errors.New("it does not answer in time"))
	defer cancel()
	if err := p.awaitReady(ctx, live); err != nil {
		live.kill()
		return fmt.Errorf("starting %s: %w\n%s", p.name, err, p.output())
	}
	p.live = live
	return nil
}

// Stop asks the server to end and waits until its process is gone, by force if it must. Stopping a stopped server is
// fine.
func (p *process) Stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.live == nil {
		return
	}
	p.live.terminate()
	p.live = nil
}

// Restart stops and starts the server, at the same address.
func (p *process) Restart(ctx context.Context) error {
	p.Stop()
	return p.Start(ctx)
}

// Signal sends sig to the server. After os.Kill it waits until the process is gone, so that Start can follow at once.
func (p *process) Signal(sig os.Signal) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.live == nil {
		return fmt.Errorf("signalling %s: it is stopped", p.name)
	}
	if err := p.live.process.Signal(sig); err != nil {
		return fmt.Errorf("signalling %s: %w", p.name, err)
	}
	if sig == os.Kill {
		<-p.live.gone
	}
	return nil
}

// run runs a command of the server to its end, such as the one that fills a new data directory.
func (p *process) run(ctx context.Context, cmd *exec.Cmd) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	live, err := p.launch(cmd)
	if err != nil {
		return err
	}
	select {
	case <-live.gone:
	case <-ctx.Done():
		live.kill()
		return context.Cause(ctx)
	}
	if live.err != nil {
		return fmt.Errorf("%w\n%s", live.err, p.output())
	}
	return nil
}

func (p *process) awaitReady(ctx context.Context, live *running) error {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		attempt, cancel := context.WithTimeout(ctx, attemptLimit)
		err := p.ready(attempt)
		cancel()
		if err == nil {
			return nil
		}
		select {
		case <-live.gone:
			return fmt.Errorf("it ended: %v", live.state)
		case <-ctx.Done():
			return fmt.Errorf("%w (last answer: %w)", context.Cause(ctx), err)
		case <-tick.C:
		}
	}
}

func (p *process) logFile() string { return filepath.Join(p.dir, p.name+".log") }

// pidFile is there exactly as long as the process is: the watchdog kills what it finds in it.
func (p *process) pidFile() string { return filepath.Join(p.dir, p.name+pidSuffix) }

// output is the end of what the server has written since its start.
func (p *process) output() []byte {
	text, err := os.ReadFile(p.logFile())
	if err != nil {
		return nil // the start's own error tells more
	}
	if len(text) > logTail {
		text = text[len(text)-logTail:]
	}
	return bytes.TrimSpace(text)
}

// running is one run of a process.
type running struct {
	process *os.Process
	gone    chan struct{} // closed when the process has been reaped; the fields below are set by then
	state   *os.ProcessState
	err     error
}

// launch starts cmd with its output in the log file.
func (p *process) launch(cmd *exec.Cmd) (*running, error) {
	log, err := os.Create(p.logFile())
	if err != nil {
		return nil, err
	}
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Dir = p.dir
	cmd.SysProcAttr = serverAttributes()
	live := &running{gone: make(chan struct{})}
	started := make(chan error)
	go func() {
		// Linux ties the death signal of serverAttributes to the thread that started the child, not to the process: the
		// thread has to live as long as the server does.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		_ = log.Close() // the child has its own
		if err == nil {
			live.process = cmd.Process
			err = os.WriteFile(p.pidFile(), []byte(strconv.Itoa(cmd.Process.Pid)), 0o600)
			if err != nil {
				_ = cmd.Process.Kill()
				_ = cmd.Wait()
			}
		}
		started <- err
		if err != nil {
			return
		}
		live.err = cmd.Wait()
		live.state = cmd.ProcessState
		_ = os.Remove(p.pidFile())
		close(live.gone)
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	return live, nil
}

func (r *running) ended() bool {
	select {
	case <-r.gone:
		return true
	default:
		return false
	}
}

// kill ends the process at once. Errors mean that it has ended already.
func (r *running) kill() {
	_ = r.process.Kill()
	<-r.gone
}

// terminate gives the process time to end well. SIGCONT follows because a test may have stopped the server with
// SIGSTOP, and a stopped process acts on nothing else.
func (r *running) terminate() {
	_ = r.process.Signal(syscall.SIGTERM)
	_ = r.process.Signal(syscall.SIGCONT)
	timer := time.NewTimer(stopTimeout)
	defer timer.Stop()
	select {
	case <-r.gone:
	case <-timer.C:
		r.kill()
	}
}
