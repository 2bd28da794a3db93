package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/certpurge/certpurge/internal/backfill"
	"github.com/certpurge/certpurge/internal/cli"
	"github.com/certpurge/certpurge/internal/config"
	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/purge/purgetest"
	"github.com/certpurge/certpurge/internal/queue"
	"github.com/certpurge/certpurge/internal/queue/inspect"
	"github.com/certpurge/certpurge/internal/sandbox/lms"
	"github.com/certpurge/certpurge/internal/sandbox/sandboxtest"
)

// dump is everything that a dry run must leave as it is.
func (c *shell) dump() map[string]any {
	c.t.Helper()
	all := map[string]any{}
	for _, table := range []string{
		lms.Users, lms.RetirementStatus, lms.RetirementRequest, lms.Certificates, lms.History, c.db.Ledger + ".requests",
		c.db.Ledger + ".evidence_documents", c.db.Ledger + ".events",
	} {
		all[table] = c.db.DumpTable(c.t, table)
	}
	rdb, err := queue.NewRedis(config.Redis{URL: config.NewSecret(strings.TrimPrefix(c.environ[2],
		"CERTPURGE_REDIS_URL="))})
	if err != nil {
		c.t.Fatal(err)
	}
	defer rdb.Close()
	if all["redis"], err = rdb.DBSize(c.t.Context()).Result(); err != nil {
		c.t.Fatal(err)
	}
	return all
}

func (c *shell) backfillDepth() int {
	c.t.Helper()
	rdb, err := queue.NewRedis(config.Redis{URL: config.NewSecret(strings.TrimPrefix(c.environ[2],
		"CERTPURGE_REDIS_URL="))})
	if err != nil {
		c.t.Fatal(err)
	}
	defer rdb.Close()
	n, err := inspect.Waiting(c.t.Context(), rdb, queue.Backfill, time.Now())
	if err != nil {
		c.t.Fatal(err)
	}
	return n
}

func (c *shell) file(name, content string) string {
	c.t.Helper()
	path := filepath.Join(c.t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		c.t.Fatal(err)
	}
	return path
}

// cast adds some of each kind of user, and returns those who are to be purged.
func (c *shell) cast() (due []int, others map[string]int) {
	c.t.Helper()
	due, others = c.addDue(3), map[string]int{}
	reference := func(user int) {
		c.db.AddCertificate(c.t, sandboxtest.Certificate{UserID: user, DownloadUUID: purgetest.DownloadID})
	}
	others["pending"] = c.db.AddRetiringUser(c.t, "pending", "PENDING")
	others["web"] = c.db.AddRetiringUser(c.t, "web", "COMPLETE")
	others["bystander"] = c.db.AddUser(c.t, "bystander")
	reference(others["pending"])
	reference(others["bystander"])
	history := c.db.AddUser(c.t, "history")
	c.db.AddRetirementRequest(c.t, history)
	c.db.AddHistory(c.t, sandboxtest.HistoryRow{
		Certificate:   sandboxtest.Certificate{UserID: history, DownloadUUID: "odd"},
		CertificateID: 9999,
	})
	return append(due, history), others
}

func TestADryRunSaysWhatItWouldDoAndChangesNothing(t *testing.T) {
	t.Parallel()
	c := newShell(t)
	due, others := c.cast()
	c.run(cli.ExitOK, "enqueue", strconv.Itoa(due[1]))
	c.end(due[1], purge.Report{State: purge.Failed, Reason: purge.ReasonHeld})
	before := c.dump()

	out, _ := c.run(cli.ExitOK, "backfill", "--retired", "--rate", "2")
	for _, want := range []string{
		"retired users of " + c.db.LMS, "4 would be requested: 3 new, 1 failed before", "4 certificates, with up to 12 files",
		"at least 1 references from which no file",
		fmt.Sprintf("%d, %d, %d", due[0], due[1], due[2]), "2s at --rate 2",
		"of 6 retirement requests: 1 not eligible, 0 of other dates, 1 without references",
		"nothing was changed (use --execute)",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("retired: it says\n%s\nwant %q", out, want)
		}
	}
	list := c.file("users.csv", fmt.Sprintf("user_id\n%d\n%d\n%d\n%d\n%d\n", due[0], others["pending"],
		others["bystander"], others["web"], due[0]))
	out, _ = c.run(cli.ExitOK, "backfill", "--users", list)
	for _, want := range []string{
		"4 would be requested: 4 new", "2 as not_retiring, such as " +
			fmt.Sprintf("%d, %d", others["pending"], others["bystander"]), "nothing to purge  1",
		"1 certificates, with up to 4 files", "1 ids were listed more than once",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("a list: it says\n%s\nwant %q", out, want)
		}
	}
	out, _ = c.run(cli.ExitOK, "backfill", "--retired", "--max-users", "2", "-o", "json")
	var plan planned
	if err := json.Unmarshal([]byte(out), &plan); err != nil || plan.Executed || plan.Users != 2 || !plan.Capped ||
		plan.Certificates != 2 {
		t.Errorf("json: got %+v, %v", plan, err)
	}
	if diff := cmp.Diff(before, c.dump()); diff != "" {
		t.Errorf("something was changed (-before +after):\n%s", diff)
	}
}

func TestBackfillAsksForAllRetired(t *testing.T) {
	t.Parallel()
	c := newShell(t)
	due, others := c.cast()
	out, _ := c.run(cli.ExitOK, "backfill", "--retired", "--execute")
	if !strings.Contains(out, "4 users requested in ") || !strings.Contains(out, ": 4 new") {
		t.Errorf("got %q", out)
	}
	for _, user := range due {
		if rows := c.requestsOf(user); len(rows) != 1 || rows[0].Source != purge.SourceBackfill {
			t.Errorf("user %d: got %+v", user, rows)
		}
	}
	if live, bulk := c.depth().Pending, c.backfillDepth(); live != 0 || bulk != 4 || c.perUser() != 4 {
		t.Errorf("got %d tasks in the queue of live requests and %d in that of backfills", live, bulk)
	}
	c.db.Exec(t, "UPDATE "+c.db.LMS+"."+lms.RetirementStatus+" SET created = '2024-05-01' WHERE user_id = ?",
		others["pending"])
	c.db.MoveTo(t, others["pending"], "COMPLETE")
	for since, want := range map[string]string{"2024-05-02": "0 users", "2024-05-01T00:00:00Z": "1 users"} {
		if out, _ := c.run(cli.ExitOK, "backfill", "--retired", "--since", since, "--execute", "--queue",
			"purge"); !strings.Contains(out, want) {
			t.Errorf("since %s: got %q", since, out)
		}
	}
	if got := c.depth().Pending; got != 1 {
		t.Errorf("got %d tasks in the queue purge", got)
	}
	out, _ = c.run(cli.ExitOK, "backfill", "--retired", "--execute", "-o", "json")
	var done backfilled
	if err := json.Unmarshal([]byte(out), &done); err != nil || !done.Executed || !done.Complete || done.Users != 5 ||
		done.Found[purge.Found(purge.Queued)] != 5 {
		t.Errorf("again: got %+v, %v", done, err)
	}
}

func TestBackfillBadInputIsOneSentenceAndAsksForNobody(t *testing.T) {
	t.Parallel()
	c := newShell(t)
	a := strconv.Itoa(c.addDue(1)[0])
	good := c.file("good", a+"\n")
	other := c.file("other", "certificates\n")
	for name, tc := range map[string]struct {
		args []string
		want []string
	}{
		"no source": {nil, []string{"exactly one of", "none was given"}},
		"two sources": {
			[]string{"--retired", "--users", good},
			[]string{"exactly one of", "--retired and --users were given"},
		},
		"retired=false": {[]string{"--retired=false"}, []string{"exactly one of"}},
		"an argument":   {[]string{a}, []string{"unknown command"}},
		"no file name":  {[]string{"--users", ""}, []string{"--users", "name of a file"}},
		"no such file": {
			[]string{"--users", good + "x"},
			[]string{"--users", "no such file", "nothing was enqueued"},
		},
		"a directory": {[]string{"--users", filepath.Dir(good)}, []string{"is a directory, expected a file"}},
		"an empty file": {
			[]string{"--users", c.file("empty", "")},
			[]string{"it holds no user id", "nothing was enqueued"},
		},
		"a binary file": {
			[]string{"--users", c.file("binary", a+"\n\x00\x01\n")},
			[]string{"line 2 is not text"},
		},
		"id 0 at the end": {
			[]string{"--users", c.file("zero", a+"\n0\n")},
			[]string{`line 2: "0" is not a user id`, "nothing was enqueued"},
		},
		"2^31": {
			[]string{"--users", c.file("large", "2147483648\n")},
			[]string{`"2147483648" is not a user id`},
		},
		"a user that is not there": {
			[]string{"--users", c.file("unknown", a+"\n999999\n")},
			[]string{"line 2: the LMS has no user 999999"},
		},
		"no header": {
			[]string{"--users", c.file("header", a+",x\n")},
			[]string{"line 1: expected a user id, a CSV header"},
		},
		"dates of a list": {[]string{"--users", good, "--since", "2024-01-01"}, []string{"belong to --retired"}},
		"no date":         {[]string{"--retired", "--since", "soon"}, []string{`--since: "soon"`}},
		"dates the wrong way round": {
			[]string{"--retired", "--since", "2024-01-02", "--until", "2024-01-02"},
			[]string{"--since must be before --until"},
		},
		"negative rate": {[]string{"--retired", "--rate", "-1"}, []string{"--rate"}},
		"no rate":       {[]string{"--retired", "--rate", "fast"}, []string{"--rate"}},
		"cap of 0":      {[]string{"--retired", "--max-users", "0"}, []string{"--max-users"}},
		"more without a checkpoint": {
			[]string{"--retired", "--max-users", "1", "--more-is-ok"},
			[]string{"--more-is-ok belongs to"},
		},
		"more without a cap": {[]string{"--retired", "--checkpoint", c.file("none", ""), "--more-is-ok"}, []string{"belongs to --max-users"}},
		"high water of 0":    {[]string{"--retired", "--high-water", "0"}, []string{"--high-water"}},
		"unknown queue":      {[]string{"--retired", "--queue", "fast"}, []string{`"fast"`, "purge or backfill"}},
		"other file as checkpoint": {
			[]string{"--retired", "--checkpoint", other},
			[]string{"is no checkpoint of this program"},
		},
		"directory as checkpoint": {[]string{"--retired", "--checkpoint", filepath.Dir(other)}, []string{"is no checkpoint"}},
		"empty checkpoint name":   {[]string{"--retired", "--checkpoint", ""}, []string{"--checkpoint"}},
		"unknown format":          {[]string{"--retired", "-o", "xml"}, []string{"text or json"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			args := append([]string{"backfill", "--execute"}, tc.args...)
			out, said := (&shell{t: t, environ: c.environ}).run(cli.ExitUsage, args...)
			for _, part := range tc.want {
				if !strings.Contains(said, part) {
					t.Errorf("got %q, want it to say %q", said, part)
				}
			}
			if out != "" {
				t.Errorf("it prints %q", out)
			}
		})
	}
	c.run(cli.ExitUsage, "backfill", "--retired", "--wait")
	t.Cleanup(func() {
		if got, err := os.ReadFile(other); err != nil || string(got) != "certificates\n" {
			t.Errorf("the other file was changed: %q, %v", got, err)
		}
	})
	t.Cleanup(func() {
		if rows, err := c.store.Tallies(context.WithoutCancel(t.Context())); err != nil || len(rows) > 0 {
			t.Errorf("requests were made: %v, %v", rows, err)
		}
	})
}

// pipe runs a command that reads standard input.
func (c *shell) pipe(want int, in string, args ...string) (stdout, stderr string) {
	c.t.Helper()
	var out, errOut bytes.Buffer
	root := newCommand(cli.Streams{In: strings.NewReader(in), Out: &out, Err: &errOut, Environ: c.environ})
	if got := cli.Run(c.t.Context(), root, args, &errOut); got != want {
		c.t.Errorf("%v: got exit code %d, want %d; it says:\n%s%s", args, got, want, out.String(), errOut.String())
	}
	return out.String(), errOut.String()
}

func TestBackfillOfAPipe(t *testing.T) {
	t.Parallel()
	c := newShell(t)
	users := c.addDue(4)
	list := fmt.Sprintf("%d\n%d\n%d\n", users[0], users[1], users[2])
	if out, _ := c.pipe(cli.ExitOK, list, "backfill", "--users", "-"); !strings.Contains(out, "3 would be requested") {
		t.Errorf("dry run: got %q", out)
	}
	if _, said := c.pipe(cli.ExitUsage, list, "backfill", "--users", "-", "--execute", "--checkpoint",
		filepath.Join(t.TempDir(), "c")); !strings.Contains(said, "--checkpoint needs a file") {
		t.Errorf("with a checkpoint: got %q", said)
	}
	if _, said := c.pipe(cli.ExitUsage, "0\n"+list, "backfill", "--users", "-", "--execute"); !strings.Contains(said,
		"line 1") ||
		!strings.Contains(said, "nothing was enqueued") {
		t.Errorf("bad from the start: got %q", said)
	}
	if _, said := c.pipe(cli.ExitUsage, "", "backfill", "--users", "-", "--execute"); !strings.Contains(said,
		"it holds no user id") {
		t.Errorf("nothing: got %q", said)
	}
	out, said := c.pipe(cli.ExitFailure, list+"bob\n"+strconv.Itoa(users[3])+"\n", "backfill", "--users", "-", "--execute")
	if !strings.Contains(said, "standard input: ") || !strings.Contains(said, "line 4: ") ||
		!strings.Contains(said, "the 3 users before it were requested") || strings.Contains(said, "bob") ||
		!strings.Contains(out, "3 users requested") {
		t.Errorf("bad in the middle: got %q and %q", out, said)
	}
	if got := c.perUser(); got != 3 {
		t.Errorf("got %d requests", got)
	}
	if out, _ := c.pipe(cli.ExitOK, list+strconv.Itoa(users[3]), "backfill", "--users", "-",
		"--execute"); !strings.Contains(out,
		"1 new, 3 queued already") {
		t.Errorf("fixed: got %q", out)
	}
}

func TestBackfillInSlices(t *testing.T) {
	t.Parallel()
	c := newShell(t)
	c.addMany(1300)
	checkpoint := filepath.Join(t.TempDir(), "checkpoint.json")
	args := []string{"backfill", "--retired", "--execute", "--max-users", "600", "--checkpoint", checkpoint}
	if _, said := c.run(cli.ExitCapped, args[:5]...); !strings.Contains(said,
		"with --checkpoint FILE; without one, each run begins at the start") {
		t.Errorf("without a checkpoint it says %q", said)
	}
	for n, want := range []int{600, 1200} {
		_, said := c.run(cli.ExitCapped, args...)
		if got := c.perUser(); got != want || !strings.Contains(said, "there are more") ||
			!strings.Contains(said, "--checkpoint "+checkpoint) {
			t.Errorf("night %d: got %d requests, it says %q", n+1, got, said)
		}
	}
	if _, said := c.run(cli.ExitUsage, "backfill", "--retired", "--until", "2020-01-01", "--execute", "--checkpoint",
		checkpoint); !strings.Contains(said, "another backfill") {
		t.Errorf("with other dates: got %q", said)
	}
	if out, _ := c.run(cli.ExitOK, "backfill", "--retired", "--checkpoint", checkpoint); !strings.Contains(out,
		"100 would be requested") {
		t.Errorf("a dry run of the rest: got %q", out)
	}
	if out, _ := c.run(cli.ExitOK, args...); !strings.Contains(out, "100 users requested") ||
		!strings.Contains(out, "1,200 were requested by earlier runs") {
		t.Errorf("the last night: got %q", out)
	}
	if out, _ := c.run(cli.ExitOK, args...); out != "1,300 users were requested by earlier runs; nothing is left\n" ||
		c.perUser() != 1300 {
		t.Errorf("the night after: got %q", out)
	}
}

// TestBackfillInSlicesOfACronJob: for Kubernetes, an end at --max-users is a success, and it says that there are more.
func TestBackfillInSlicesOfACronJob(t *testing.T) {
	t.Parallel()
	c := newShell(t)
	c.addMany(5)
	args := []string{
		"backfill", "--retired", "--execute", "--max-users", "3", "--more-is-ok", "--checkpoint",
		filepath.Join(t.TempDir(), "checkpoint.json"),
	}
	if _, said := c.run(cli.ExitOK, args...); c.perUser() != 3 || !strings.Contains(said, "there are more") {
		t.Errorf("got %d requests, it says %q", c.perUser(), said)
	}
	if _, said := c.run(cli.ExitOK, args...); c.perUser() != 5 || strings.Contains(said, "there are more") {
		t.Errorf("the second night: got %d requests, it says %q", c.perUser(), said)
	}
}

// process starts the real enqueuer.
func (c *shell) process(args ...string) (cmd *exec.Cmd, said *sandboxtest.Buffer) {
	c.t.Helper()
	binary, _ := sandboxtest.Binaries(c.t)
	said = &sandboxtest.Buffer{}
	cmd = exec.CommandContext(c.t.Context(), binary, args...) //nolint:gosec // our own binary
	cmd.Env, cmd.Stdout, cmd.Stderr = c.environ, said, said
	if err := cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	return cmd, said
}

// TestAKilledBackfillGoesOn kills the process three times, each time in the middle of a batch, and lets it go on.
func TestAKilledBackfillGoesOn(t *testing.T) {
	t.Parallel()
	const users = 6600
	for name, blocked := range map[string]func(n int) int{
		"retired": func(n int) int { return n },
		"users":   func(n int) int { return users + 1 - n },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newShell(t)
			c.addMany(users)
			source := []string{"--retired"}
			if name == "users" { // the other way round
				var list strings.Builder
				for n := users; n > 0; n-- {
					fmt.Fprintln(&list, n)
				}
				source = []string{"--users", c.file("users", list.String())}
			}
			checkpoint := filepath.Join(t.TempDir(), "checkpoint.json")
			args := append([]string{"backfill", "--execute", "--checkpoint", checkpoint}, source...)
			for _, n := range []int{2700, 4400, 6100} {
				release := c.block(purge.DefaultKey(purge.UserID(blocked(n))))
				killed, said := c.process(args...)
				sandboxtest.Eventually(t, "the batches before are written down", func() bool {
					content, err := os.ReadFile(checkpoint)
					return err == nil && strings.Contains(string(content), fmt.Sprintf(`"users":%d,`, n/backfillBatch*backfillBatch))
				})
				if err := killed.Process.Kill(); err != nil {
					t.Fatal(err)
				}
				if err := killed.Wait(); err == nil {
					t.Errorf("killed before user %d: it ended well: %s", n, said)
				}
				release()
			}
			if out, _ := c.run(cli.ExitOK, args...); !strings.Contains(out, "were requested by earlier runs") {
				t.Errorf("got %q", out)
			}
			if got := c.perUser(); got != users {
				t.Errorf("got %d requests, want one for each of %d users", got, users)
			}
		})
	}
}

// TestAStoppedBackfillSaysHowToGoOn presses Ctrl-C, and asks how far it is before.
func TestAStoppedBackfillSaysHowToGoOn(t *testing.T) {
	t.Parallel()
	c := newShell(t)
	c.addMany(2000)
	checkpoint := filepath.Join(t.TempDir(), "checkpoint.json")
	cmd, said := c.process("backfill", "--retired", "--execute", "--checkpoint", checkpoint, "--high-water", "1200")
	sandboxtest.Eventually(t, "the queue is full", func() bool { return c.backfillDepth() == 1200 })
	sandboxtest.Eventually(t, "it says how far it is", func() bool {
		if err := cmd.Process.Signal(syscall.SIGUSR1); err != nil {
			t.Fatal(err)
		}
		return strings.Contains(said.String(), "60%: no task is taken, 1,200 submitted, queue full")
	})
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil || cmd.ProcessState.ExitCode() != cli.ExitInterrupted {
		t.Errorf("got %v", err)
	}
	if got := said.String(); !strings.Contains(got, "1,200 users requested") ||
		!strings.Contains(got, "to continue, repeat the command with --checkpoint "+checkpoint) {
		t.Errorf("got %q", got)
	}
}

// TestAFullDiskStopsTheBackfill cannot write a single byte into its checkpoint.
func TestAFullDiskStopsTheBackfill(t *testing.T) {
	t.Parallel()
	c := newShell(t)
	c.addMany(10)
	binary, _ := sandboxtest.Binaries(t)
	var said bytes.Buffer
	cmd := exec.CommandContext(t.Context(), "sh", "-c", //nolint:gosec // our own binary
		`ulimit -f 0; exec "$@"`, "sh", binary, "backfill", "--retired", "--execute",
		"--checkpoint", filepath.Join(t.TempDir(), "checkpoint.json"))
	cmd.Env, cmd.Stdout, cmd.Stderr = c.environ, &said, &said
	err := cmd.Run()
	if cmd.ProcessState.ExitCode() != cli.ExitFailure || !strings.Contains(said.String(), "writing the checkpoint: ") ||
		c.perUser() != 0 {
		t.Errorf("got %v, %q, %d requests; want it to stop before the first", err, said.String(), c.perUser())
	}
}

func TestBackfillWaitsForTheEnds(t *testing.T) {
	t.Parallel()
	c := newShell(t)
	users := c.addDue(4)
	stop := make(chan struct{})
	var worker sync.WaitGroup
	worker.Go(func() { // ends whatever is there
		ticker := time.NewTicker(20 * time.Millisecond)
		defer ticker.Stop()
		for {
			select {
			case <-stop:
				return
			case <-ticker.C:
			}
			for i, user := range users {
				reports := []purge.Report{
					{State: purge.Failed, Reason: purge.ReasonHeld},
					{State: purge.Refused, Reason: purge.ReasonNotRetiring},
					{State: purge.Queued, Reason: purge.ReasonRetained, NotBefore: time.Now().Add(time.Hour)},
					{State: purge.Failed, Reason: purge.ReasonGaveUp},
				}
				for _, row := range c.db.DumpTable(t, c.db.Ledger+".requests") {
					if row["user_id"] == strconv.Itoa(user) && row["state"] == "queued" && row["not_before"] == "" {
						c.end(user, reports[i])
					}
				}
			}
		}
	})
	if _, said := c.run(cli.ExitNotDone, "backfill", "--retired", "--execute", "--wait", "--max-users",
		"1"); !strings.Contains(said, "there are more") {
		t.Errorf("capped, and one has failed: it says %q", said)
	}
	out, said := c.run(cli.ExitNotDone, "backfill", "--retired", "--execute", "--wait", "-o", "json")
	close(stop)
	worker.Wait()
	var got backfilled
	want := backfill.Ended{Refused: 1, Failed: 2, Waiting: 1}
	if err := json.Unmarshal([]byte(out), &got); err != nil || got.Ended == nil || *got.Ended != want ||
		!strings.Contains(said, "not done: 4 of 4") {
		t.Errorf("got %s, %v and %q; want %+v", out, err, said, want)
	}
}

func TestProgressNamesTheMostImportantFactsFirst(t *testing.T) {
	t.Parallel()
	at := func(s backfill.Snapshot) backfill.Snapshot { s.Elapsed = 100 * time.Second; return s }
	submitting := at(backfill.Snapshot{Users: 12_345, Share: 0.25})
	following := at(backfill.Snapshot{
		Users: 12_345, Share: 0.5, Followed: true, Held: true,
		Ended: backfill.Ended{Done: 6000, Refused: 3, Failed: 1, Waiting: 2},
	})
	standing, onlySubmitting := following, submitting
	standing.Stalled, onlySubmitting.Stalled = true, true
	for name, tc := range map[string]struct {
		s    backfill.Snapshot
		want string
	}{
		"submitting": {submitting, "12,345 submitted, 5m0s left, 123/s"},
		"following": {following, "12,345 submitted, 6,000 done, 3 refused, 1 failed, queue full, 5m11s left, 123/s, " +
			"2 wait for a date"},
		"standing": {standing, "no task is taken, 12,345 submitted, 6,000 done, 3 refused, 1 failed, queue full, 123/s, " +
			"2 wait for a date"},
		"standing, only submitting": {onlySubmitting, "no task is taken, 12,345 submitted, 5m0s left, 123/s"},
		"unknown share":             {at(backfill.Snapshot{Users: 10, Share: -1}), "10 submitted, 0/s"},
	} {
		if got := strings.Join(facts(tc.s), ", "); got != tc.want {
			t.Errorf("%s: got %q, want %q", name, got, tc.want)
		}
	}
}
