package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/spf13/cobra"

	"github.com/certpurge/certpurge/internal/cli"
	"github.com/certpurge/certpurge/internal/config"
	"github.com/certpurge/certpurge/internal/doctor"
	"github.com/certpurge/certpurge/internal/mysql"
	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/queue"
	"github.com/certpurge/certpurge/internal/queue/inspect"
	"github.com/certpurge/certpurge/internal/queue/presence"
	"github.com/certpurge/certpurge/internal/sandbox"
	"github.com/certpurge/certpurge/internal/sandbox/lms"
	"github.com/certpurge/certpurge/internal/sandbox/sandboxtest"
)

// patient is a shell whose Redis the test may spoil.
type patient struct {
	*shell
	rdb     redis.UniversalClient
	account string // of the enqueuer, as it stands in statements
	worker  *presence.Announcer
	stop    func() // of the worker
}

func newPatient(t *testing.T) *patient {
	t.Helper()
	return newPatientOn(t, newShell(t))
}

func newPatientOn(t *testing.T, on *shell) *patient {
	t.Helper()
	p := &patient{shell: on}
	p.account = "'" + p.accounts.Enqueuer.Name + "'@'%'"
	p.useRedis(strings.TrimPrefix(p.environ[2], "CERTPURGE_REDIS_URL="))
	return p
}

// openTestRedis opens a URL.
func openTestRedis(tb testing.TB, url string) redis.UniversalClient {
	tb.Helper()
	rdb, err := queue.NewRedis(config.Redis{URL: config.NewSecret(url)})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = rdb.Close() })
	return rdb
}

// useRedis changes to another Redis, in which a worker says that it pulls tasks.
func (p *patient) useRedis(url string) {
	p.t.Helper()
	p.environ[2] = "CERTPURGE_REDIS_URL=" + url
	p.rdb = openTestRedis(p.t, url)
	p.worker = presence.NewAnnouncer(p.rdb, "", func() {})
	p.worker.Set(presence.Pulling, "")
	p.stop = sync.OnceFunc(p.worker.Start(p.t.Context()))
	p.t.Cleanup(p.stop)
	p.awaitWorker(presence.Pulling)
}

func (p *patient) awaitWorker(state presence.State) {
	p.t.Helper()
	sandboxtest.Eventually(p.t, "the worker is "+string(state), func() bool {
		all, err := presence.Workers(p.t.Context(), p.rdb)
		return err == nil && slices.ContainsFunc(all, func(w presence.Worker) bool { return w.State == state })
	})
}

// lose empties the queue, and leaves what workers say.
func (p *patient) lose() {
	p.t.Helper()
	p.script(`for _, key in ipairs(redis.call("KEYS", "asynq:*")) do
		if not string.find(key, "certpurge", 1, true) then redis.call("DEL", key) end end`)
}

// doctor runs the command and returns what it prints; with -o json also what it found.
func (p *patient) doctor(want int, args ...string) (findings []doctor.Finding, stdout, stderr string) {
	p.t.Helper()
	var out, errOut bytes.Buffer
	streams := cli.Streams{Out: &out, Err: &errOut, Environ: p.environ}
	root := newCommand(streams)
	if !slices.ContainsFunc(root.Commands(), func(c *cobra.Command) bool { return c.Name() == "doctor" }) {
		root.AddCommand(newDoctorCommand(&app{streams: streams}))
	}
	root.SetOut(&out)
	args = append([]string{"doctor"}, args...)
	if got := cli.Run(p.t.Context(), root, args, &errOut); got != want {
		p.t.Errorf("%v: got exit code %d, want %d; it says:\n%s%s", args, got, want, out.String(), errOut.String())
	}
	if slices.Contains(args, "json") {
		if err := json.Unmarshal(out.Bytes(), &findings); err != nil || findings == nil {
			p.t.Fatalf("%v: got %q and %q: %v", args, out.String(), errOut.String(), err)
		}
	}
	return findings, out.String(), errOut.String()
}

// retiring adds a user, and enqueues it as an operator would.
func (p *patient) retiring(name string) purge.UserID {
	p.t.Helper()
	user := p.db.AddRetiringUser(p.t, name, "RETIRING_LMS")
	p.run(cli.ExitOK, "enqueue", strconv.Itoa(user), "--queue", "purge")
	return purge.UserID(user)
}

// do changes Redis behind asynq's back; it must change something.
func (p *patient) do(args ...any) {
	p.t.Helper()
	if n, err := p.rdb.Do(p.t.Context(), args...).Int(); err != nil || n < 1 {
		p.t.Fatalf("%v: got %d, %v", args, n, err)
	}
}

// script changes much at once.
func (p *patient) script(text string) {
	p.t.Helper()
	if err := p.rdb.Eval(p.t.Context(), text+" return 1", nil).Err(); err != nil {
		p.t.Fatal(err)
	}
}

func key(rest string) string { return "asynq:{purge}:" + rest }

func task(user purge.UserID) string { return key("t:" + queue.TaskID(purge.Task{User: user})) }

// begin claims a user's request as a worker would, and dequeues its task as asynq would.
func (p *patient) begin(user purge.UserID) {
	p.t.Helper()
	rows := p.requestsOf(int(user))
	if _, err := p.store.Begin(p.t.Context(), purge.Task{Request: rows[0].ID, User: user}); err != nil {
		p.t.Fatal(err)
	}
}

func (p *patient) activate(user purge.UserID) {
	p.t.Helper()
	p.begin(user)
	id := queue.TaskID(purge.Task{User: user})
	p.do("LREM", key("pending"), 0, id)
	p.do("LPUSH", key("active"), id)
	p.do("ZADD", key("lease"), time.Now().Add(time.Hour).Unix(), id)
	if err := p.rdb.HSet(p.t.Context(), task(user), "state", "active").Err(); err != nil {
		p.t.Fatal(err)
	}
}

// finished adds tasks in a state, in scripts that are short enough for a busy server.
func (p *patient) finished(state string, n int) {
	for first := 1; first <= n; first += 1000 {
		p.script(fmt.Sprintf(`for i = %d, %d do local id = "purge:" .. (900000 + i)
			redis.call("HSET", "asynq:{purge}:t:" .. id, "msg", "x", "state", %q) redis.call("ZADD", "asynq:{purge}:%s", 1, id) end`,
			first, min(first+999, n), state, state))
	}
}

func TestDoctor(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		spoil    func(p *patient, user purge.UserID)
		severity doctor.Severity
		says     []string
		fixes    bool
		after    string // what --fix brings to light
		beside   int    // findings that the dry run shows after it, because one follows from the other
	}{
		"task_in_no_list": {
			spoil: func(p *patient, user purge.UserID) {
				p.do("LREM", key("pending"), 0, queue.TaskID(purge.Task{User: user}))
			}, severity: doctor.Severe, says: []string{"queue purge, user USER", "never runs"}, fixes: true,
			after: "request_without_task",
		},
		"active_without_lease": {spoil: func(p *patient, user purge.UserID) {
			p.activate(user)
			p.do("ZREM", key("lease"), queue.TaskID(purge.Task{User: user}))
		}, severity: doctor.Severe, says: []string{"USER", "lease"}, fixes: true, after: "request_without_task"},
		"id_without_task": {spoil: func(p *patient, user purge.UserID) {
			// Of a finished task: otherwise the ledger would have something to say, too.
			p.end(int(user), purge.Report{State: purge.Done})
			p.do("LREM", key("pending"), 0, queue.TaskID(purge.Task{User: user}))
			p.do("ZADD", key("completed"), time.Now().Add(time.Hour).Unix(), queue.TaskID(purge.Task{User: user}))
			p.do("DEL", task(user))
		}, severity: doctor.Severe, says: []string{"USER", "dashboard"}, fixes: true},
		"task_without_message": {
			spoil: func(p *patient, user purge.UserID) {
				p.do("HDEL", task(user), "msg")
			}, severity: doctor.Severe, says: []string{"USER", "lost its content"}, fixes: true, after: "request_without_task",
			beside: 1,
		},
		"queue_unregistered": {spoil: func(p *patient, _ purge.UserID) {
			p.do("SREM", "asynq:queues", "purge")
		}, severity: doctor.Warn, says: []string{"queue purge", "deleted in the dashboard"}, fixes: true},
		"queue_paused": {spoil: func(p *patient, _ purge.UserID) {
			p.script(`redis.call("SET", "asynq:{purge}:paused", 1)`)
		}, severity: doctor.Warn, says: []string{"queue purge", "resumes"}},
		"archive_full": {spoil: func(p *patient, _ purge.UserID) {
			p.finished("archived", 1001)
		}, severity: doctor.Warn, says: []string{"1001 tasks", "9,999"}},
		"completed_many": {spoil: func(p *patient, _ purge.UserID) {
			p.finished("completed", 100001)
		}, severity: doctor.Warn, says: []string{"100001 finished", "tasks.retention"}},
		"request_without_task": {spoil: func(p *patient, _ purge.UserID) {
			p.lose()
		}, severity: doctor.Warn, says: []string{"user USER", "reconciler"}, fixes: true},
		"running_without_task": {spoil: func(p *patient, user purge.UserID) {
			p.begin(user)
			p.lose()
			p.db.Exec(p.t, "UPDATE "+p.db.Ledger+".requests SET updated_at = updated_at - INTERVAL 11 MINUTE")
		}, severity: doctor.Warn, says: []string{"user USER", "ten minutes"}, fixes: true},
		"task_without_request": {spoil: func(p *patient, user purge.UserID) {
			p.end(int(user), purge.Report{State: purge.Refused, Reason: purge.ReasonNotRetiring})
		}, severity: doctor.Note, says: []string{"user USER", "harmless"}},
		"rights_too_wide": {spoil: func(p *patient, _ purge.UserID) {
			p.db.Exec(p.t, "GRANT ALL PRIVILEGES ON "+p.db.LMS+".* TO "+p.account)
		}, severity: doctor.Warn, says: []string{"ALL PRIVILEGES on lms_", "grants.sql"}},
		"superseded_indexes": {spoil: func(p *patient, _ purge.UserID) {
			p.db.Exec(p.t, "ALTER TABLE "+p.db.Ledger+".requests ADD KEY requests_open (state, id)")
		}, severity: doctor.Note, says: []string{"requests_open", "migrate --revoke-superseded"}},
		"database_settings": {spoil: func(p *patient, _ purge.UserID) {
			p.db.Exec(p.t, "REVOKE SELECT (download_url) ON "+p.db.LMS+".certificates_generatedcertificate FROM "+p.account)
		}, severity: doctor.Severe, says: []string{"certificates_generatedcertificate", "1143"}},
		"evidence_changed": {spoil: func(p *patient, user purge.UserID) {
			attempt, err := p.store.Begin(p.t.Context(), purge.Task{Request: p.requestsOf(int(user))[0].ID, User: user})
			if err != nil {
				p.t.Fatal(err)
			}
			dir := purge.Directory{Bucket: "certs", Prefix: "cert/Größe/"}
			_, err = p.store.Record(p.t.Context(), attempt, purge.Report{State: purge.Queued, Evidence: []purge.Evidence{
				{
					CertificateID: 1, Table: purge.Live, Outcome: purge.Erased,
					Generation: purge.Generation{Directory: dir, Name: "cert/Größe/a.pdf", Number: 17},
				},
				{
					CertificateID: 1, Table: purge.Live, Outcome: purge.Erased,
					Generation: purge.Generation{Directory: dir, Name: "cert/Größe/b.pdf", Number: 18},
				},
			}})
			if err != nil {
				p.t.Fatal(err)
			}
			p.doctor(cli.ExitOK, "--grace", "0s")
			p.db.Exec(p.t, "UPDATE "+p.db.Ledger+".evidence_documents SET document = REPLACE(document, 'b.pdf', 'c.pdf')")
		}, severity: doctor.Severe, says: []string{"not as it was written", "enqueuer verify"}},
		"no_worker": {
			spoil: func(p *patient, _ purge.UserID) { p.stop() }, severity: doctor.Severe,
			says: []string{"no worker is running", "redis.url"},
		},
		"worker_paused": {spoil: func(p *patient, _ purge.UserID) {
			p.worker.Set(presence.Paused, "MySQL is read-only")
			p.awaitWorker(presence.Paused)
		}, severity: doctor.Warn, says: []string{"is paused since 20", "MySQL is read-only"}, beside: 1},
		"key_of_wrong_type": {
			spoil: func(p *patient, _ purge.UserID) { // that neither asynq nor the other checks can read
				p.script(`redis.call("DEL", "asynq:{purge}:pending") redis.call("SET", "asynq:{purge}:pending", "x")`)
			}, severity: doctor.Severe, says: []string{"asynq:{purge}:pending is a string, expected a list"}, fixes: true,
			after: "task_in_no_list request_without_task",
		},
		"check_failed": {spoil: func(p *patient, _ purge.UserID) { // what only the check of the evidence reads
			p.db.Exec(p.t, "ALTER TABLE "+p.db.Ledger+".evidence_documents CHANGE request_id old_id BIGINT NOT NULL")
		}, severity: doctor.Severe, says: []string{"A check failed", "1054"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPatient(t)
			user := p.retiring("Alice")
			p.doctor(cli.ExitOK, "--grace", "0s")
			tc.spoil(p, user)
			want := cli.ExitNotDone
			if tc.severity == doctor.Note {
				want = cli.ExitOK
			}
			_, text, said := p.doctor(want, "--grace", "0s")
			if (want == cli.ExitOK) != (said == "") || strings.Contains(text, "fixed:") ||
				strings.Contains(text, "--fix would") != tc.fixes {
				t.Errorf("it says %q and\n%s", said, text)
			}
			findings, _, _ := p.doctor(want, "--grace", "0s", "-o", "json")
			if len(findings) != 1+tc.beside || findings[0].Kind != name || findings[0].Severity != tc.severity ||
				findings[0].Fixed || (findings[0].Fix != "") != tc.fixes {
				t.Fatalf("got %+v, want %s, and only it", findings, name)
			}
			for _, part := range tc.says {
				part = strings.ReplaceAll(part, "USER", strconv.Itoa(int(user)))
				if !strings.Contains(findings[0].Subject+findings[0].Text, part) || !strings.Contains(text, part) {
					t.Errorf("got %q and %q, want %q", findings[0].Subject, findings[0].Text, part)
				}
			}
			if !tc.fixes {
				findings, _, _ = p.doctor(want, "--grace", "0s", "-o", "json", "--fix")
				if len(findings) != 1+tc.beside || findings[0].Fixed {
					t.Errorf("with --fix: got %+v", findings)
				}
				return
			}
			findings, _, _ = p.doctor(cli.ExitOK, "--grace", "0s", "-o", "json", "--fix")
			kinds := []string{}
			for _, f := range findings {
				kinds = append(kinds, f.Kind)
				if !f.Fixed {
					t.Errorf("not fixed: %+v", f)
				}
			}
			if wantKinds := strings.Fields(name + " " + tc.after); !slices.Equal(kinds, wantKinds) {
				t.Errorf("with --fix: got %v, want %v", kinds, wantKinds)
			}
			if _, text, _ := p.doctor(cli.ExitOK, "--grace", "0s"); text != "nothing is wrong\n" {
				t.Errorf("afterwards it says\n%s", text)
			}
		})
	}
}

// purgerFunc is a queue.Purger.
type purgerFunc func(context.Context, purge.Task) (purge.Result, error)

func (f purgerFunc) Purge(ctx context.Context, t purge.Task) (purge.Result, error) { return f(ctx, t) }

// TestDoctorFindsNothingInAHealthySystem has tasks in every state that a task can be in, put there by asynq.
func TestDoctorFindsNothingInAHealthySystem(t *testing.T) {
	t.Parallel()
	p := newPatient(t)
	done, refused, retained := p.retiring("done"), p.retiring("refused"), p.retiring("retained")
	p.end(int(done), purge.Report{State: purge.Done})
	p.end(int(refused), purge.Report{State: purge.Refused, Reason: purge.ReasonNotRetiring})
	p.end(int(retained), purge.Report{
		State: purge.Queued, Reason: purge.ReasonRetained,
		NotBefore: time.Now().Add(time.Hour),
	})
	started, release := make(chan struct{}), make(chan struct{})
	ctx, cancel := context.WithCancel(context.Background())
	log := slog.New(slog.DiscardHandler)
	handler := &queue.Handler{Log: log, Purger: purgerFunc(func(_ context.Context, task purge.Task) (purge.Result, error) {
		switch task.User {
		case done:
			return purge.Result{State: purge.Done}, nil
		case refused:
			return purge.Result{}, purge.ErrUnknownRequest // archived
		case retained:
			return purge.Result{State: purge.Queued}, &purge.Error{Class: purge.Retained, Until: time.Now().Add(time.Hour)}
		default:
			close(started)
			<-release
			return purge.Result{State: purge.Done}, nil
		}
	})}
	stopped := make(chan error, 1)
	go func() {
		stopped <- queue.Serve(ctx, p.rdb, config.Queue{
			Concurrency: 1, Weights: config.Weights{Purge: 1}, DrainTimeout: 5 * time.Second,
			RetryBase: time.Hour, RetryCap: time.Hour,
		}, handler, log)
	}()
	defer func() {
		close(release)
		cancel()
		if err := <-stopped; err != nil {
			t.Error(err)
		}
	}()
	sandboxtest.Eventually(t, "the refused one is archived, after its second try",
		func() bool { return p.depth().Archived == 1 })
	active := p.retiring("active")
	<-started
	p.begin(active)
	p.run(cli.ExitOK, "enqueue", strconv.Itoa(int(active)), "--queue", "purge", "--idempotency-key", "again")
	p.retiring("pending")
	if got, want := p.depth(), (inspect.Depth{
		Queue: queue.Live, Pending: 1, Active: 1, Retry: 1, Scheduled: 1, Completed: 1,
		Archived: 1,
	}); got != want {
		t.Fatalf("got %+v, want %+v", got, want)
	}
	if findings, _, _ := p.doctor(cli.ExitOK, "--grace", "0s", "-o", "json"); len(findings) != 0 {
		t.Errorf("got %+v, want nothing", findings)
	}
	if _, text, said := p.doctor(cli.ExitOK); text != "nothing is wrong\n" || said != "" {
		t.Errorf("got %q and %q", text, said)
	}
}

func TestDoctorGivesRequestsTheirGrace(t *testing.T) {
	t.Parallel()
	p := newPatient(t)
	p.retiring("Alice")
	p.lose()
	p.doctor(cli.ExitOK)
	p.doctor(cli.ExitNotDone, "--grace", "0s")
}

// TestDoctorNamesTheFirstFewAndNoStranger has many broken tasks, one of them with an id that names a person.
func TestDoctorNamesTheFirstFewAndNoStranger(t *testing.T) {
	t.Parallel()
	p := newPatient(t)
	p.script(`for i = 1, 25 do redis.call("HSET", "asynq:{purge}:t:purge:" .. i, "msg", "alice", "state", "pending") end
		redis.call("HSET", "asynq:{purge}:t:alice@example.org", "msg", "alice", "state", "pending")`)
	_, text, said := p.doctor(cli.ExitNotDone)
	want := `error
  task_in_no_list: queue purge, users 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 and 15 more, 1 task of foreign ids
    The task is stored, but in no list of its queue. It never runs, and its ID stays taken: the user cannot be enqueued again.
    --fix would: drop 26 tasks; the reconciler makes a new one for each open request
`
	if text != want || said != "enqueuer: 1 of 1 findings are left to fix\n" {
		t.Errorf("got %q and\n%s\nwant\n%s", said, text, want)
	}
	if _, text, _ := p.doctor(cli.ExitOK, "--fix"); !strings.Contains(text, "fixed: drop 26 tasks") {
		t.Errorf("with --fix it says\n%s", text)
	}
}

// after runs a function once Redis has answered the n-th pipeline.
type after struct {
	n  int
	do func()
}

func (a *after) DialHook(next redis.DialHook) redis.DialHook          { return next }
func (a *after) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }

func (a *after) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		err := next(ctx, cmds)
		if a.n--; a.n == 0 {
			a.do()
		}
		return err
	}
}

// TestDoctorReportsNothingThatMoved lets requests and tasks move between the reads of ledger and Redis.
func TestDoctorReportsNothingThatMoved(t *testing.T) {
	t.Parallel()
	p := newPatient(t)
	ended, waits, needless := p.retiring("ended"), p.retiring("waits"), p.retiring("needless")
	p.end(int(needless), purge.Report{State: purge.Refused, Reason: purge.ReasonNotRetiring})
	rdb := openTestRedis(t, strings.TrimPrefix(p.environ[2], "CERTPURGE_REDIS_URL="))
	d := &doctor.Doctor{Store: p.store, Role: mysql.RoleEnqueuer, Redis: rdb, Now: time.Now}
	d.Keeper = inspect.NewKeeper(rdb, config.Tasks{Timeout: time.Minute})
	findings, err := d.Needless(t.Context())
	if err != nil || len(findings) != 1 {
		t.Fatalf("needless tasks: got %+v, %v; want one", findings, err)
	}
	p.run(cli.ExitOK, "enqueue", strconv.Itoa(int(needless)), "--queue", "purge")
	if findings, err := d.Needless(t.Context()); err != nil || len(findings) != 0 {
		t.Errorf("needless tasks of an open request: got %+v, %v", findings, err)
	}
	p.end(int(needless), purge.Report{State: purge.Refused, Reason: purge.ReasonNotRetiring})
	p.lose()
	rdb.AddHook(&after{1, func() { // as workers would whose tasks were not lost
		p.end(int(ended), purge.Report{State: purge.Refused, Reason: purge.ReasonNotRetiring})
		p.end(int(waits), purge.Report{
			State: purge.Queued, Reason: purge.ReasonRetained, NotBefore: time.Now().Add(time.Hour),
		})
		p.db.Exec(t, "UPDATE "+p.db.Ledger+".requests SET updated_at = updated_at - INTERVAL 1 MINUTE")
	}})
	if findings, err := d.Lost(t.Context()); err != nil || len(findings) != 0 {
		t.Errorf("lost requests: got %+v, %v", findings, err)
	}
}

// TestDoctorLeavesReconcilingToTheLeader cannot restore a task while another process does.
func TestDoctorLeavesReconcilingToTheLeader(t *testing.T) {
	t.Parallel()
	p := newPatient(t)
	p.retiring("Alice")
	p.lose()
	release, leading, err := p.store.Lead(t.Context())
	if err != nil || !leading {
		t.Fatalf("got %v, %v; want to lead", leading, err)
	}
	if _, text, _ := p.doctor(cli.ExitNotDone, "--fix", "--grace", "0s"); !strings.Contains(text, "not fixed") {
		t.Errorf("it says\n%s", text)
	}
	release()
	p.doctor(cli.ExitOK, "--fix", "--grace", "0s")
}

func TestDoctorBeforeTheLedgerIsMigrated(t *testing.T) {
	t.Parallel()
	p := newPatient(t)
	p.db.Exec(t, "DROP TABLE "+p.db.Ledger+".goose_db_version")
	findings, _, _ := p.doctor(cli.ExitNotDone, "-o", "json")
	if len(findings) != 1 || findings[0].Kind != doctor.KindDatabase ||
		!strings.Contains(findings[0].Text, "enqueuer migrate") {
		t.Errorf("got %+v, want it to say how to migrate", findings)
	}
}

func TestDoctorLooksAtRedisSettings(t *testing.T) {
	t.Parallel()
	p := newPatient(t)
	servers := sandboxtest.OwnServers(t)
	p.useRedis(servers.Redis.URL(0))
	if err := p.rdb.ConfigSet(t.Context(), "maxmemory-policy", "allkeys-lru").Err(); err != nil {
		t.Fatal(err)
	}
	findings, _, _ := p.doctor(cli.ExitNotDone, "-o", "json")
	if len(findings) != 1 || findings[0].Kind != "eviction_policy" || findings[0].Severity != doctor.Warn ||
		!strings.Contains(findings[0].Text, "allkeys-lru") {
		t.Errorf("got %+v, want the eviction policy", findings)
	}
	if err := p.rdb.Do(t.Context(), "ACL", "SETUSER", "guest", "on", ">pw", "~*", "&*", "+@all", "-config",
		"-info").Err(); err != nil {
		t.Fatal(err)
	}
	p.useRedis("redis://guest:pw@" + servers.Redis.Addr + "/0")
	findings, _, _ = p.doctor(cli.ExitOK, "-o", "json")
	if len(findings) != 1 || findings[0].Kind != "eviction_policy_unknown" || findings[0].Severity != doctor.Note {
		t.Errorf("got %+v, want a note", findings)
	}
	if findings := doctor.Settings("6.0.16", "noeviction"); len(findings) != 1 || findings[0].Kind != "redis_version" ||
		findings[0].Severity != doctor.Severe {
		t.Errorf("got %+v, want the version", findings)
	}
	if findings := doctor.Settings("7.0.15", "noeviction"); len(findings) != 0 {
		t.Errorf("got %+v, want nothing", findings)
	}
	servers.Stop()
	if _, _, said := p.doctor(cli.ExitUnavailable); !strings.Contains(said, "Redis") || strings.Contains(said, "pw") {
		t.Errorf("without Redis it says %q", said)
	}
}

// TestDoctorGoesOnWithoutAServer takes one server away, or lets it refuse to work, while something is wrong with the
// other.
func TestDoctorGoesOnWithoutAServer(t *testing.T) {
	t.Parallel()
	type place struct {
		*patient
		servers *sandbox.Servers
	}
	redis := func(p place, args ...any) {
		p.t.Helper()
		if err := p.rdb.Do(p.t.Context(), args...).Err(); err != nil {
			p.t.Fatalf("%v: %v", args, err)
		}
	}
	lessRights := func(p place) {
		p.db.Exec(p.t, "REVOKE SELECT (download_url) ON "+p.db.LMS+".certificates_generatedcertificate FROM "+p.account)
	}
	for name, tc := range map[string]struct {
		spoil func(p place)
		code  int
		kinds string
		says  string // of the first finding
	}{
		"Redis is away": {
			func(p place) { lessRights(p); p.servers.Redis.Stop() },
			cli.ExitUnavailable, "unreachable database_settings", "connecting to Redis",
		},
		"Redis is closed": {
			func(p place) { lessRights(p); redis(p, "CONFIG", "SET", "requirepass", "other") },
			cli.ExitConfiguration, "unreachable database_settings", "rejects the login",
		},
		"MySQL is away": {
			func(p place) { redis(p, "CONFIG", "SET", "maxmemory-policy", "allkeys-lru"); p.servers.MySQL.Stop() },
			cli.ExitUnavailable, "unreachable eviction_policy", "MySQL cannot be reached",
		},
		"both are away": {
			func(p place) { p.servers.Redis.Stop(); p.servers.MySQL.Stop() },
			cli.ExitUnavailable, "unreachable unreachable", "MySQL cannot be reached",
		},
		"Redis is full": {
			func(p place) { lessRights(p); redis(p, "CONFIG", "SET", "maxmemory", "1") },
			cli.ExitNotDone, "database_settings redis_refuses", "1143",
		},
		"Redis knows no script": {
			func(p place) { redis(p, "ACL", "SETUSER", "default", "-eval") },
			cli.ExitNotDone, "redis_refuses", "'eval' command",
		},
		"MySQL is read-only": {func(p place) {
			redis(p, "CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
			p.db.Exec(p.t, "SET GLOBAL read_only = 1")
		}, cli.ExitNotDone, "database_settings eviction_policy", "MySQL is read-only"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			servers := sandboxtest.OwnServers(t)
			p := place{
				newPatientOn(t, newShellOn(t, sandboxtest.On(t, servers.MySQL, lms.Mixed), servers.Redis.URL(0))),
				servers,
			}
			p.doctor(cli.ExitOK)
			tc.spoil(p)
			t.Cleanup(func() { _ = servers.MySQL.Start(context.WithoutCancel(t.Context())) }) // those that clean up need it
			findings, _, said := p.doctor(tc.code, "-o", "json")
			kinds := make([]string, len(findings))
			for i, f := range findings {
				kinds[i] = f.Kind
			}
			if strings.Join(kinds, " ") != tc.kinds || !strings.Contains(findings[0].Text, tc.says) || said == "" {
				t.Errorf("got %+v and %q, want %s", findings, said, tc.kinds)
			}
			if _, text, _ := p.doctor(tc.code); !strings.Contains(text, tc.says) {
				t.Errorf("it says\n%s", text)
			}
		})
	}
}

// TestDoctorComparesClocks looks from a machine whose own clock is wrong.
func TestDoctorComparesClocks(t *testing.T) {
	t.Parallel()
	db := sandboxtest.MySQL(t, lms.UTF8MB4)
	store, err := mysql.Open(mysql.Config{MySQL: config.MySQL{
		DSN:            config.NewSecret(db.RootDSN(db.Ledger)),
		ConnectTimeout: time.Second,
	}, LMS: config.LMS{Database: db.LMS}})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	for offset, want := range map[time.Duration]string{0: "", time.Hour: "behind", -time.Hour: "ahead of"} {
		d := &doctor.Doctor{
			Store: store, Redis: openTestRedis(t, sandboxtest.Redis(t)),
			Now: func() time.Time { return time.Now().Add(offset) },
		}
		findings, err := d.Clocks(t.Context(), "MySQL", "Redis")
		if err != nil || want == "" && len(findings) != 0 {
			t.Fatalf("%v: got %+v, %v", offset, findings, err)
		}
		if want == "" {
			continue
		}
		if len(findings) != 2 || findings[0].Subject != "MySQL" || findings[1].Subject != "Redis" {
			t.Fatalf("%v: got %+v, want one of each server", offset, findings)
		}
		for _, f := range findings {
			if f.Kind != "clock_skew" || f.Severity != doctor.Warn || !strings.Contains(f.Text, " s "+want+" this machine's") {
				t.Errorf("%v: got %+v, want %q", offset, f, want)
			}
		}
	}
}

func TestDoctorHelpAndBadInput(t *testing.T) {
	t.Parallel()
	p := &patient{shell: &shell{t: t}}
	_, out, _ := p.doctor(cli.ExitOK, "--help")
	for _, part := range []string{"Exit codes", "Examples:", "/readyz", "--fix"} {
		if !strings.Contains(out, part) {
			t.Errorf("--help does not speak of %s", part)
		}
	}
	if _, _, said := p.doctor(cli.ExitUsage, "--settle", "2s", "--grace", "-1s"); !strings.Contains(said, "--grace") {
		t.Errorf("got %q", said)
	}
}
