package shapes_test

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/certpurge/certpurge/internal/sandbox"
	"github.com/certpurge/certpurge/internal/sandbox/demo"
	"github.com/certpurge/certpurge/internal/sandbox/demo/audit"
	"github.com/certpurge/certpurge/internal/sandbox/demo/dataset"
	"github.com/certpurge/certpurge/internal/sandbox/lms"
	"github.com/certpurge/certpurge/internal/sandbox/sandboxtest"
)

// How many ordinary retiring users a site has; awkward ones come on top.
const (
	few  = 20
	many = 1650
)

// quick are the settings under which what waits for minutes in production waits for seconds here.
var quick = []string{
	"CERTPURGE_QUEUE_CONCURRENCY=16", "CERTPURGE_QUEUE_MAX_ATTEMPTS=100", "CERTPURGE_QUEUE_RETRY_BASE=1s",
	"CERTPURGE_QUEUE_RETRY_CAP=3s", "CERTPURGE_QUEUE_DRAIN_TIMEOUT=2s",
	"CERTPURGE_RECONCILER_INTERVAL=1s", "CERTPURGE_RECONCILER_GRACE=3s",
	"CERTPURGE_GCS_ATTRIBUTES_MAX_AGE=2s",
}

// ofTheDemo is the demo's own environment.
var ofTheDemo = demo.Variant{
	Servers: sandbox.Options{NoSync: true}, LMS: demo.LMSDatabase, Charset: lms.Mixed,
}

// world is a site with the real programs.
type world struct {
	t    *testing.T
	env  *demo.Environment
	data *dataset.Dataset

	enqueuer, worker string   // paths of the programs
	both             []string // settings of both, beside the files
	// URLs of Redis, with the accounts of the programs.
	enqueuerRedis, workerRedis, readerRedis string

	site     audit.Site
	want     dataset.Expected
	before   *audit.Snapshot
	children []*sandbox.Child
	rest     []int // users who are not submitted yet
}

func newWorld(t *testing.T, variant demo.Variant, users int) *world {
	t.Helper()
	w := &world{t: t, data: dataset.New(1, users)}
	w.enqueuer, w.worker = sandboxtest.Binaries(t)
	must(t, sandbox.Install(t.Context(), t.Output()))
	var err error
	w.env, err = demo.OpenVariant(t.Context(), variant)
	must(t, err)
	t.Cleanup(w.env.Close)
	w.enqueuerRedis, w.workerRedis = w.env.RedisURL, w.env.RedisURL
	w.want, err = w.data.Seed(t.Context(), w.env.Root, w.env.LMS, w.env.Storage, w.env.StorageURL)
	must(t, err)
	return w
}

// migrate makes the ledger's tables, and notes how everything is before the first purge.
func (w *world) migrate() {
	w.t.Helper()
	must(w.t, w.command("migrate", w.env.MigrateDSN, w.env.MigrateArguments()...).Wait(w.t.Context()))
	w.site = audit.Site{
		DB: w.env.Root, LMS: w.env.LMS, Ledger: demo.LedgerDatabase, Server: w.env.Storage, Buckets: dataset.Buckets(),
	}
	var err error
	w.before, err = w.site.Take(w.t.Context())
	must(w.t, err)
}

// command starts the enqueuer.
func (w *world) command(name, dsn string, args ...string) *sandbox.Child {
	w.t.Helper()
	return w.start(name, w.enqueuer, dsn, w.enqueuerRedis, nil,
		append([]string{"--config", w.env.Path(demo.EnqueuerFile)}, args...)...)
}

// backfill starts to submit all users but a tenth.
func (w *world) backfill(args ...string) *sandbox.Child {
	w.t.Helper()
	all := w.data.Enqueued()
	first := len(all) * 9 / 10
	w.rest = all[first:]
	return w.submit("backfill", all[:first], args...)
}

// late starts to submit the rest, so that there is work for certain while a server hands over.
func (w *world) late() *sandbox.Child {
	w.t.Helper()
	rest := w.rest
	w.rest = nil
	return w.submit("late", rest)
}

// submit starts a backfill of some users.
func (w *world) submit(name string, users []int, args ...string) *sandbox.Child {
	w.t.Helper()
	var list bytes.Buffer
	for _, user := range users {
		_, _ = fmt.Fprintln(&list, user)
	}
	must(w.t, w.env.Write(name+".txt", list.Bytes()))
	return w.command(name, w.env.EnqueuerDSN,
		append([]string{"backfill", "--execute", "--users", w.env.Path(name + ".txt")}, args...)...)
}

// work starts a worker, which runs to the end.
func (w *world) work(name string) {
	w.t.Helper()
	w.children = append(w.children,
		w.start(name, w.worker, w.env.WorkerDSN, w.workerRedis, quick, "--config", w.env.Path(demo.WorkerFile)))
}

func (w *world) start(name, binary, dsn, redisURL string, settings []string, args ...string) *sandbox.Child {
	w.t.Helper()
	environ := slices.Concat([]string{"CERTPURGE_REDIS_URL=" + redisURL}, w.both, settings)
	child, err := sandbox.StartChild(w.env.Dir, name, "", w.env.Command(binary, dsn, environ, args...))
	must(w.t, err)
	w.t.Cleanup(func() {
		_ = child.Stop() // finish asks those that matter
		if w.t.Failed() {
			w.t.Logf("%s ends with\n%s", name, child.Output())
		}
	})
	return child
}

// settled counts the requests to which nothing more will happen.
func (w *world) settled() (n int) {
	// While a server fails over, there is no answer.
	err := w.env.Root.QueryRowContext(w.t.Context(), "SELECT COUNT(*) FROM "+demo.LedgerDatabase+".requests"+
		" WHERE state IN ('done', 'refused', 'failed') OR state = 'queued' AND reason = 'retained'").Scan(&n)
	if err != nil {
		return 0
	}
	return n
}

// until waits until so many requests are settled, while all workers run.
func (w *world) until(n int) {
	w.t.Helper()
	sandboxtest.Eventually(w.t, strconv.Itoa(n)+" requests are settled", func() bool {
		for _, child := range w.children {
			select {
			case <-child.Gone():
				w.t.Fatal(child.Ended())
			default:
			}
		}
		return w.settled() >= n
	})
}

// logs waits until a program has logged a line with all of the texts.
func (w *world) logs(child *sandbox.Child, texts ...string) {
	w.t.Helper()
	sandboxtest.Eventually(w.t, fmt.Sprintf("%s logs %q", child.Name, texts), func() bool {
		log, err := os.ReadFile(child.Log)
		must(w.t, err)
		for line := range strings.Lines(string(log)) {
			if !slices.ContainsFunc(texts, func(text string) bool { return !strings.Contains(line, text) }) {
				return true
			}
		}
		return false
	})
}

// all is how many requests there will be.
func (w *world) all() int { return len(w.want.Ends) }

// finish waits for the last request, stops the workers, and has the auditor look for anything that is lost.
func (w *world) finish() {
	w.t.Helper()
	if len(w.rest) > 0 {
		must(w.t, w.late().Wait(w.t.Context()))
	}
	w.until(w.all())
	for _, child := range w.children {
		must(w.t, child.Stop())
	}
	findings, err := w.site.Check(w.t.Context(), w.before, w.want)
	must(w.t, err)
	for _, problem := range findings.Problems {
		w.t.Error(problem)
	}
	if !findings.OK() || w.t.Failed() {
		return
	}
	w.t.Logf("%d requests, 0 lost: %d files erased, %d references cleared", w.all(), findings.ObjectsErased,
		findings.ReferencesCleared)
}

// read runs the command that only reads with the account that may do no more.
func (w *world) read() {
	w.t.Helper()
	w.enqueuerRedis = w.readerRedis
	status := w.command("status", w.env.EnqueuerDSN, "status")
	must(w.t, status.Wait(w.t.Context()))
	w.logs(status, "workers that pull tasks:") // those that a fail-over kept from saying goodbye count for ten seconds
}

// healthy has the programs look for anything that is wrong with the servers.
func (w *world) healthy() {
	w.t.Helper()
	must(w.t, w.start("check", w.worker, w.env.WorkerDSN, w.workerRedis, quick, "--config", w.env.Path(demo.WorkerFile),
		"check").Wait(w.t.Context()))
	must(w.t, w.command("doctor", w.env.EnqueuerDSN, "doctor").Wait(w.t.Context()))
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
