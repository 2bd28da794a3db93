package chaos

import (
	"context"
	"io"
	"path/filepath"
	"strconv"

	"github.com/certpurge/certpurge/internal/sandbox"
	"github.com/certpurge/certpurge/internal/sandbox/demo"
)

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

// start starts a binary that talks to Redis through the proxy.
func (r *run) start(
	name, binary, dsn string, settings []string, out io.Writer, args ...string,
) (*sandbox.Child, error) {
	cmd := r.env.Command(binary, dsn, append([]string{"CERTPURGE_REDIS_URL=" + r.proxy.url()}, settings...), args...)
	cmd.Stdout = out
	log := ""
	if r.Logs != "" {
		log = filepath.Join(r.Logs, name+".log")
	}
	return sandbox.StartChild(r.env.Dir, name, log, cmd)
}

// startWorker starts a worker.
func (r *run) startWorker(name string) (*sandbox.Child, error) {
	return r.start(name, r.Worker, r.env.WorkerDSN, quick, nil, "--config", r.env.Path(demo.WorkerFile))
}

// startEnqueuer starts an enqueuer, which writes its answer to out, or to its log if out is nil.
func (r *run) startEnqueuer(out io.Writer, dsn string, args ...string) (*sandbox.Child, error) {
	name := "enqueuer-" + strconv.FormatInt(r.tally.commands.Add(1), 10)
	args = append([]string{"--config", r.env.Path(demo.EnqueuerFile)}, args...)
	return r.start(name, r.Enqueuer, dsn, shared, out, args...)
}

// runEnqueuer runs an enqueuer to its end, and returns its exit code too: -1 if a signal or ctx ended it.
func (r *run) runEnqueuer(ctx context.Context, out io.Writer, dsn string, args ...string) (code int, err error) {
	p, err := r.startEnqueuer(out, dsn, args...)
	if err != nil {
		return -1, err
	}
	err = p.Wait(ctx)
	state, _ := p.Exit()
	return state.ExitCode(), err
}
