package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"syscall"
	"time"
)

const (
	// stopPatience is how long a process may take to stop: more than the worker's drain_timeout here.
	stopPatience = 20 * time.Second
	// tailSize is how much of a process's output is shown when it fails, in bytes.
	tailSize = 4 << 10
	// batch is how many users one call of the enqueuer is given.
	batch = 1000
)

// environment is all that a process of the demo gets to know. Nothing of ours is handed on: a CERTPURGE_MYSQL_DSN that
// somebody has set for production must not be found here.
func (d *demo) environment(dsn string) []string {
	environ := []string{"CERTPURGE_MYSQL_DSN=" + dsn, "CERTPURGE_REDIS_URL=" + d.env.RedisURL}
	for _, name := range []string{"PATH", "HOME", "TMPDIR", "GOCOVERDIR"} {
		if value, ok := os.LookupEnv(name); ok {
			environ = append(environ, name+"="+value)
		}
	}
	return environ
}

// apart keeps a terminal's Ctrl-C from a process: it is stopped in order, by us.
func apart() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// enqueuer runs the enqueuer to its end.
func (d *demo) enqueuer(ctx context.Context, dsn string, args ...string) error {
	args = append([]string{"--config", d.env.Path(EnqueuerFile)}, args...)
	cmd := exec.CommandContext(ctx, d.Enqueuer, args...) //nolint:gosec // our own binary
	cmd.Env, cmd.Dir, cmd.SysProcAttr = d.environment(dsn), d.env.Dir, apart()
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = stopPatience
	output, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("running enqueuer %s: %w\n%s", args[2], err, tail(output))
	}
	return nil
}

// enqueue asks for the purge of all users.
func (d *demo) enqueue(ctx context.Context) error {
	for ids := range slices.Chunk(d.data.Enqueued(), batch) {
		args := []string{"enqueue"}
		for _, id := range ids {
			args = append(args, strconv.Itoa(id))
		}
		if err := d.enqueuer(ctx, d.env.EnqueuerDSN, args...); err != nil {
			return err
		}
	}
	return nil
}

// process is a running worker or server.
type process struct {
	name string
	cmd  *exec.Cmd
	log  string        // path
	gone chan struct{} // closed when it has ended; err is set by then
	err  error
}

// start starts a binary that runs until it is told to stop, whatever becomes of any context: Ctrl-C must find it
// stoppable. Its output goes to name.log, its id to name.pid, which the servers' watchdog looks for: a demo that is
// killed takes its processes with it.
func (d *demo) start(name, binary string, environ []string, args ...string) (*process, error) {
	p := &process{name: name, log: d.env.Path(name + ".log"), gone: make(chan struct{})}
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("starting the %s: %w", name, err)
	}
	defer log.Close() // the process has its own
	dsn := d.env.EnqueuerDSN
	if binary == d.Worker {
		dsn = d.env.WorkerDSN
	}
	p.cmd = exec.Command(binary, args...) //nolint:gosec,noctx // our own binary; stop ends it
	p.cmd.Env, p.cmd.Dir, p.cmd.SysProcAttr = append(d.environment(dsn), environ...), d.env.Dir, apart()
	p.cmd.Stdout, p.cmd.Stderr = log, log
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting the %s: %w", name, err)
	}
	pid := name + ".pid"
	pidErr := d.env.Write(pid, []byte(strconv.Itoa(p.cmd.Process.Pid)))
	go func() {
		p.err = p.cmd.Wait()
		_ = os.Remove(d.env.Path(pid)) // its number may soon be another's
		close(p.gone)
	}()
	if pidErr != nil {
		return nil, errors.Join(pidErr, p.stop())
	}
	return p, nil
}

// address waits until the process has logged where it listens.
func (p *process) address(ctx context.Context, message string) (string, error) {
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for {
		text, err := os.ReadFile(p.log)
		if err != nil {
			return "", fmt.Errorf("reading the log of the %s: %w", p.name, err)
		}
		for line := range bytes.Lines(text) {
			var entry struct{ Msg, Address string }
			if json.Unmarshal(line, &entry) == nil && entry.Msg == message {
				return entry.Address, nil
			}
		}
		select {
		case <-p.gone:
			return "", p.ended()
		case <-ctx.Done():
			return "", context.Cause(ctx)
		case <-ticker.C:
		}
	}
}

// stop tells the process to end and waits for it. It may be called again.
func (p *process) stop() error {
	select {
	case <-p.gone:
		return nil // whoever was waiting for it has said so
	default:
	}
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // an error means that it has ended just now
	timer := time.NewTimer(stopPatience)
	defer timer.Stop()
	select {
	case <-p.gone:
	case <-timer.C:
		_ = p.cmd.Process.Kill()
		<-p.gone
		return fmt.Errorf("stopping the %s: it did not end within %v after SIGTERM\n%s", p.name, stopPatience, p.tail())
	}
	if p.err != nil {
		return fmt.Errorf("stopping the %s: %w\n%s", p.name, p.err, p.tail())
	}
	return nil
}

// ended is the error of a process that ended by itself.
func (p *process) ended() error {
	if p.err != nil {
		return fmt.Errorf("running the %s: %w\n%s", p.name, p.err, p.tail())
	}
	return fmt.Errorf("running the %s: it ended by itself\n%s", p.name, p.tail())
}

// tail is the end of its log.
func (p *process) tail() []byte {
	file, err := os.Open(p.log)
	if err != nil {
		return nil // the error that is being explained says more
	}
	defer file.Close()
	if _, err := file.Seek(-tailSize, io.SeekEnd); err != nil { // a shorter file is read from its start
		_, _ = file.Seek(0, io.SeekStart)
	}
	text, _ := io.ReadAll(file)
	return tail(text)
}

// tail cuts a text to its last lines.
func tail(text []byte) []byte {
	if len(text) > tailSize {
		text = text[len(text)-tailSize:]
		if _, rest, ok := bytes.Cut(text, []byte("\n")); ok {
			text = rest
		}
	}
	return bytes.TrimSpace(text)
}
