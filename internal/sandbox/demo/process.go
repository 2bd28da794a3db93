package demo

import (
	"bytes"
	"context"
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
	environ := []string{"CERTPURGE_MYSQL_DSN=" + dsn, "CERTPURGE_REDIS_URL=" + d.house.RedisURL}
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
	args = append([]string{"--config", d.house.Path(EnqueuerFile)}, args...)
	cmd := exec.CommandContext(ctx, d.Enqueuer, args...) //nolint:gosec // our own binary
	cmd.Env, cmd.Dir, cmd.SysProcAttr = d.environment(dsn), d.house.Dir, apart()
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
		if err := d.enqueuer(ctx, d.house.DSN, args...); err != nil {
			return err
		}
	}
	return nil
}

// worker is the running worker process.
type worker struct {
	cmd  *exec.Cmd
	log  string        // path
	gone chan struct{} // closed when it has ended; err is set by then
	err  error
}

const (
	workerLog = "worker.log"
	// workerPID is what the servers' watchdog looks for: a demo that is killed takes its worker with it.
	workerPID = "worker.pid"
)

// startWorker starts the worker. It goes on until stop, whatever becomes of any context: Ctrl-C must find it stoppable.
func (d *demo) startWorker() (*worker, error) {
	w := &worker{log: d.house.Path(workerLog), gone: make(chan struct{})}
	log, err := os.OpenFile(w.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("starting the worker: %w", err)
	}
	defer log.Close()                                                    // the worker has its own
	w.cmd = exec.Command(d.Worker, "--config", d.house.Path(WorkerFile)) //nolint:gosec,noctx // our own binary; stop ends it
	w.cmd.Env, w.cmd.Dir, w.cmd.SysProcAttr = d.environment(d.house.DSN), d.house.Dir, apart()
	w.cmd.Stdout, w.cmd.Stderr = log, log
	if err := w.cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting the worker: %w", err)
	}
	pidErr := d.house.Write(workerPID, []byte(strconv.Itoa(w.cmd.Process.Pid)))
	go func() {
		w.err = w.cmd.Wait()
		_ = os.Remove(d.house.Path(workerPID)) // its number may soon be another's
		close(w.gone)
	}()
	if pidErr != nil {
		return nil, errors.Join(pidErr, w.stop())
	}
	return w, nil
}

// stop tells the worker to end and waits for it. It may be called again.
func (w *worker) stop() error {
	select {
	case <-w.gone:
		return nil // whoever was waiting for it has said so
	default:
	}
	_ = w.cmd.Process.Signal(syscall.SIGTERM) // an error means that it has ended just now
	timer := time.NewTimer(stopPatience)
	defer timer.Stop()
	select {
	case <-w.gone:
	case <-timer.C:
		_ = w.cmd.Process.Kill()
		<-w.gone
		return fmt.Errorf("stopping the worker: it did not end within %v after SIGTERM\n%s", stopPatience, w.tail())
	}
	if w.err != nil {
		return fmt.Errorf("stopping the worker: %w\n%s", w.err, w.tail())
	}
	return nil
}

// ended is the error of a worker that ended by itself.
func (w *worker) ended() error {
	if w.err != nil {
		return fmt.Errorf("running the worker: %w\n%s", w.err, w.tail())
	}
	return fmt.Errorf("running the worker: it ended by itself\n%s", w.tail())
}

// tail is the end of the worker's log.
func (w *worker) tail() []byte {
	file, err := os.Open(w.log)
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
