package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/certpurge/certpurge/internal/cli"
	"github.com/certpurge/certpurge/internal/config"
	"github.com/certpurge/certpurge/internal/gcs/gcstest"
	"github.com/certpurge/certpurge/internal/mysql"
	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/queue"
	"github.com/certpurge/certpurge/internal/sandbox/lms"
	"github.com/certpurge/certpurge/internal/sandbox/sandboxtest"
	"github.com/certpurge/certpurge/internal/telemetry"
)

func TestMain(m *testing.M) { os.Exit(sandboxtest.Main(m)) }

// site is a small Open edX site: databases, Redis, a bucket, and the way in.
type site struct {
	t        *testing.T
	db       *sandboxtest.Database
	bucket   *gcstest.Server
	store    *mysql.Store // may do everything
	cfg      config.Worker
	accounts lms.Accounts // the worker runs under exactly its rights
	users    int
	age      atomic.Int64 // seconds: how old the objects are that are stored now

	retention time.Duration // of tasks that are done
}

func newSite(t *testing.T) *site {
	t.Helper()
	return newSiteOn(t, sandboxtest.MySQL(t, lms.Mixed), sandboxtest.Redis(t))
}

func newSiteOn(t *testing.T, db *sandboxtest.Database, redisURL string) *site {
	t.Helper()
	s := &site{t: t, db: db, cfg: config.DefaultWorker()}
	s.bucket = gcstest.New(gcstest.WithClock(func() time.Time {
		return time.Now().Add(-time.Duration(s.age.Load()) * time.Second)
	}))
	s.bucket.CreateBucket("certs", gcstest.BucketConfig{})
	// as docs/security.md says, three rights are enough
	s.bucket.Deny("certs", "storage.objects.get", "storage.objects.create", "storage.objects.getIamPolicy",
		"storage.buckets.getIamPolicy")
	base, stop, err := s.bucket.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	location := config.DefaultLocation()
	location.Name, location.Bucket, location.AllowEmpty = "main", "certs", "true"
	s.cfg.Locations = []config.Location{location}
	s.cfg.MySQL.DSN = config.NewSecret(db.RootDSN(db.Ledger))
	s.cfg.LMS.Database = db.LMS
	s.cfg.Redis.URL = config.NewSecret(redisURL)
	s.cfg.GCS.Endpoint, s.cfg.GCS.Anonymous, s.cfg.GCS.AllowEmulator = base, true, true
	s.cfg.GCS.CallTimeout, s.cfg.GCS.MaxTries = 5*time.Second, 2
	s.cfg.Queue.Concurrency, s.cfg.Queue.RetryBase, s.cfg.Queue.DrainTimeout = 8, 50*time.Millisecond, 3*time.Second
	s.cfg.Admin.Listen = "127.0.0.1:0"
	if s.store, err = cli.OpenStore(s.cfg.MySQL, s.cfg.LMS); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.store.Close() }) // nothing to lose
	if _, err := s.store.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.accounts = db.Grant(t)
	for role, account := range map[mysql.Role]lms.Account{
		mysql.RoleWorker:   s.accounts.Worker,
		mysql.RoleEnqueuer: s.accounts.Enqueuer,
	} {
		if err := s.store.Grant(t.Context(), role, account.String()); err != nil {
			t.Fatal(err)
		}
	}
	s.cfg.MySQL.DSN = config.NewSecret(db.LedgerDSN(s.accounts.Worker))
	return s
}

func (s *site) locations() purge.Locations {
	s.t.Helper()
	l, err := purge.NewLocations(newLocations(s.cfg.Locations), s.cfg.ExternalPrefixes...)
	if err != nil {
		s.t.Fatal(err)
	}
	return l
}

func (s *site) id(n int) string { return fmt.Sprintf("%032x", n) }

// cached is what caches are told of the files.
const cached = "public, max-age=3600"

// addUser adds a retiring user with two certificates and eight files.
func (s *site) addUser() purge.UserID {
	s.t.Helper()
	s.users++
	user := s.db.AddRetiringUser(s.t, fmt.Sprintf("learner%d", s.users), "RETIRING_LMS")
	for n := range 2 {
		download, verify := s.id(user*10+n), s.id(1_000_000+user*10+n)
		s.db.AddCertificate(s.t, sandboxtest.Certificate{
			UserID: user, DownloadUUID: download, VerifyUUID: verify,
			DownloadURL: "https://storage.googleapis.com/certs/downloads/" + download + "/Certificate.pdf",
		})
		for _, name := range []string{
			"downloads/" + download + "/Certificate.pdf", "cert/" + verify + "/Certificate.pdf.sig",
			"cert/" + verify + "/valid.html", "cert/" + verify + "/verify.html",
		} {
			if _, err := s.bucket.Put("certs", name, []byte("personal"),
				gcstest.ObjectOptions{CacheControl: cached}); err != nil {
				s.t.Fatal(err)
			}
		}
	}
	return purge.UserID(user)
}

func (s *site) enqueue(users ...purge.UserID) []purge.RequestID {
	s.t.Helper()
	var all []purge.Submission
	for _, u := range users {
		all = append(all, purge.Submission{User: u})
	}
	return s.accept(all...)
}

// accept submits requests as the enqueuer does.
func (s *site) accept(all ...purge.Submission) []purge.RequestID {
	s.t.Helper()
	rdb, err := queue.NewRedis(s.cfg.Redis)
	if err != nil {
		s.t.Fatal(err)
	}
	defer rdb.Close()
	intake := purge.Intake{Requests: s.store, Tasks: queue.NewClient(rdb, queue.Live,
		config.Tasks{Timeout: time.Minute, Retention: s.retention})}
	for i := range all {
		all[i].Key, all[i].Source = purge.DefaultKey(all[i].User), purge.SourceCLI
	}
	accepted, err := intake.Accept(s.t.Context(), all)
	if err != nil {
		s.t.Fatal(err)
	}
	var ids []purge.RequestID
	for _, a := range accepted {
		ids = append(ids, a.Request)
	}
	return ids
}

// running is a worker under test.
type running struct {
	log    *sandboxtest.Buffer
	stop   func() error // drains and returns run's error
	ended  func() error // waits until the worker ends by itself
	health func() (int, string)
}

func (s *site) start() *running {
	s.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{log: &sandboxtest.Buffer{}}
	done := make(chan error, 1)
	go func() {
		done <- run(ctx, s.cfg, s.locations(), nil, telemetry.NewLogger(r.log, config.Log{Level: "info", Format: "text"}))
	}()
	r.ended = sync.OnceValue(func() error { return <-done })
	r.stop = func() error { cancel(); return r.ended() }
	s.t.Cleanup(func() {
		_ = r.stop() // tests that care have asked
		if s.t.Failed() {
			s.t.Logf("the worker's log:\n%s", r.log.String())
		}
	})
	address := regexp.MustCompile(`address=(\S+)`)
	r.health = func() (int, string) {
		match := address.FindStringSubmatch(r.log.String())
		if match == nil {
			return 0, "not listening yet"
		}
		req, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, "http://"+match[1]+"/readyz", http.NoBody)
		if err != nil {
			return 0, err.Error()
		}
		resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
		if err != nil {
			return 0, err.Error()
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			return 0, err.Error()
		}
		return resp.StatusCode, string(body)
	}
	return r
}

// await waits until the requests have all come to a state.
func (s *site) await(state purge.State, ids ...purge.RequestID) []mysql.Request {
	s.t.Helper()
	var rows []mysql.Request
	sandboxtest.Eventually(s.t, fmt.Sprintf("requests %v are %s", ids, state), func() bool {
		var err error
		if rows, err = s.store.Requests(s.t.Context(), ids); err != nil {
			return false
		}
		return !slices.ContainsFunc(rows, func(r mysql.Request) bool { return r.State != state })
	})
	return rows
}

// checkErased looks for anything of the users that is left.
func (s *site) checkErased(users ...purge.UserID) {
	s.t.Helper()
	for _, u := range users {
		got, err := s.store.User(s.t.Context(), u)
		if err != nil || len(got.References) > 0 {
			s.t.Errorf("user %d: got %v, %v; want no reference", u, got.References, err)
		}
		for n := range 2 {
			for _, o := range slices.Concat(s.bucket.Objects("certs", "downloads/"+s.id(int(u)*10+n)),
				s.bucket.Objects("certs", "cert/"+s.id(1_000_000+int(u)*10+n))) {
				s.t.Errorf("user %d: %s is left", u, o.Name)
			}
		}
	}
}

func TestWorkerPurgesRetiringUsers(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	var users []purge.UserID
	for range 20 {
		users = append(users, s.addUser())
	}
	bystander := purge.UserID(s.db.AddUser(t, "bystander"))
	s.db.AddCertificate(t, sandboxtest.Certificate{UserID: int(bystander), DownloadUUID: s.id(77), VerifyUUID: s.id(78)})
	if _, err := s.bucket.Put("certs", "downloads/"+s.id(77)+"/Certificate.pdf", nil,
		gcstest.ObjectOptions{}); err != nil {
		t.Fatal(err)
	}
	worker := s.start()
	other := s.start() // two workers share the queue
	for _, r := range s.await(purge.Done, s.enqueue(users...)...) {
		if r.ObjectsErased != 8 || r.ReferencesCleared != 2 || r.Certificates != 2 || r.Attempts != 1 || r.Reason != "" ||
			r.FinishedAt == nil {
			t.Errorf("got %+v", r)
		}
	}
	s.checkErased(users...)
	err := s.store.EachEvidence(t.Context(), mysql.EvidenceFilter{User: users[0]}, func(r mysql.EvidenceRecord) error {
		if r.Kind == "object" && r.CacheControl != cached {
			t.Errorf("the evidence does not say how long caches may hold a file: got %+v", r)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	refused := s.await(purge.Refused, s.enqueue(bystander)...)
	if refused[0].Reason != purge.ReasonNotRetiring || len(s.bucket.Objects("certs", "downloads/"+s.id(77))) != 1 {
		t.Errorf("the bystander: got %+v", refused[0])
	}
	if err := errors.Join(worker.stop(), other.stop()); err != nil {
		t.Errorf("stopping: %v", err)
	}
	log := worker.log.String() + other.log.String()
	for _, secret := range []string{"learner", "bystander", "Certificate.pdf", "downloads/", s.id(int(users[0]) * 10)} {
		if strings.Contains(log, secret) {
			t.Errorf("the log holds %q", secret)
		}
	}
	if got := strings.Count(log, "task finished"); got != 21 {
		t.Errorf("got %d summary lines, want one for each of 21 tasks", got)
	}
}

// TestWorkerPausesWhileTheBucketIsWrong renames the bucket while tasks come, and names it back.
func TestWorkerPausesWhileTheBucketIsWrong(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	first, later := s.addUser(), []purge.UserID{}
	for range 10 {
		later = append(later, s.addUser())
	}
	worker := s.start()
	s.await(purge.Done, s.enqueue(first)...)
	if err := s.bucket.RenameBucket("certs", "elsewhere"); err != nil {
		t.Fatal(err)
	}
	ids := s.enqueue(later...)
	sandboxtest.Eventually(t, "the worker is paused and unready", func() bool {
		status, why := worker.health()
		return status == http.StatusServiceUnavailable && strings.Contains(why, `"certs"`) &&
			strings.Contains(worker.log.String(), "worker paused")
	})
	rows, err := s.store.Requests(t.Context(), ids)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rows {
		if r.State.Ended() || r.Failures > 0 {
			t.Errorf("while the bucket is missing: %+v", r)
		}
	}
	if err := s.bucket.RenameBucket("elsewhere", "certs"); err != nil {
		t.Fatal(err)
	}
	s.await(purge.Done, ids...)
	s.checkErased(later...)
	if status, why := worker.health(); status != http.StatusOK {
		t.Errorf("after fixing: got %d, %s", status, why)
	}
}

// TestWorkerPausesWithoutPermission withdraws the right to delete. Users already at work fail visibly; the others wait.
func TestWorkerPausesWithoutPermission(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.cfg.Queue.Concurrency = 1
	users := []purge.UserID{}
	for range 30 {
		users = append(users, s.addUser())
	}
	worker := s.start()
	sandboxtest.Eventually(t, "it is ready", func() bool { status, _ := worker.health(); return status == http.StatusOK })
	s.bucket.Deny("certs", "storage.objects.delete")
	ids := s.enqueue(users...)
	sandboxtest.Eventually(t, "the worker is paused",
		func() bool { return strings.Contains(worker.log.String(), "worker paused") })
	rows, err := s.store.Requests(t.Context(), ids)
	if err != nil {
		t.Fatal(err)
	}
	failed, waiting := 0, 0
	for _, r := range rows {
		switch {
		case r.State == purge.Failed && r.Reason == purge.ReasonNoPermission:
			failed++
		case r.State == purge.Queued || r.State == purge.Running:
			waiting++
		default:
			t.Errorf("got %+v", r)
		}
	}
	if failed == 0 || waiting == 0 {
		t.Errorf("got %d failed and %d waiting, want some of each", failed, waiting)
	}
	s.bucket.Allow("certs", "storage.objects.delete")
	s.enqueue(users...) // the failed ones are wished for anew
	s.await(purge.Done, ids...)
	s.checkErased(users...)
}

// TestWorkerSlowsDownWhenAskedTo has the bucket refuse the first deletes for their rate.
func TestWorkerSlowsDownWhenAskedTo(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.cfg.GCS.DeleteRate = config.Rate{Start: 800, Ceiling: 800}
	users := []purge.UserID{s.addUser(), s.addUser()}
	s.bucket.SetFaults(1, gcstest.Fault{
		Op: gcstest.OpDelete, Status: http.StatusTooManyRequests, RetryAfter: time.Second,
		Count: 3,
	})
	worker := s.start()
	for _, r := range s.await(purge.Done, s.enqueue(users...)...) {
		if r.Failures != 0 || r.ObjectsErased != 8 {
			t.Errorf("got %+v, want no failure counted", r)
		}
	}
	s.checkErased(users...)
	if log := worker.log.String(); !strings.Contains(log, "rate halved") ||
		!strings.Contains(log, "bucket=certs requests=deletes per_second=400") {
		t.Error("the log does not say that the rate of 800 was halved")
	}
}

func TestWorkerRefusesToStartMisconfigured(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		change func(*site)
		want   string
	}{
		"wrong bucket": {func(s *site) { s.cfg.Locations[0].Bucket = "typo" }, `"typo"`},
		"soft delete": {func(s *site) {
			_ = s.bucket.UpdateBucket("certs", func(b *gcstest.BucketConfig) { b.SoftDelete = 168 * time.Hour })
		}, "gcs.accept_soft_delete"},
		"no permission": {func(s *site) { s.bucket.Deny("certs", "storage.objects.list") }, "storage.objects.list"},
		"an older ledger": {func(s *site) {
			s.db.Exec(s.t, "DROP TABLE "+s.db.Ledger+".owner_walks, "+s.db.Ledger+".directory_owners")
			s.db.Exec(s.t, "DELETE FROM "+s.db.Ledger+".goose_db_version WHERE version_id >= 5")
		}, "has version 4"},
		"no ledger": {
			func(s *site) { s.db.Exec(s.t, "DROP TABLE "+s.db.Ledger+".goose_db_version") },
			"enqueuer migrate",
		},
		// MariaDB names the database, MySQL the table only
		"no LMS database": {func(s *site) { s.cfg.LMS.Database = "typo" }, "lms.database"},
		"nothing there": {func(s *site) {
			s.cfg.Locations[0].AllowEmpty, s.cfg.Locations[0].ObjectPrefix = "false",
				"prod/"
		}, `"prod/downloads/"`},
		"no verification": {
			func(s *site) { s.cfg.Locations[0].AllowEmpty, s.cfg.Locations[0].VerifyDir = "false", "certs" },
			`"certs/"`,
		},
		"bad Redis URL": {func(s *site) { s.cfg.Redis.URL = config.NewSecret("http://x") }, "redis.url"},
		"bad DSN":       {func(s *site) { s.cfg.MySQL.DSN = config.NewSecret("x") }, "mysql.dsn"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			tc.change(s)
			user := s.addUser()
			err := run(t.Context(), s.cfg, s.locations(), nil, slog.New(slog.DiscardHandler))
			if err == nil || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("got %v, want one sentence that names %s", err, tc.want)
			}
			if code := cli.ExitCode(err); code != cli.ExitConfiguration {
				t.Errorf("got exit code %d, want %d", code, cli.ExitConfiguration)
			}
			if got, err := s.store.User(t.Context(), user); err != nil && name != "no LMS database" || len(got.References) != 2 {
				t.Errorf("references: got %v, %v", got.References, err)
			}
		})
	}
	t.Run("emulator variable left over", func(t *testing.T) {
		t.Parallel()
		s := newSite(t)
		s.cfg.GCS.AllowEmulator = false
		err := run(t.Context(), s.cfg, s.locations(), []string{"STORAGE_EMULATOR_HOST=127.0.0.1:9"},
			slog.New(slog.DiscardHandler))
		if cli.ExitCode(err) != cli.ExitConfiguration || !strings.Contains(err.Error(), "STORAGE_EMULATOR_HOST") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("address taken", func(t *testing.T) {
		t.Parallel()
		s := newSite(t)
		taken, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer taken.Close()
		s.cfg.Admin.Listen = taken.Addr().String()
		if err := run(t.Context(), s.cfg, s.locations(), nil, slog.New(slog.DiscardHandler)); err == nil ||
			!strings.Contains(err.Error(), "admin.listen") {
			t.Errorf("got %v, want an error that names admin.listen", err)
		}
	})
}

// TestWorkerWaitsForItsServers starts with all down, and loses MySQL and Redis in the middle.
func TestWorkerWaitsForItsServers(t *testing.T) {
	t.Parallel()
	servers := sandboxtest.OwnServers(t)
	s := newSiteOn(t, sandboxtest.On(t, servers.MySQL, lms.UTF8MB4), servers.Redis.URL(0))
	first, second, third := s.addUser(), s.addUser(), s.addUser()
	ids := s.enqueue(first)
	servers.MySQL.Stop()
	worker := s.start()
	sandboxtest.Eventually(t, "it says that MySQL is away", func() bool {
		status, why := worker.health()
		return status == http.StatusServiceUnavailable && strings.Contains(why, "mysql") &&
			strings.Contains(worker.log.String(), "worker paused")
	})
	must(t, servers.MySQL.Start(t.Context()))
	s.await(purge.Done, ids...)
	s.await(purge.Done, s.enqueue(second)...)
	paused := strings.Count(worker.log.String(), "worker paused")
	ids = s.enqueue(s.addUser(), s.addUser())
	servers.MySQL.Stop() // now in the middle
	sandboxtest.Eventually(t, "it pauses again", func() bool {
		return strings.Count(worker.log.String(),
			"worker paused") > paused
	})
	if tries := strings.Count(worker.log.String(), "task will be tried again"); tries > 100 {
		t.Errorf("got %d tries while MySQL was away, want it to stop pulling", tries)
	}
	must(t, servers.MySQL.Start(t.Context()))
	for _, r := range s.await(purge.Done, ids...) {
		if r.Failures > 0 {
			t.Errorf("an outage was counted: %+v", r)
		}
	}
	must(t, servers.Redis.Restart(t.Context())) // empty now
	s.await(purge.Done, s.enqueue(third)...)
	must(t, servers.MySQL.Restart(t.Context()))
	fourth := s.addUser()
	s.await(purge.Done, s.enqueue(fourth)...)
	s.checkErased(first, second, third, fourth)
	if err := worker.stop(); err != nil {
		t.Errorf("stopping: %v", err)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestAFlushedRedisCostsNobody loses all tasks in the middle, one after the other request is at work.
func TestAFlushedRedisCostsNobody(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.cfg.Queue.Concurrency = 2
	s.cfg.Reconciler.Interval, s.cfg.Reconciler.Grace = 200*time.Millisecond, time.Second
	var users []purge.UserID
	for range 40 {
		users = append(users, s.addUser())
	}
	s.bucket.SetFaults(1, gcstest.Fault{Op: gcstest.OpDelete, Latency: 20 * time.Millisecond})
	s.start()
	other := s.start() // one of the two leads
	sandboxtest.Eventually(t, "both pull tasks", func() bool {
		status,
			_ := other.health()
		return status == http.StatusOK
	})
	ids := s.enqueue(users...)
	sandboxtest.Eventually(t, "some are done", func() bool {
		return strings.Contains(other.log.String(),
			"task finished")
	})
	rdb, err := queue.NewRedis(s.cfg.Redis)
	if err != nil {
		t.Fatal(err)
	}
	defer rdb.Close()
	must(t, rdb.FlushDB(t.Context()).Err())
	for _, r := range s.await(purge.Done, ids...) {
		if r.ObjectsErased != 8 || r.ReferencesCleared != 2 {
			t.Errorf("got %+v", r)
		}
	}
	s.checkErased(users...)
}

// TestWorkerDrains stops a worker in the middle of users and finishes them with another; nothing is counted as failed.
func TestWorkerDrains(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	var users []purge.UserID
	for range 12 {
		users = append(users, s.addUser())
	}
	s.bucket.SetFaults(1, gcstest.Fault{Op: gcstest.OpDelete, Latency: 200 * time.Millisecond})
	worker := s.start()
	ids := s.enqueue(users...)
	sandboxtest.Eventually(t, "deletes are under way", func() bool { return s.bucket.Stats().Deletes > 0 })
	begun := time.Now()
	if err := worker.stop(); err != nil {
		t.Errorf("stopping: %v", err)
	}
	if took := time.Since(begun); took > s.cfg.Queue.DrainTimeout+5*time.Second {
		t.Errorf("draining took %v", took)
	}
	s.bucket.SetFaults(0)
	s.start()
	for _, r := range s.await(purge.Done, ids...) {
		if r.Failures > 0 || r.ObjectsErased != 8 {
			t.Errorf("got %+v, want no failure counted and all objects in evidence", r)
		}
	}
	s.checkErased(users...)
}

func TestShippedConfigurationLoads(t *testing.T) {
	t.Parallel()
	var out, errOut bytes.Buffer
	root := newCommand(cli.Streams{Out: &out, Err: &errOut, Environ: []string{"CERTPURGE_MYSQL_DSN=u:p@tcp(h)/certpurge"}})
	if code := cli.Run(t.Context(), root, []string{"--config", "../configs/worker.yaml", "config", "validate"},
		&errOut); code != cli.ExitOK {
		t.Errorf("got exit code %d: %s", code, errOut.String())
	}
}

func TestTwoLocationsWithOneURLAreRefused(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "worker.yaml")
	text := "locations:\n- {name: one, bucket: first-bucket, url_prefixes: [\"https://x.example/\"]}\n- {name: two, " +
		"bucket: other-bucket, url_prefixes: [\"//x.example/\"]}\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var errOut bytes.Buffer
	root := newCommand(cli.Streams{
		Out: io.Discard, Err: &errOut,
		Environ: []string{"CERTPURGE_MYSQL_DSN=u:p@tcp(h)/certpurge"},
	})
	if code := cli.Run(t.Context(), root, []string{"--config", file, "config", "validate"},
		&errOut); code != cli.ExitConfiguration || !strings.Contains(errOut.String(), "location two") {
		t.Errorf("got exit code %d: %s", code, errOut.String())
	}
}

// TestSandboxIsNotLinkedIntoProduction keeps what only the demo and the tests need out of both binaries, and the
// storage client out of the enqueuer.
func TestSandboxIsNotLinkedIntoProduction(t *testing.T) {
	t.Parallel()
	testing := []string{"internal/sandbox", "gcstest", "purgetest", "certpurge/configs\n", "\ntesting\n"}
	for binary, banned := range map[string][]string{
		"worker":   testing,
		"enqueuer": append([]string{"cloud.google.com/go/storage", "certpurge/internal/gcs\n"}, testing...),
	} {
		args := []string{"list", "-deps", "-tags", "disable_grpc_modules", "../" + binary}
		out, err := exec.CommandContext(t.Context(), "go", args...).Output() //nolint:gosec // constants
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range banned {
			if strings.Contains(string(out), b) {
				t.Errorf("%s links %s", binary, b)
			}
		}
	}
}
