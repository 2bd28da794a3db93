package main

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/certpurge/certpurge/internal/cli"
	"github.com/certpurge/certpurge/internal/config"
	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/purge/purgetest"
	"github.com/certpurge/certpurge/internal/sandbox/lms"
	"github.com/certpurge/certpurge/internal/sandbox/sandboxtest"
	"github.com/certpurge/certpurge/internal/telemetry"
	"github.com/certpurge/certpurge/internal/watch"
)

// addDue adds retiring users with a reference each.
func (c *shell) addDue(n int) (users []int) {
	c.t.Helper()
	for i := range n {
		user := c.db.AddRetiringUser(c.t, fmt.Sprintf("due%d_%d", i, n), "COMPLETE")
		c.db.AddCertificate(c.t, sandboxtest.Certificate{
			UserID: user, DownloadUUID: purgetest.DownloadID,
			VerifyUUID: purgetest.VerifyID,
		})
		users = append(users, user)
	}
	return users
}

// addMany adds users as addDue does, thousands at a time.
func (c *shell) addMany(n int) {
	c.t.Helper()
	rows := " FROM " + sandboxtest.Numbers(n)
	c.db.Exec(c.t, "INSERT INTO "+c.db.LMS+"."+lms.Users+" (id, password, is_superuser, username, first_name, "+
		"last_name, email, is_staff, is_active, date_joined)"+
		" SELECT seq, '!', 0, CONCAT('u', seq), '', '', CONCAT('u', seq, '@example.com'), 0, 1, '2015-01-01'"+rows)
	c.db.Exec(c.t, "INSERT INTO "+c.db.LMS+"."+lms.RetirementRequest+
		" (created, modified, user_id) SELECT '2015-01-01', '2015-01-01', seq"+rows)
	c.db.Exec(c.t, "INSERT INTO "+c.db.LMS+"."+lms.Certificates+
		" (course_id, verify_uuid, download_uuid, download_url, grade, `key`, distinction, status, mode, name,"+
		" created_date, modified_date, error_reason, user_id) SELECT 'c', '', LEFT(SHA2(seq, 256), 32), '', '', '', 0, '', "+
		"'', '', '2015-01-01', '2015-01-01', '', seq"+rows)
}

// perUser counts requests, and fails if a user has more than one.
func (c *shell) perUser() (requests int) {
	c.t.Helper()
	seen := map[purge.UserID]bool{}
	for _, row := range c.db.DumpTable(c.t, c.db.Ledger+".requests") {
		id, err := strconv.Atoi(row["user_id"])
		if err != nil || seen[purge.UserID(id)] {
			c.t.Errorf("user %s has two requests, or %v", row["user_id"], err)
		}
		seen[purge.UserID(id)] = true
		requests++
	}
	return requests
}

func (c *shell) watcher() *watcher {
	c.t.Helper()
	w, err := (&app{streams: cli.Streams{Out: io.Discard, Err: io.Discard, Environ: c.environ}}).newWatcher()
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { _ = w.close() })
	w.cfg.Admin.Listen = "127.0.0.1:0"
	return w
}

func TestWatchAsksForThoseWhoAreDue(t *testing.T) {
	t.Parallel()
	c := newShell(t)
	due := c.addDue(3)
	pending := c.db.AddRetiringUser(t, "pending", "PENDING")
	cooling := c.db.AddRetiringUser(t, "cooling", "COMPLETE")
	history := c.db.AddUser(t, "history")
	c.db.AddRetirementRequest(t, history) // its status row is cleaned up
	c.db.AddHistory(t, sandboxtest.HistoryRow{Certificate: sandboxtest.Certificate{
		UserID:       history,
		DownloadUUID: purgetest.DownloadID,
	}, CertificateID: 99})
	c.db.AddRetiringUser(t, "web", "COMPLETE")
	bystander := c.db.AddUser(t, "bystander")
	for _, user := range []int{pending, cooling, bystander} {
		c.db.AddCertificate(t, sandboxtest.Certificate{UserID: user, DownloadUUID: purgetest.DownloadID})
	}
	created := func(user, days int, seconds string) {
		c.db.Exec(t, "UPDATE "+c.db.LMS+"."+lms.RetirementStatus+" SET created = UTC_TIMESTAMP(6) - INTERVAL ? DAY "+
			"+ INTERVAL "+seconds+" SECOND WHERE user_id = ?", days, user)
	}
	created(cooling, 7, "60")
	c.run(cli.ExitOK, "enqueue", strconv.Itoa(due[0]), strconv.Itoa(due[1]))
	c.end(due[1], purge.Report{State: purge.Failed, Reason: purge.ReasonHeld})

	out, _ := c.run(cli.ExitOK, "watch", "--once", "-o", "json")
	var got watch.Summary
	want := watch.Summary{
		Led: true, Requests: 7, Eligible: 6, CoolingOff: 1, WithReferences: 4, Open: 1, Failed: 1,
		Asked: 2,
	}
	if err := json.Unmarshal([]byte(out), &got); err != nil || got != want {
		t.Errorf("got %+v, %v; want %+v", got, err, want)
	}
	for _, user := range []int{due[2], history} {
		if rows := c.requestsOf(user); len(rows) != 1 || rows[0].Source != purge.SourceWatch ||
			rows[0].State != purge.Queued {
			t.Errorf("user %d: got %+v", user, rows)
		}
	}
	if got := c.depth(); got.Pending != 4 { // the failed one's was put there when it was requested
		t.Errorf("got %+v", got)
	}
	created(cooling, 7, "-1")
	c.db.MoveTo(t, pending, "LOCKING_COMPLETE") // long after it asked
	if out, _ := c.run(cli.ExitOK, "watch", "--once"); !strings.Contains(out,
		"2 users requested (0 of them again); 3 at work already, 1 failed before") {
		t.Errorf("got %q", out)
	}
	c.end(history, purge.Report{State: purge.Refused, Reason: purge.ReasonNotRetiring})
	if out, _ := c.run(cli.ExitOK, "watch", "--once"); !strings.Contains(out, "0 users requested") ||
		!strings.Contains(out, "1 ended only just now") {
		t.Errorf("just refused: got %q", out)
	}
	c.db.Exec(t, "UPDATE "+c.db.Ledger+".requests SET finished_at = finished_at - INTERVAL 2 HOUR")
	if out, _ := c.run(cli.ExitOK, "watch", "--once"); !strings.Contains(out, "1 users requested (1 of them again)") {
		t.Errorf("refused and eligible: got %q", out)
	}
	if got := c.perUser(); got != 6 {
		t.Errorf("got %d requests, want 6", got)
	}
	c.environ = append(c.environ, "CERTPURGE_WATCH_MAX_USERS_PER_ROUND=2")
	c.addDue(5)
	if out, _ := c.run(cli.ExitOK, "watch", "--once"); !strings.Contains(out, "2 users requested") ||
		!strings.Contains(out, "watch.max_users_per_round") {
		t.Errorf("capped: got %q", out)
	}
	if _, said := c.run(cli.ExitUsage, "watch", "-o", "json"); !strings.Contains(said, "--once") {
		t.Errorf("got %q", said)
	}
}

// TestAUserWhoCancelsAfterTheWatcherLooked is refused by the worker and left alone by the watcher.
func TestAUserWhoCancelsAfterTheWatcherLooked(t *testing.T) {
	t.Parallel()
	c := newShell(t)
	user := c.addDue(1)[0]
	w := c.watcher()
	intake := w.Intake
	w.Intake = intakeFunc(func(ctx context.Context, submissions []purge.Submission) ([]purge.Accepted, error) {
		c.db.CancelRetirement(t, user) //nolint:contextcheck // the test does it
		return intake.Accept(ctx, submissions)
	})
	sum, err := w.Once(t.Context(), 0)
	if err != nil || sum.Asked != 1 {
		t.Fatalf("got %+v, %v", sum, err)
	}
	cloud := purgetest.NewCloud()
	for _, name := range purgetest.FourFiles() {
		cloud.Put(name)
	}
	purger := &purge.Purger{
		Users: c.store, Ledger: c.store, Objects: cloud, Locations: purgetest.OneLocation(t),
		Policy: purge.Policy{ExcludedStates: []string{"PENDING"}, ClearHistory: true, MaxAttempts: 3},
	}
	result, err := purger.Purge(t.Context(), purge.Task{Request: c.requestsOf(user)[0].ID, User: purge.UserID(user)})
	if err != nil || result.State != purge.Refused || result.Reason != purge.ReasonNotRetiring {
		t.Errorf("got %+v, %v; want it refused", result, err)
	}
	if after, err := c.store.User(t.Context(), purge.UserID(user)); err != nil || len(after.References) != 1 {
		t.Errorf("got %v, %v; want the reference kept", after, err)
	}
	c.db.Exec(t, "UPDATE "+c.db.Ledger+".requests SET finished_at = finished_at - INTERVAL 2 HOUR")
	if sum, err := w.Once(t.Context(), 0); err != nil || sum.Requests != 0 || sum.Asked != 0 {
		t.Errorf("later: got %+v, %v", sum, err)
	}
}

type intakeFunc func(context.Context, []purge.Submission) ([]purge.Accepted, error)

func (f intakeFunc) Accept(ctx context.Context, submissions []purge.Submission) ([]purge.Accepted, error) {
	return f(ctx, submissions)
}

func TestManyWatchersAtOnceAskForEachUserOnce(t *testing.T) {
	t.Parallel()
	c := newShell(t)
	c.addMany(1500)
	c.environ = append(c.environ, "CERTPURGE_WATCH_MAX_USERS_PER_ROUND=400")
	var all sync.WaitGroup
	for range 3 {
		all.Go(func() {
			w := c.watcher()
			for asked := -1; asked < 1500 && t.Context().Err() == nil; {
				if _, err := w.Once(t.Context(), 0); err != nil {
					t.Errorf("got %v", err)
					return
				}
				tallies, err := c.store.Tallies(t.Context())
				if err != nil {
					t.Errorf("got %v", err)
					return
				}
				asked = 0
				for _, tally := range tallies {
					asked += int(tally.Count)
				}
			}
		})
	}
	all.Wait()
	if got := c.perUser(); got != 1500 || c.depth().Pending != 1500 {
		t.Errorf("got %d requests and %+v", got, c.depth())
	}
}

// TestAKilledLeaderIsFollowed kills the leading process in the middle of a round.
func TestAKilledLeaderIsFollowed(t *testing.T) {
	t.Parallel()
	c := newShell(t)
	c.addMany(1200)
	release := c.block("user:700") // the second page cannot be written
	binary, _ := sandboxtest.Binaries(t)
	leader := exec.CommandContext(t.Context(), binary, "watch", "--once") //nolint:gosec // our own binary
	var said bytes.Buffer
	leader.Env, leader.Stdout, leader.Stderr = c.environ, &said, &said
	if err := leader.Start(); err != nil {
		t.Fatal(err)
	}
	sandboxtest.Eventually(t, "the first page is requested", func() bool { return c.depth().Pending == 500 })
	if out, _ := c.run(cli.ExitOK, "watch", "--once"); !strings.Contains(out, "another watcher") {
		t.Errorf("while it leads: got %q", out)
	}
	if err := leader.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := leader.Wait(); err == nil {
		t.Errorf("it ended well: %s", said.String())
	}
	release()
	sandboxtest.Eventually(t, "the next one leads", func() bool {
		out, _ := c.run(cli.ExitOK, "watch", "--once")
		return strings.Contains(out, "users requested")
	})
	// What the dead one had sent may have been written after its death, without tasks; those are the reconciler's.
	if got := c.perUser(); got != 1200 {
		t.Errorf("got %d requests", got)
	}
	c.run(cli.ExitOK, "reconcile", "--grace", "0s")
	if got := c.depth(); got.Pending != 1200 {
		t.Errorf("got %+v", got)
	}
}

// block holds an idempotency key so that no other process can write it, until released.
func (c *shell) block(key string) (release func()) {
	c.t.Helper()
	tx, err := c.db.Root.BeginTx(c.t.Context(), &sql.TxOptions{})
	if err != nil {
		c.t.Fatal(err)
	}
	_, err = tx.ExecContext(c.t.Context(), "INSERT INTO "+c.db.Ledger+
		".requests (idempotency_key, user_id, source, state, requested_at, opened_at, updated_at)"+
		" VALUES (?, 2000000000, 'cli', 'queued', UTC_TIMESTAMP(), UTC_TIMESTAMP(), UTC_TIMESTAMP())", key)
	if err != nil {
		c.t.Fatal(err)
	}
	release = sync.OnceFunc(func() { _ = tx.Rollback() })
	c.t.Cleanup(release)
	return release
}

// TestWatchWaitsForItsServers starts with MySQL away, loses Redis in the middle, and is stopped.
func TestWatchWaitsForItsServers(t *testing.T) {
	t.Parallel()
	servers := sandboxtest.OwnServers(t)
	c := newShellOn(t, sandboxtest.On(t, servers.MySQL, lms.UTF8MB4), servers.Redis.URL(0))
	c.addDue(1)
	servers.MySQL.Stop()
	w := c.watcher()
	w.Interval = 50 * time.Millisecond
	var log sandboxtest.Buffer
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	w.log = telemetry.NewLogger(&log, config.Log{Level: "info", Format: "text"})
	go func() { done <- w.run(ctx) }()
	address := regexp.MustCompile(`address=(\S+)`)
	shows := func(path string, status int, want string) func() bool {
		return func() bool {
			match := address.FindStringSubmatch(log.String())
			if match == nil {
				return false
			}
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+match[1]+path, http.NoBody)
			if err != nil {
				t.Fatal(err)
			}
			resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
			if err != nil {
				return false
			}
			defer resp.Body.Close()
			body, err := io.ReadAll(resp.Body)
			return err == nil && resp.StatusCode == status && strings.Contains(string(body), want)
		}
	}
	ready := func(status int, why string) func() bool { return shows("/readyz", status, why) }
	sandboxtest.Eventually(t, "it says that MySQL is away",
		ready(http.StatusServiceUnavailable, "paused: MySQL cannot be reached"))
	sandboxtest.Eventually(t, "its log says so", func() bool { return strings.Contains(log.String(), "watcher paused") })
	if got := strings.Count(log.String(), "watcher paused"); got != 1 {
		t.Errorf("it said so %d times:\n%s", got, log.String())
	}
	if err := servers.MySQL.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	sandboxtest.Eventually(t, "the user is requested", func() bool { return strings.Contains(log.String(), "asked=1") })
	sandboxtest.Eventually(t, "it is ready", ready(http.StatusOK, "ok"))
	servers.Redis.Stop()
	sandboxtest.Eventually(t, "it says that Redis is away", ready(http.StatusServiceUnavailable, "redis: "))
	c.addDue(2)
	sandboxtest.Eventually(t, "a round failed", func() bool { return strings.Contains(log.String(), "round failed") })
	if err := servers.Redis.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	sandboxtest.Eventually(t, "it is ready again", ready(http.StatusOK, "ok"))
	sandboxtest.Eventually(t, "the others are requested", func() bool { return c.perUser() == 3 })
	metrics := func(want string) func() bool { return shows("/metrics", http.StatusOK, want) }
	sandboxtest.Eventually(t, "its metrics say so", metrics("certpurge_ready 1\n"))
	for _, unwanted := range []string{
		`certpurge_watch_rounds_total{result="led"} 0`,
		`certpurge_watch_rounds_total{result="failed"} 0`, "certpurge_watch_last_round_timestamp_seconds 0\n",
	} {
		if metrics(unwanted)() {
			t.Errorf("its metrics say %q", unwanted)
		}
	}
	cancel()
	err := sandboxtest.Receive(t, "the end of the watcher", done)
	if err != nil || !strings.Contains(log.String(), "watcher stopped") {
		t.Errorf("stopping: got %v", err)
	}
	for _, secret := range []string{"due0", purgetest.DownloadID} {
		if strings.Contains(log.String(), secret) {
			t.Errorf("the log holds %q", secret)
		}
	}
}

func TestWatchDoesNotStartMisconfigured(t *testing.T) {
	t.Parallel()
	c := newShell(t)
	c.environ = append(c.environ, "CERTPURGE_ADMIN_LISTEN=127.0.0.1:0")
	c.db.Exec(t, "DROP TABLE "+c.db.Ledger+".goose_db_version")
	for _, args := range [][]string{{"watch"}, {"watch", "--once"}} {
		if _, said := c.run(cli.ExitConfiguration, args...); !strings.Contains(said, "enqueuer migrate") {
			t.Errorf("%v: got %q", args, said)
		}
	}
	c = newShell(t)
	c.environ[2] = "CERTPURGE_REDIS_URL=redis://127.0.0.1:1/0"
	c.run(cli.ExitUnavailable, "watch", "--once")
}
