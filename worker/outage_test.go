package main

import (
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/certpurge/certpurge/internal/config"
	"github.com/certpurge/certpurge/internal/gcs/gcstest"
	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/queue"
	"github.com/certpurge/certpurge/internal/queue/inspect"
	"github.com/certpurge/certpurge/internal/sandbox/lms"
	"github.com/certpurge/certpurge/internal/sandbox/sandboxtest"
)

// stoppable serves a bucket at one address, again and again.
type stoppable struct {
	t       *testing.T
	bucket  *gcstest.Server
	address string
	server  *http.Server
}

func (s *stoppable) start() {
	s.t.Helper()
	if s.address == "" {
		s.address = "127.0.0.1:0"
	}
	var listener net.Listener
	sandboxtest.Eventually(s.t, "the address of the bucket is free", func() (ok bool) {
		var err error
		listener, err = new(net.ListenConfig).Listen(s.t.Context(), "tcp", s.address)
		return err == nil
	})
	s.address = listener.Addr().String()
	s.server = &http.Server{Handler: s.bucket, ReadHeaderTimeout: time.Minute}
	server := s.server
	go func() { _ = server.Serve(listener) }() // ends with Close
}

func (s *stoppable) stop() { _ = s.server.Close() } // its connections are cut

// TestEachOutageIsSaidEverywhere takes MySQL, Redis and Cloud Storage away one by one, and lets MySQL and Redis answer
// and refuse to work. Readiness, overview, metrics and log must each say which it is, others must hear it from Redis,
// and users who come meanwhile must be purged afterwards without a counted failure.
func TestEachOutageIsSaidEverywhere(t *testing.T) {
	t.Parallel()
	servers := sandboxtest.OwnServers(t)
	db := sandboxtest.On(t, servers.MySQL, lms.UTF8MB4)
	s := newSiteOn(t, db, servers.Redis.URL(0))
	user, password := db.AddAccount(t) // root may write to a read-only server
	for _, schema := range []string{db.LMS, db.Ledger} {
		db.Exec(t, "GRANT ALL ON "+schema+".* TO '"+user+"'@'%'")
	}
	s.cfg.MySQL.DSN = config.NewSecret(db.DSN(user, password, db.Ledger))
	rdb, err := queue.NewRedis(config.Redis{URL: config.NewSecret(servers.Redis.URL(0))})
	must(t, err)
	t.Cleanup(func() { _ = rdb.Close() })
	redis := func(args ...any) func() { return func() { must(t, rdb.Do(t.Context(), args...).Err()) } }
	bucket := &stoppable{t: t, bucket: s.bucket}
	bucket.start()
	t.Cleanup(func() { bucket.stop() })
	s.cfg.GCS.Endpoint = "http://" + bucket.address
	s.cfg.GCS.AttributesMaxAge = time.Second // how often the worker looks without a reason
	s.cfg.Reconciler.Interval, s.cfg.Reconciler.Grace = 200*time.Millisecond, time.Second
	worker := s.start()
	base := worker.base(t)
	page := func(path string) string {
		_, body := visit(t, http.MethodGet, base+path, "")
		return body
	}
	well := func() {
		t.Helper()
		sandboxtest.Eventually(t, "all is well", func() bool {
			metrics := page("/metrics")
			return page("/readyz") == "ok\n" && strings.Contains(page("/"), "No request is open.") &&
				strings.Contains(metrics, "certpurge_ready 1\n") &&
				strings.Contains(metrics, "certpurge_ledger_up 1\n") && strings.Contains(metrics, "certpurge_queue_up 1\n")
		})
	}
	s.await(purge.Done, s.enqueue(s.addUser())...)
	for _, tc := range []struct {
		name        string
		stop, start func()
		ready       string // on /readyz
		overview    string
		metrics     []string
		log         string
		open        bool   // whether requests can be made meanwhile
		told        string // by the worker, in Redis; empty if Redis takes nothing
	}{
		{
			"MySQL", servers.MySQL.Stop, func() { must(t, servers.MySQL.Start(t.Context())) },
			"mysql: ", "The ledger in MySQL cannot be read",
			[]string{"certpurge_ready 0\n", "certpurge_ledger_up 0\n", "certpurge_queue_up 1\n"},
			`msg="worker paused" error="`, false, "MySQL cannot be reached",
		},
		{
			"Redis", servers.Redis.Stop, func() { must(t, servers.Redis.Start(t.Context())) },
			"redis: connecting to Redis", "The queues in Redis cannot be read",
			[]string{"certpurge_ready 0\n", "certpurge_ledger_up 1\n", "certpurge_queue_up 0\n"},
			`msg="worker paused" error="connecting to Redis`, false, "",
		},
		{
			"Cloud Storage", bucket.stop, bucket.start,
			`paused: reading the settings of bucket "certs": the connection failed`,
			`This process is not ready: paused: reading the settings of bucket`,
			[]string{"certpurge_ready 0\n", "certpurge_ledger_up 1\n", "certpurge_queue_up 1\n"},
			`msg="worker paused" error="reading the settings of bucket`, true, "reading the settings of bucket",
		},
		{
			"a read-only server", func() { db.Exec(t, "SET GLOBAL read_only = 1") },
			func() { db.Exec(t, "SET GLOBAL read_only = 0") },
			"mysql: MySQL is read-only", "This process is not ready: mysql: MySQL is read-only",
			[]string{"certpurge_ready 0\n", "certpurge_ledger_up 1\n", "certpurge_queue_up 1\n"},
			`msg="worker paused" error="MySQL is read-only`, false, "MySQL is read-only",
		},
		{
			"a full queue", redis("CONFIG", "SET", "maxmemory", "1"), redis("CONFIG", "SET", "maxmemory", "0"),
			"redis: Redis is full", "This process is not ready: redis: Redis is full",
			[]string{"certpurge_ready 0\n", "certpurge_ledger_up 1\n", "certpurge_queue_up 1\n"},
			`msg="worker paused" error="Redis is full`, false, "",
		},
		{
			"a replica", redis("REPLICAOF", "127.0.0.1", "1"), redis("REPLICAOF", "NO", "ONE"),
			"redis: Redis is a replica", "This process is not ready: redis: Redis is a replica",
			[]string{"certpurge_ready 0\n", "certpurge_ledger_up 1\n", "certpurge_queue_up 1\n"},
			`msg="worker paused" error="Redis is a replica`, false, "",
		},
	} {
		well()
		before := len(worker.log.String())
		tc.stop()
		var ready, overview, metrics string
		missing := func() (all []string) {
			ready, overview, metrics = page("/readyz"), strings.ReplaceAll(page("/"), "&#34;", `"`), page("/metrics")
			for text, wants := range map[string][]string{
				ready: {tc.ready}, overview: {tc.overview}, metrics: tc.metrics,
				worker.log.String()[before:]: {tc.log},
			} {
				for _, want := range wants {
					if !strings.Contains(text, want) {
						all = append(all, want)
					}
				}
			}
			return all
		}
		sandboxtest.Eventually(t, tc.name+" is told in Redis", func() bool {
			if tc.told == "" {
				return true
			}
			why, err := inspect.Standstill(t.Context(), rdb, queue.Live)
			return err == nil && strings.Contains(why, "is paused since") && strings.Contains(why, tc.told)
		})
		var left []string
		sandboxtest.Eventually(t, tc.name+" is missed everywhere", func() bool {
			left = missing()
			if len(left) > 0 {
				t.Logf("%s: missing %q; readiness says %q", tc.name, left, ready)
			}
			return len(left) == 0
		})
		if strings.Contains(metrics, "certpurge_ledger_requests{") != (tc.name != "MySQL") ||
			strings.Contains(metrics, "certpurge_queue_tasks{") != (tc.name != "Redis") {
			t.Errorf("%s: the figures of what is away are shown, or others are not:\n%s", tc.name, metrics)
		}
		var ids []purge.RequestID
		user := purge.UserID(0)
		if tc.open {
			user = s.addUser()
			ids = s.enqueue(user)
		}
		tc.start()
		if !tc.open {
			user = s.addUser()
			ids = s.enqueue(user)
		}
		for _, r := range s.await(purge.Done, ids...) {
			if r.Failures > 0 {
				t.Errorf("%s: the outage was counted: %+v", tc.name, r)
			}
		}
		s.checkErased(user)
		well()
	}
}

// TestAnIdleWorkerPausesSoon lets each of those who ask servers something find the trouble, while nothing else would
// for minutes.
func TestAnIdleWorkerPausesSoon(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		spoil func(s *site, account string)
		probe bool
		says  string
	}{
		"a probe": {func(s *site, account string) {
			s.db.Exec(s.t, "REVOKE UPDATE ON "+s.db.LMS+".certificates_generatedcertificate FROM "+account)
		}, true, "certificates_generatedcertificate"},
		"the reconciler": {func(s *site, _ string) {
			s.db.Exec(s.t, "RENAME TABLE "+s.db.Ledger+".requests TO "+s.db.Ledger+".others")
		}, false, "requests"},
		"its own state in Redis": {func(s *site, _ string) {
			rdb, err := queue.NewRedis(s.cfg.Redis)
			must(s.t, err)
			defer rdb.Close()
			must(s.t, rdb.ConfigSet(s.t.Context(), "maxmemory", "1").Err())
		}, false, "Redis is full"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			servers := sandboxtest.OwnServers(t)
			s := newSiteOn(t, sandboxtest.On(t, servers.MySQL, lms.UTF8MB4), servers.Redis.URL(0))
			user, password := s.db.AddAccount(t)
			account := "'" + user + "'@'%'"
			s.db.Exec(t, "GRANT ALL ON "+s.db.Ledger+".* TO "+account)
			s.db.Exec(t, "GRANT SELECT ON "+s.db.LMS+".* TO "+account)
			for _, table := range []string{lms.Certificates, lms.History} {
				s.db.Exec(t, "GRANT UPDATE ON "+s.db.LMS+"."+table+" TO "+account)
			}
			s.cfg.MySQL.DSN = config.NewSecret(s.db.DSN(user, password, s.db.Ledger))
			s.cfg.GCS.AttributesMaxAge, s.cfg.Reconciler.Interval = 10*time.Minute, 10*time.Minute
			if name == "the reconciler" {
				s.cfg.Reconciler.Interval = 100 * time.Millisecond
			}
			worker := s.start()
			base := worker.base(t)
			sandboxtest.Eventually(t, "it is ready", func() bool { code, _ := worker.health(); return code == http.StatusOK })
			tc.spoil(s, account)
			sandboxtest.Eventually(t, "the worker pauses", func() bool {
				if tc.probe {
					visit(t, http.MethodGet, base+"/readyz", "")
				}
				_, line, paused := strings.Cut(worker.log.String(), `msg="worker paused"`)
				return paused && strings.Contains(line, tc.says)
			})
		})
	}
}

// TestIdleWorkerNoticesChangedSettings switches soft delete on, and off again, while no purge is requested.
func TestIdleWorkerNoticesChangedSettings(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.cfg.GCS.AttributesMaxAge = time.Second
	worker := s.start()
	base := worker.base(t)
	says := func(what, ready, metric string) {
		t.Helper()
		sandboxtest.Eventually(t, what, func() bool {
			_, probe := visit(t, http.MethodGet, base+"/readyz", "")
			_, metrics := visit(t, http.MethodGet, base+"/metrics", "")
			return strings.Contains(probe, ready) && strings.Contains(metrics, metric+"\n")
		})
	}
	set := func(change func(*gcstest.BucketConfig)) {
		t.Helper()
		must(t, s.bucket.UpdateBucket("certs", change))
	}
	says("it is ready", "ok", `certpurge_bucket_soft_delete_seconds{bucket="certs"} 0`)
	set(func(b *gcstest.BucketConfig) { b.SoftDelete = 168 * time.Hour })
	says("soft delete is noticed", "gcs.accept_soft_delete", `certpurge_bucket_soft_delete_seconds{bucket="certs"} 604800`)
	set(func(b *gcstest.BucketConfig) { b.SoftDelete = 0 })
	says("its end is noticed", "ok", `certpurge_bucket_soft_delete_seconds{bucket="certs"} 0`)
	set(func(b *gcstest.BucketConfig) { b.Versioning = true })
	says("versioning is noticed", "ok", `certpurge_bucket_versioning{bucket="certs"} 1`)
	sandboxtest.Eventually(t, "the log warns of the change", func() bool {
		return strings.Contains(worker.log.String(),
			`level=WARN msg="the settings of a bucket have changed" bucket=certs versioning=true`)
	})
	if strings.Count(worker.log.String(), "msg=bucket ") != 1 {
		t.Error("the log repeats what it has said")
	}
}

// TestSilentCloudStoragePausesTheWorker has tasks at hand when no answer comes any more: those that meet it count a
// failure, and the others wait.
func TestSilentCloudStoragePausesTheWorker(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	bucket := &stoppable{t: t, bucket: s.bucket}
	bucket.start()
	t.Cleanup(func() { bucket.stop() })
	s.cfg.GCS.Endpoint = "http://" + bucket.address
	s.cfg.Queue.Concurrency = 2
	worker := s.start()
	var users []purge.UserID
	for range 40 {
		users = append(users, s.addUser())
	}
	s.await(purge.Done, s.enqueue(users[0])...)
	bucket.stop()
	ids := s.enqueue(users...)
	sandboxtest.Eventually(t, "the worker pauses",
		func() bool { return strings.Contains(worker.log.String(), "worker paused") })
	bucket.start()
	failures := 0
	for _, r := range s.await(purge.Done, ids...) {
		failures += r.Failures
	}
	if failures > len(users)/2 {
		t.Errorf("got %d failures counted for %d users, want a few", failures, len(users))
	}
	t.Logf("%d failures", failures)
	s.checkErased(users...)
}
