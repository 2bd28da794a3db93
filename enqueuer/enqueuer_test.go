package main

import (
	"bytes"
	"encoding/json"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/certpurge/certpurge/internal/cli"
	"github.com/certpurge/certpurge/internal/config"
	"github.com/certpurge/certpurge/internal/mysql"
	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/queue"
	"github.com/certpurge/certpurge/internal/queue/inspect"
	"github.com/certpurge/certpurge/internal/sandbox/lms"
	"github.com/certpurge/certpurge/internal/sandbox/sandboxtest"
)

func TestMain(m *testing.M) { os.Exit(sandboxtest.Main(m)) }

// shell runs the enqueuer as a shell would, on databases of its own, under exactly the rights of grants.sql.
type shell struct {
	t        testing.TB
	db       *sandboxtest.Database
	accounts lms.Accounts
	store    *mysql.Store // may do everything
	environ  []string
}

func newShell(tb testing.TB) *shell {
	tb.Helper()
	return newShellOn(tb, sandboxtest.MySQL(tb, lms.Mixed), sandboxtest.Redis(tb))
}

func newShellOn(tb testing.TB, db *sandboxtest.Database, redisURL string) *shell {
	tb.Helper()
	c := &shell{t: tb, db: db, accounts: db.Grant(tb)}
	c.environ = []string{
		"CERTPURGE_MYSQL_DSN=" + db.LedgerDSN(c.accounts.Migrate), "CERTPURGE_LMS_DATABASE=" + db.LMS,
		"CERTPURGE_REDIS_URL=" + redisURL,
	}
	var err error
	c.store, err = mysql.Open(mysql.Config{
		MySQL: config.MySQL{DSN: config.NewSecret(db.RootDSN(db.Ledger)), MaxOpenConnections: 4, ConnectTimeout: time.Minute},
		LMS:   config.LMS{Database: db.LMS, ClearHistory: true},
	})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = c.store.Close() })
	out, _ := c.run(cli.ExitOK, "migrate", "--enqueuer-account", c.accounts.Enqueuer.String(), "--worker-account",
		c.accounts.Worker.String())
	if !strings.Contains(out, "00001_ledger.sql") {
		tb.Fatalf("migrate says %q", out)
	}
	c.environ[0] = "CERTPURGE_MYSQL_DSN=" + db.LedgerDSN(c.accounts.Enqueuer)
	return c
}

// run executes a command line and checks its exit code.
func (c *shell) run(want int, args ...string) (stdout, stderr string) {
	c.t.Helper()
	var out, errOut bytes.Buffer
	root := newCommand(cli.Streams{Out: &out, Err: &errOut, Environ: c.environ})
	root.SetOut(&out)
	root.SetErr(&errOut)
	if got := cli.Run(c.t.Context(), root, args, &errOut); got != want {
		c.t.Errorf("enqueuer %s: got exit code %d, want %d; it says:\n%s%s", strings.Join(args, " "), got, want, out.String(),
			errOut.String())
	}
	return out.String(), errOut.String()
}

// redis connects to the queue until the test ends.
func (c *shell) redis() redis.UniversalClient {
	c.t.Helper()
	rdb, err := queue.NewRedis(config.Redis{URL: config.NewSecret(strings.TrimPrefix(c.environ[2],
		"CERTPURGE_REDIS_URL="))})
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { _ = rdb.Close() })
	return rdb
}

func (c *shell) depth() inspect.Depth {
	c.t.Helper()
	depths, err := inspect.Depths(c.t.Context(), c.redis())
	if err != nil {
		c.t.Fatal(err)
	}
	return depths[0]
}

// requestsOf reads the requests of a user, of whom there must be one at least.
func (c *shell) requestsOf(user int) (rows []mysql.Request) {
	c.t.Helper()
	err := c.store.EachRequest(c.t.Context(), mysql.Filter{User: purge.UserID(user)}, func(page []mysql.Request) error {
		rows = append(rows, page...)
		return nil
	})
	if err != nil || len(rows) == 0 {
		c.t.Fatalf("got %v, %v", rows, err)
	}
	return rows
}

// end claims and ends a request as a worker would.
func (c *shell) end(user int, report purge.Report) {
	c.t.Helper()
	rows := c.requestsOf(user)
	attempt, err := c.store.Begin(c.t.Context(), purge.Task{Request: rows[0].ID, User: purge.UserID(user)})
	if err != nil {
		c.t.Fatal(err)
	}
	if _, err := c.store.Record(c.t.Context(), attempt, report); err != nil {
		c.t.Fatal(err)
	}
}

func TestEnqueue(t *testing.T) {
	t.Parallel()
	c := newShell(t)
	alice, bob := c.db.AddRetiringUser(t, "Alice", "RETIRING_LMS"), c.db.AddRetiringUser(t, "bob", "RETIRING_LMS")
	a, b := strconv.Itoa(alice), strconv.Itoa(bob)

	if out, _ := c.run(cli.ExitOK, "enqueue", a, b, a); out != "user "+a+": request 1 queued\nuser "+b+
		": request 2 queued\n" {
		t.Errorf("new: got %q", out)
	}
	if got := c.depth(); got.Pending != 2 {
		t.Errorf("got %+v, want two tasks", got)
	}
	if out, _ := c.run(cli.ExitOK, "enqueue", "--username", "Alice"); out != "user "+a+
		": request 1 is queued already\n" {
		t.Errorf("by name: got %q", out)
	}
	c.end(alice, purge.Report{
		State: purge.Failed, Reason: purge.ReasonHeld,
		Detail: "a hold protects a file of certificate 7",
	})
	if out, _ := c.run(cli.ExitOK, "status", a); !strings.Contains(out, "failed (held)") ||
		!strings.Contains(out, "a hold protects") {
		t.Errorf("status: got %q", out)
	}
	if out, _ := c.run(cli.ExitOK, "enqueue", a); out != "user "+a+": request 1 was failed, queued again\n" {
		t.Errorf("after a failure: got %q", out)
	}
	c.end(alice, purge.Report{State: purge.Done})
	if out, _ := c.run(cli.ExitOK, "enqueue", a); out != "user "+a+": request 1 already done, no link is left\n" {
		t.Errorf("when done: got %q", out)
	}
	out, _ := c.run(cli.ExitOK, "enqueue", b, "--idempotency-key", "ticket-1", "-o", "json")
	var answer struct{ Requests []purge.Accepted }
	if err := json.Unmarshal([]byte(out), &answer); err != nil || len(answer.Requests) != 1 ||
		answer.Requests[0].Found != "queued" || answer.Requests[0].Request != 2 {
		t.Errorf("with a key, while a request is open: got %q, %v", out, err)
	}
	if out, _ := c.run(cli.ExitOK, "status", "--idempotency-key", "ticket-1"); !strings.Contains(out,
		"user "+b+": request 2 queued") {
		t.Errorf("status of a key: got %q", out)
	}
	if out, _ := c.run(cli.ExitOK, "status", b, "-o", "json"); !strings.Contains(out, `"requested_by":"cli, `) {
		t.Errorf("the ledger does not know who asked: %q", out)
	}
	out, said := c.run(cli.ExitNotKnown, "status", "--idempotency-key", "ticket-2")
	if out != "" || said != "enqueuer: no request was ever made with this key\n" {
		t.Errorf("status of an unknown key: got %q and %q", out, said)
	}
	c.run(cli.ExitUsage, "status", a, "--idempotency-key", "ticket-1")
	if _, err := c.run(cli.ExitUsage, "enqueue", a, "--idempotency-key", "ticket-1"); !strings.Contains(err,
		"another user") {
		t.Errorf("key of another user: got %q", err)
	}
	if out, _ := c.run(cli.ExitOK, "status"); !strings.Contains(out, "queued") || !strings.Contains(out, "purge") ||
		!strings.Contains(out, "backfill") {
		t.Errorf("status: got %q", out)
	}
	out, _ = c.run(cli.ExitOK, "status", "-o", "json")
	var status struct {
		Requests []mysql.Tally
		Queues   []inspect.Depth
	}
	if err := json.Unmarshal([]byte(out), &status); err != nil || len(status.Requests) != 2 || len(status.Queues) != 2 {
		t.Errorf("status: got %q, %v", out, err)
	}
}

func TestBadInputIsOneSentenceAndDoesNothing(t *testing.T) {
	t.Parallel()
	c := newShell(t)
	user := strconv.Itoa(c.db.AddRetiringUser(t, "Alice", "RETIRING_LMS"))
	for name, tc := range map[string]struct {
		args []string
		want []string // parts of what it says
		not  string
	}{
		"no id": {args: []string{"enqueue"}, want: []string{"user ids or --username"}},
		"not a number": {
			args: []string{"enqueue", user, "alice"}, want: []string{"argument 2", "numeric id"},
			not: "alice",
		},
		"every wrong one": {
			args: []string{"enqueue", "007", user, "+1"},
			want: []string{`argument 1: "007"`, `argument 3: "+1"`},
		},
		"unknown user": {
			args: []string{"enqueue", user, "999999"},
			want: []string{"no user 999999", "nothing was enqueued"},
		},
		"unknown name": {
			args: []string{"enqueue", "--username", "mallory"},
			want: []string{"--username", "compared exactly"}, not: "mallory",
		},
		"name in other case": {args: []string{"enqueue", "--username", "alice"}, want: []string{"--username"}},
		"ids and a name":     {args: []string{"enqueue", user, "--username", "Alice"}, want: []string{"one of the two"}},
		"unknown queue": {
			args: []string{"enqueue", user, "--queue", "fast"},
			want: []string{`"fast"`, "purge or backfill"},
		},
		"key for two": {
			args: []string{"enqueue", user, "43", "--idempotency-key", "k"},
			want: []string{"--idempotency-key"},
		},
		"odd key": {
			args: []string{"enqueue", user, "--idempotency-key", "a b"},
			want: []string{"--idempotency-key", "ASCII"},
		},
		"empty key": {
			args: []string{"enqueue", user, "--idempotency-key", ""},
			want: []string{"--idempotency-key"},
		},
		"timeout for nothing": {args: []string{"enqueue", user, "--timeout", "1s"}, want: []string{"--wait"}},
		"unknown format":      {args: []string{"enqueue", user, "-o", "xml"}, want: []string{"text or json"}},
		"unknown flag":        {args: []string{"enqueue", "--fast"}, want: []string{"--fast", "--help"}},
		"unknown command":     {args: []string{"frobnicate"}, want: []string{"frobnicate"}},
		"status of no id":     {args: []string{"status", "alice"}, want: []string{"is not a user id"}, not: "alice"},
		"status of two":       {args: []string{"status", "1", "2"}, want: []string{"at most 1"}},
		"configuration is no": {
			args: []string{"status", "--config", "no-such-file.yaml"},
			want: []string{"no-such-file.yaml"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			code := cli.ExitUsage
			if strings.HasPrefix(name, "configuration") {
				code = cli.ExitConfiguration
			}
			out, said := (&shell{t: t, environ: c.environ}).run(code, tc.args...)
			for _, part := range tc.want {
				if !strings.Contains(said, part) {
					t.Errorf("got %q, want it to say %q", said, part)
				}
			}
			if out != "" || tc.not != "" && strings.Contains(said, tc.not) || strings.Contains(said, "goroutine") {
				t.Errorf("got %q and %q", out, said)
			}
		})
	}
	t.Cleanup(func() {
		if rows, err := c.store.Tallies(t.Context()); err == nil && len(rows) > 0 {
			t.Errorf("requests were made: %v", rows)
		}
	})
}

func TestServersThatAreAway(t *testing.T) {
	t.Parallel()
	c := newShell(t)
	user := strconv.Itoa(c.db.AddRetiringUser(t, "Alice", "RETIRING_LMS"))
	redisURL := c.environ[2]

	c.environ[2] = "CERTPURGE_REDIS_URL=redis://127.0.0.1:1/0"
	if _, said := c.run(cli.ExitUnavailable, "enqueue", user); !strings.Contains(said, "Redis") ||
		!strings.Contains(said, "127.0.0.1:1") {
		t.Errorf("without Redis: got %q", said)
	}
	if out, said := c.run(cli.ExitUnavailable, "status"); !strings.Contains(out, "STATE") ||
		!strings.Contains(said, "Redis") {
		t.Errorf("status without Redis: got %q and %q", out, said)
	}
	c.environ[2] = redisURL
	c.environ[0] = "CERTPURGE_MYSQL_DSN=certpurge:s3cret@tcp(127.0.0.1:1)/certpurge"
	if _, said := c.run(cli.ExitUnavailable, "enqueue", user); !strings.Contains(said, "MySQL") &&
		!strings.Contains(said, "127.0.0.1:1") || strings.Contains(said, "s3cret") {
		t.Errorf("without MySQL: got %q", said)
	}
	c.environ[0] = "CERTPURGE_MYSQL_DSN=s3cret"
	if _, said := c.run(cli.ExitConfiguration, "status"); !strings.Contains(said, "mysql.dsn") ||
		strings.Contains(said, "s3cret") {
		t.Errorf("bad DSN: got %q", said)
	}
}

func TestReconcile(t *testing.T) {
	t.Parallel()
	c := newShell(t)
	var args []string
	for _, name := range []string{"a", "b", "c"} {
		args = append(args, strconv.Itoa(c.db.AddRetiringUser(t, name, "RETIRING_LMS")))
	}
	c.run(cli.ExitOK, append([]string{"enqueue", "--queue", "purge"}, args...)...)
	rdb, err := queue.NewRedis(config.Redis{URL: config.NewSecret(strings.TrimPrefix(c.environ[2],
		"CERTPURGE_REDIS_URL="))})
	if err != nil {
		t.Fatal(err)
	}
	defer rdb.Close()
	if err := rdb.FlushDB(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	if out, _ := c.run(cli.ExitOK, "reconcile"); !strings.Contains(out, "0 open requests checked") {
		t.Errorf("within the grace: got %q", out)
	}
	if out, _ := c.run(cli.ExitOK, "reconcile", "--grace", "0s", "-o",
		"json"); out != `{"led":true,"looked":3,"restored":3,"swept":0,"full":false}`+"\n" {
		t.Errorf("after it: got %q", out)
	}
	if got := c.depth(); got.Pending != 3 {
		t.Errorf("got %+v, want three tasks", got)
	}
	if out, _ := c.run(cli.ExitOK, "reconcile", "--grace", "0s"); !strings.Contains(out,
		"3 open requests checked, 0 tasks put back") {
		t.Errorf("again: got %q", out)
	}
	release, leading, err := c.store.Lead(t.Context())
	if err != nil || !leading {
		t.Fatalf("got %v, %v; want to lead", leading, err)
	}
	if out, _ := c.run(cli.ExitOK, "reconcile"); !strings.Contains(out, "another process") {
		t.Errorf("while another leads: got %q", out)
	}
	release()
	if out, _ := c.run(cli.ExitOK, "reconcile"); strings.Contains(out, "another process") {
		t.Errorf("after it: got %q", out)
	}
	c.run(cli.ExitUsage, "reconcile", "--rate", "0")
}

func TestWaitFollowsToTheEnd(t *testing.T) {
	t.Parallel()
	c := newShell(t)
	alice, bob := c.db.AddRetiringUser(t, "Alice", "RETIRING_LMS"), c.db.AddRetiringUser(t, "bob", "RETIRING_LMS")
	a, b := strconv.Itoa(alice), strconv.Itoa(bob)
	if _, said := c.run(cli.ExitTimeout, "enqueue", a, b, "--wait", "--timeout", "300ms"); !strings.Contains(said,
		"--timeout") {
		t.Errorf("got %q", said)
	}
	c.end(alice, purge.Report{State: purge.Done})
	c.end(bob, purge.Report{State: purge.Queued, Reason: purge.ReasonRetained, NotBefore: time.Now().Add(time.Hour)})
	if _, said := c.run(cli.ExitTimeout, "enqueue", b, "--wait", "--timeout", "300ms"); !strings.Contains(said,
		"--timeout") {
		t.Errorf("before it was checked again: got %q", said)
	}
	stop := make(chan struct{})
	var worker sync.WaitGroup
	worker.Go(func() { // looks again and again, so also once the command waits
		ticker := time.NewTicker(100 * time.Millisecond)
		defer ticker.Stop()
		for {
			select {
			case <-stop:
				return
			case <-ticker.C:
				c.end(bob, purge.Report{State: purge.Queued, Reason: purge.ReasonRetained, NotBefore: time.Now().Add(time.Hour)})
			}
		}
	})
	out, said := c.run(cli.ExitNotDone, "enqueue", a, b, "--wait", "--timeout", "10m")
	close(stop)
	worker.Wait()
	if !strings.Contains(said, "not done: 1 of 2") || !strings.Contains(out, "retained") ||
		!strings.Contains(out, "next attempt after") {
		t.Errorf("got %q and %q", out, said)
	}
	c.end(bob, purge.Report{State: purge.Done})
	if out, _ := c.run(cli.ExitOK, "enqueue", a, b, "--wait"); strings.Count(out, "done") != 2 {
		t.Errorf("got %q", out)
	}
	c.db.Exec(t, "UPDATE "+c.db.Ledger+".requests SET reason = 'files_missing', ended_as = 'done:files_missing' WHERE "+
		"user_id = ?", bob)
	if _, said := c.run(cli.ExitNotDone, "enqueue", a, b, "--wait"); !strings.Contains(said,
		"done with files missing: 1 of 2") {
		t.Errorf("what is done with files missing is not told apart: %q", said)
	}
	if out, _ := c.run(cli.ExitNotDone, "enqueue", b); !strings.Contains(out, "already done with files missing") {
		t.Errorf("got %q", out)
	}
}

func TestConfigAndVersion(t *testing.T) {
	t.Parallel()
	c := newShell(t)
	if out, _ := c.run(cli.ExitOK, "config", "print"); !strings.Contains(out, "REDACTED") ||
		strings.Contains(out, "root") || !strings.Contains(out, c.db.LMS) {
		t.Errorf("print: got %q", out)
	}
	c.run(cli.ExitOK, "config", "validate")
	if out, _ := c.run(cli.ExitOK, "version"); !strings.HasPrefix(out, "certpurge ") {
		t.Errorf("version: got %q", out)
	}
	migrate := []string{"migrate", "--enqueuer-account", c.accounts.Enqueuer.String(), "--worker-account"}
	if _, said := c.run(cli.ExitConfiguration, append(migrate, c.accounts.Worker.String())...); !strings.Contains(said,
		"--no-grants") {
		t.Errorf("migrate again, by an account that may not grant: got %q", said)
	}
	if out, _ := c.run(cli.ExitOK, "migrate", "--no-grants"); out != "the ledger is up to date\n" {
		t.Errorf("migrate again: got %q", out)
	}
	c.environ[0] = "CERTPURGE_MYSQL_DSN=" + c.db.LedgerDSN(c.accounts.Migrate)
	c.db.Exec(t, "ALTER TABLE "+c.db.Ledger+".requests ADD KEY requests_opened (state, reason, opened_at)")
	if out, _ := c.run(cli.ExitOK, "migrate", "--no-grants", "--revoke-superseded"); !strings.Contains(out,
		"dropped the indexes that only earlier versions use: requests_opened\n") {
		t.Errorf("an index of an earlier version: got %q", out)
	}
	if _, said := c.run(cli.ExitConfiguration, append(migrate, "absent@%")...); !strings.Contains(said,
		"there is no account absent@%") {
		t.Errorf("an account that is not there: got %q", said)
	}
	if _, said := c.run(cli.ExitUsage, append(migrate, "x'@y")...); !strings.Contains(said, "NAME@HOST") {
		t.Errorf("no account: got %q", said)
	}
	if out, _ := c.run(cli.ExitOK, append(migrate, "w@10.0.%", "--print-grants")...); !strings.Contains(out,
		".`evidence_documents` TO 'w'@'10.0.%';\n") {
		t.Errorf("the statements: got %q", out)
	}
	c.environ = append(c.environ, "CERTPURGE_LOG_LEVEL=loud", "CERTPURGE_MYSQL_QUERY_TIMEOUT=fast")
	if _, said := c.run(cli.ExitConfiguration, "config", "validate"); !strings.Contains(said, "log.level") ||
		!strings.Contains(said, "mysql.query_timeout") {
		t.Errorf("validate: got %q, want both broken rules", said)
	}
}

func TestHelp(t *testing.T) {
	t.Parallel()
	run := func(args ...string) (int, string, string) {
		var out, errs bytes.Buffer
		code := cli.Execute(t.Context(), newCommand, cli.Streams{Out: &out, Err: &errs}, args)
		return code, out.String(), errs.String()
	}
	sandboxtest.CheckHelp(t, newCommand(cli.Streams{}), run, "password", "token", "completion", "version", "man", "config")
}
