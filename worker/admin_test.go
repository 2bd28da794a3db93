package main

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/certpurge/certpurge/internal/cli"
	"github.com/certpurge/certpurge/internal/config"
	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/queue"
	"github.com/certpurge/certpurge/internal/sandbox/lms"
	"github.com/certpurge/certpurge/internal/sandbox/sandboxtest"
)

// base is where the worker's pages are.
func (r *running) base(t *testing.T) string {
	t.Helper()
	address := regexp.MustCompile(`key=admin\.listen address=(\S+)`)
	var match []string
	sandboxtest.Eventually(t, "the worker listens", func() bool {
		match = address.FindStringSubmatch(r.log.String())
		return match != nil
	})
	return "http://" + match[1]
}

// visit asks one of the worker's pages; user "" sends no login, and a user's password is their name.
func visit(t *testing.T, method, url, user string) (status int, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	if user != "" {
		req.SetBasicAuth(user, user)
	}
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

// withLogins gives the site two users, whose passwords are their names.
func (s *site) withLogins() {
	s.cfg.Admin.Users = config.NewSecret("viewer:view:$2a$10$v86lFexHRiCo3oe53uuzmeIWLqlwPQ6FAeLSjhP3uCqMT.JZbzmii " +
		"operator:operate:$2a$10$sCOb7X4ry9FmieXXvL2Xn.isQ6OinKyl.ATeMA/UizVEfbKwyLGIO")
}

func TestWorkersPagesAreBehindALogin(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.withLogins()
	s.cfg.Admin.BasePath, s.cfg.Admin.Title = "/ops", "example.org test"
	base := s.start().base(t)
	user := s.addUser()
	s.await(purge.Done, s.enqueue(user)...)
	for _, tc := range []struct {
		method, path, user string
		status             int
		body               string
	}{
		{http.MethodGet, "/livez", "", 200, "ok"},
		{http.MethodGet, "/", "", 401, "Log in"},
		{http.MethodGet, "/", "viewer", 200, "Versioning off"},
		{http.MethodGet, fmt.Sprintf("/users/%d/certificate", user), "viewer", 200, "<dd>example.org test</dd>"},
		{http.MethodGet, "/metrics", "", 401, "Log in"},
		{http.MethodGet, "/metrics", "viewer", 200, "go_goroutines"},
		{http.MethodGet, "/monitoring/", "", 401, "Log in"},
		{http.MethodGet, "/ops/monitoring/", "viewer", 200, `href="/ops/monitoring/favicon.ico"`},
		{http.MethodGet, "/monitoring/api/queues", "viewer", 200, `"queue":"purge"`},
		{http.MethodPost, "/monitoring/api/queues/purge:pause", "viewer", 403, "not change"},
		{http.MethodPost, "/ops/monitoring/api/queues/purge:pause", "operator", 204, ""},
		{http.MethodPost, "/monitoring/api/queues/purge:resume", "operator", 204, ""},
		{http.MethodPost, "/monitoring/api/queues/purge/pending_tasks:archive_all", "operator", 409, "not archived"},
		{http.MethodDelete, "/monitoring/api/queues/purge/pending_tasks:delete_all", "viewer", 403, "not change"},
		{http.MethodGet, "/debug/pprof/cmdline", "viewer", 403, ""},
		{http.MethodGet, "/debug/pprof/cmdline", "operator", 200, "worker.test"},
	} {
		if status, body := visit(t, tc.method, base+tc.path, tc.user); status != tc.status ||
			!strings.Contains(body, tc.body) {
			t.Errorf("%s %s as %q: got %d %.200s, want %d %s", tc.method, tc.path, tc.user, status, body, tc.status, tc.body)
		}
	}
}

func TestWorkerRefusesUsersThatItCannotRead(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.cfg.Admin.Users = config.NewSecret("viewer:view:hunter2")
	err := run(t.Context(), s.cfg, s.locations(), nil, slog.New(slog.DiscardHandler))
	if cli.ExitCode(err) != cli.ExitConfiguration || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("got %v", err)
	}
}

// TestOverviewSaysWhatIsAway takes the servers away one by one; the page must be there, and say what is wrong.
func TestOverviewSaysWhatIsAway(t *testing.T) {
	t.Parallel()
	servers := sandboxtest.OwnServers(t)
	s := newSiteOn(t, sandboxtest.On(t, servers.MySQL, lms.UTF8MB4), servers.Redis.URL(0))
	base := s.start().base(t)
	s.await(purge.Done, s.enqueue(s.addUser())...)
	says := func(what, want, no string) {
		t.Helper()
		sandboxtest.Eventually(t, what, func() bool {
			status, body := visit(t, http.MethodGet, base+"/", "")
			return status == http.StatusOK && strings.Contains(body, want) && !strings.Contains(body, no)
		})
	}
	says("all is well", "No request is open.", "Problem")
	servers.Redis.Stop()
	says("Redis is away", "The queues in Redis cannot be read", "No request is open.")
	must(t, servers.Redis.Start(t.Context()))
	says("Redis is back", "No request is open.", "Problem")
	servers.MySQL.Stop()
	says("MySQL is away", "The ledger in MySQL cannot be read", "No request is open.")
	must(t, servers.MySQL.Start(t.Context()))
	says("MySQL is back", "No request is open.", "Problem")
}

// TestWorkersMetrics purges one user and checks what was counted on the way.
func TestWorkersMetrics(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.cfg.Reconciler.Interval = 50 * time.Millisecond
	worker := s.start()
	base := worker.base(t)
	sandboxtest.Eventually(t, "it is ready", func() bool { status, _ := worker.health(); return status == http.StatusOK })
	s.await(purge.Done, s.enqueue(s.addUser())...) // after the start, which looks for a sample of the links
	want := []string{
		`certpurge_attempts_total{reason="none",state="done"} 1`, "certpurge_attempt_duration_seconds_count 1",
		`certpurge_objects_total{outcome="erased"} 8`, "certpurge_references_cleared_total 2",
		`certpurge_gcs_requests_total{code="204",kind="delete"} 8`,
		`certpurge_gcs_request_duration_seconds_count{kind="list"} 8`,
		`certpurge_ledger_up 1`, `certpurge_ledger_requests{reason="none",state="done"} 1`, `certpurge_queue_up 1`,
		"certpurge_queue_workers 1",
		`certpurge_queue_tasks{queue="purge",state="pending"} 0`, `certpurge_gcs_calls_in_flight_limit{bucket="certs"} 64`,
		"certpurge_build_info{",
		"certpurge_ready 1", "certpurge_queue_noeviction 1", "certpurge_queue_statistics_up 1",
		`certpurge_bucket_soft_delete_seconds{bucket="certs"} 0`,
	}
	for _, step := range purge.Steps() {
		want = append(want, fmt.Sprintf(`certpurge_step_duration_seconds_count{step=%q} 1`, step))
	}
	var missing []string
	sandboxtest.Eventually(t, "all is counted", func() bool { // the ledger is read every few seconds
		missing = nil
		_, text := visit(t, http.MethodGet, base+"/metrics", "")
		for _, line := range want {
			if !strings.Contains(text, line) {
				missing = append(missing, line)
			}
		}
		if len(missing) > 0 {
			t.Logf("missing: %q", missing)
		}
		return len(missing) == 0 && !strings.Contains(text, `certpurge_reconciler_rounds_total{result="led"} 0`)
	})
}

// TestABrokenTaskIsSaidOnThePages takes away the hash of one task of a paused queue. asynq's statistics die of it; the
// pages stay, and say what is wrong and what fixes it.
func TestABrokenTaskIsSaidOnThePages(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.withLogins()
	s.cfg.Reconciler.Interval = time.Hour // it would fix it
	base := s.start().base(t)
	if status, body := visit(t, http.MethodPost, base+"/monitoring/api/queues/purge:pause",
		"operator"); status != http.StatusNoContent {
		t.Fatalf("pausing: got %d %s", status, body)
	}
	broken := s.addUser()
	s.enqueue(broken, s.addUser())
	rdb, err := queue.NewRedis(s.cfg.Redis)
	must(t, err)
	t.Cleanup(func() { _ = rdb.Close() })
	must(t, rdb.Del(t.Context(), fmt.Sprintf("asynq:{purge}:t:purge:%d", broken)).Err())
	sandboxtest.Eventually(t, "the pages say it", func() bool {
		_, overview := visit(t, http.MethodGet, base+"/", "viewer")
		_, metrics := visit(t, http.MethodGet, base+"/metrics", "viewer")
		_, queues := visit(t, http.MethodGet, base+"/monitoring/api/queues", "viewer")
		return strings.Contains(overview, "asynq&#39;s own statistics fail") &&
			strings.Contains(overview, "A list of the queue names a task that is gone.") &&
			strings.Contains(overview, fmt.Sprintf("queue purge, user %d", broken)) &&
			strings.Contains(overview, "Queue purge is paused: 2 tasks wait") &&
			strings.Contains(metrics, "certpurge_queue_statistics_up 0\n") &&
			strings.Contains(metrics, `certpurge_queue_tasks{queue="purge",state="pending"} 2`) &&
			strings.Contains(queues, `"queue":"purge"`)
	})
	if status, page := visit(t, http.MethodGet, base+"/monitoring/", "viewer"); status != http.StatusOK ||
		!strings.Contains(page, "<div id=\"root\">") {
		t.Errorf("the dashboard: got %d %.200s", status, page)
	}
}
