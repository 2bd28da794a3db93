package chaos

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/certpurge/certpurge/internal/sandbox/demo"
)

// stopPatience is how long a process may take to stop; its drain time is 2 s.
const stopPatience = 15 * time.Second

// quick are the settings under which a run is short: what waits for minutes in production waits for seconds here.
var quick = []string{
	"CERTPURGE_QUEUE_CONCURRENCY=16", "CERTPURGE_QUEUE_MAX_ATTEMPTS=100", "CERTPURGE_QUEUE_RETRY_BASE=1s",
	"CERTPURGE_QUEUE_RETRY_CAP=3s",
	"CERTPURGE_QUEUE_DRAIN_TIMEOUT=2s",
	"CERTPURGE_RECONCILER_INTERVAL=1s", "CERTPURGE_RECONCILER_GRACE=3s",
	"CERTPURGE_GCS_MAX_TRIES=2", "CERTPURGE_GCS_CALL_TIMEOUT=2s", "CERTPURGE_GCS_ATTRIBUTES_MAX_AGE=2s",
	"CERTPURGE_MYSQL_CONNECT_TIMEOUT=2s", "CERTPURGE_MYSQL_QUERY_TIMEOUT=5s",
	"CERTPURGE_TASKS_TIMEOUT=60s",
}

// shared are those of them that the enqueuer knows.
var shared = []string{
	"CERTPURGE_MYSQL_CONNECT_TIMEOUT=2s", "CERTPURGE_MYSQL_QUERY_TIMEOUT=5s",
	"CERTPURGE_TASKS_TIMEOUT=60s",
}

// process is one run of a binary.
type process struct {
	name string
	cmd  *exec.Cmd
	said *bytes.Buffer
	gone chan struct{} // closed when it has ended; err is set by then
	err  error

	log *os.File // nil without Options.Logs
	pid string   // path of the file by which the servers' watchdog finds it
}

// process prepares a process that is not started yet. Nothing of our own environment is handed on: a
// CERTPURGE_MYSQL_DSN that somebody has set for production must not be found here.
func (r *run) process(name, path, dsn string, settings []string, args ...string) *process {
	p := &process{name: name, said: &bytes.Buffer{}, gone: make(chan struct{}), pid: r.env.Path(name + ".pid")}
	p.cmd = exec.Command(path, args...) //nolint:gosec,noctx // our own binary; whoever starts it ends it
	p.cmd.Env = append([]string{"CERTPURGE_MYSQL_DSN=" + dsn, "CERTPURGE_REDIS_URL=" + r.proxy.url()}, settings...)
	for _, variable := range []string{"PATH", "HOME", "TMPDIR", "GOCOVERDIR"} {
		if value, ok := os.LookupEnv(variable); ok {
			p.cmd.Env = append(p.cmd.Env, variable+"="+value)
		}
	}
	p.cmd.Dir = r.env.Dir
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // a terminal's Ctrl-C is for us
	p.cmd.Stderr = &tail{buffer: p.said}
	if r.Logs != "" {
		p.log, _ = os.OpenFile(filepath.Join(r.Logs, name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY,
			0o600) //nolint:gosec // where the operator wants it
		if p.log != nil {
			p.cmd.Stderr = &tail{buffer: p.said, log: p.log}
		}
	}
	return p
}

// worker prepares a worker.
func (r *run) worker(name string) *process {
	return r.process(name, r.Worker, r.env.WorkerDSN, quick, "--config", r.env.Path(demo.WorkerFile))
}

// enqueuer prepares an enqueuer.
func (r *run) enqueuer(dsn string, args ...string) *process {
	name := "enqueuer-" + strconv.FormatInt(r.tally.commands.Add(1), 10)
	args = append([]string{"--config", r.env.Path(demo.EnqueuerFile)}, args...)
	return r.process(name, r.Enqueuer, dsn, shared, args...)
}

// start starts the process; it goes on until it ends by itself or by a signal.
func (p *process) start() error {
	if err := p.cmd.Start(); err != nil {
		return fmt.Errorf("starting %s: %w", p.name, err)
	}
	pidErr := os.WriteFile(p.pid, []byte(strconv.Itoa(p.cmd.Process.Pid)), 0o600)
	go func() {
		p.err = p.cmd.Wait()
		_ = os.Remove(p.pid) // its number may soon be another's
		if p.log != nil {
			_ = p.log.Close()
		}
		close(p.gone)
	}()
	if pidErr != nil {
		p.kill()
		return fmt.Errorf("starting %s: %w", p.name, pidErr)
	}
	return nil
}

// kill ends the process at once.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // an error means that it has ended
	<-p.gone
}

// stop asks the process to end, and reports false if it had to be killed.
func (p *process) stop() bool {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	timer := time.NewTimer(stopPatience)
	defer timer.Stop()
	select {
	case <-p.gone:
		return true
	case <-timer.C:
		p.kill()
		return false
	}
}

// unborn reports whether SIGTERM met the process before its first line: no program listens to signals yet then.
func (p *process) unborn() bool {
	status, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus)
	return ok && status.Signal() == syscall.SIGTERM && p.said.Len() == 0
}

// code is the exit code of a process that has ended; -1 if a signal ended it.
func (p *process) code() int { return p.cmd.ProcessState.ExitCode() }

// run runs the process to its end, or to that of ctx.
func (p *process) run(ctx context.Context) error {
	if err := p.start(); err != nil {
		return err
	}
	select {
	case <-p.gone:
	case <-ctx.Done():
		p.stop()
		return context.Cause(ctx)
	}
	return p.ended()
}

// ended is the error of a process that has ended.
func (p *process) ended() error {
	if p.err != nil {
		return fmt.Errorf("running %s: %w: %s", p.name, p.err, bytes.TrimSpace(p.said.Bytes()))
	}
	return nil
}

// tailSize is how much of a process's output is remembered, in bytes.
const tailSize = 4 << 10

// tail remembers the end of what is written, and passes everything on to a log if there is one. os/exec writes from one
// goroutine, and Wait waits for it.
type tail struct {
	buffer *bytes.Buffer
	log    *os.File
}

// Write implements io.Writer.
func (t *tail) Write(text []byte) (int, error) {
	t.buffer.Write(text)
	if over := t.buffer.Len() - tailSize; over > 0 {
		t.buffer.Next(over)
	}
	if t.log != nil {
		_, _ = t.log.Write(text) // a log that cannot be written is no reason to stop
	}
	return len(text), nil
}
