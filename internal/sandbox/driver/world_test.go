package driver_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/sandbox/demo"
	"github.com/certpurge/certpurge/internal/sandbox/demo/dataset"
	"github.com/certpurge/certpurge/internal/sandbox/driver"
	"github.com/certpurge/certpurge/internal/sandbox/sandboxtest"
)

func TestMain(m *testing.M) { os.Exit(sandboxtest.Main(m)) }

// world is an invented site with the real server, and the real worker where a test wants one.
type world struct {
	t                *testing.T
	env              *demo.Environment
	data             *dataset.Dataset
	enqueuer, worker string
	url              string // of the server
	stopWorker       func()
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t}
	w.enqueuer, w.worker = sandboxtest.Binaries(t)
	var err error
	if w.env, err = demo.OpenEnvironment(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.env.Close)
	w.data = dataset.New(1, 3)
	if _, err := w.data.Seed(t.Context(), w.env.Root, demo.LMSDatabase, w.env.Storage, w.env.StorageURL); err != nil {
		t.Fatal(err)
	}
	migrate := w.command(w.enqueuer, w.env.MigrateDSN,
		append([]string{"--config", w.env.Path(demo.EnqueuerFile)}, w.env.MigrateArguments()...)...)
	if output, err := migrate.CombinedOutput(); err != nil {
		t.Fatalf("migrating: %v\n%s", err, output)
	}
	log := &sandboxtest.Buffer{}
	w.run(log, w.enqueuer, "--config", w.env.Path(demo.EnqueuerFile), "serve")
	sandboxtest.Eventually(t, "the server listens", func() bool {
		w.url = addressIn(log.String())
		return w.url != ""
	})
	return w
}

// command runs a binary of ours.
func (w *world) command(binary, dsn string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(w.t.Context(), binary, args...) //nolint:gosec // our own binary
	cmd.Dir = w.env.Dir
	cmd.Env = append(os.Environ(), append(w.env.Callers.Environ(), "CERTPURGE_MYSQL_DSN="+dsn,
		"CERTPURGE_REDIS_URL="+w.env.RedisURL,
		"CERTPURGE_SERVE_HOLD=2s")...)
	return cmd
}

// run starts a binary that runs until stop, or until the test ends.
func (w *world) run(log io.Writer, binary string, args ...string) (stop func()) {
	w.t.Helper()
	dsn := w.env.EnqueuerDSN
	if binary == w.worker {
		dsn = w.env.WorkerDSN
	}
	cmd := w.command(binary, dsn, args...)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	stopped := false
	stop = func() {
		if !stopped {
			stopped = true
			_ = cmd.Process.Signal(syscall.SIGTERM)
			_ = cmd.Wait()
		}
	}
	w.t.Cleanup(stop)
	return stop
}

func (w *world) startWorker() {
	w.t.Helper()
	w.stopWorker = w.run(io.Discard, w.worker, "--config", w.env.Path(demo.WorkerFile))
}

// addressIn finds where the server listens.
func addressIn(log string) string {
	for line := range strings.Lines(log) {
		var entry struct{ Msg, Address string }
		if json.Unmarshal([]byte(line), &entry) == nil && entry.Msg == "serving" {
			return "http://" + entry.Address
		}
	}
	return ""
}

// driver calls the server as a service class does. It does not wait for long.
func (w *world) driver(service driver.Service) *driver.Driver {
	w.t.Helper()
	token, err := w.env.Callers.JWT(time.Now())
	if err != nil {
		w.t.Fatal(err)
	}
	return &driver.Driver{
		Service: service, BaseURL: w.url + "/", Token: token, Client: &http.Client{Timeout: time.Minute},
		Wait: func(context.Context, time.Duration) {},
	}
}

// retire runs the stage and checks what becomes of the learner.
func (w *world) retire(d *driver.Driver, learner driver.Learner, completed bool, recorded string) driver.Outcome {
	w.t.Helper()
	got, err := d.Retire(w.t.Context(), learner)
	if err != nil || got.Completed != completed || !strings.Contains(got.Recorded, recorded) {
		w.t.Errorf("user %d by %s: got %+v, %v, want completed %v and %q", learner.ID, d.Service.Path, got, err, completed,
			recorded)
	}
	if strings.Contains(got.Recorded, learner.Name) && learner.Name != "" {
		w.t.Errorf("the LMS would store the name: %s", got.Recorded)
	}
	return got
}

// learner is a user whose purge ends like that.
func (w *world) learner(end dataset.End) driver.Learner {
	w.t.Helper()
	for _, u := range w.data.Users {
		if u.Enqueued && u.Want == end && (u.State != "" || end.State == purge.Refused) {
			return w.named(u.ID)
		}
	}
	w.t.Fatalf("no user ends as %v", end)
	return driver.Learner{}
}

// named is the learner with the name of the retirement row, as the driver gets it from the LMS.
func (w *world) named(user int) driver.Learner {
	w.t.Helper()
	learner := driver.Learner{ID: user}
	err := w.env.Root.QueryRowContext(w.t.Context(),
		"SELECT COALESCE((SELECT original_username FROM "+demo.LMSDatabase+
			".user_api_userretirementstatus WHERE user_id = ?), 'nobody')", user).Scan(&learner.Name)
	if err != nil {
		w.t.Fatal(err)
	}
	return learner
}
