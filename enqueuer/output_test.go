package main

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/certpurge/certpurge/internal/cli"
	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/sandbox/sandboxtest"
)

// devFull is a file that has no room.
func devFull(tb testing.TB) *os.File {
	tb.Helper()
	file, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = file.Close() }) // the command has closed it
	return file
}

// TestNoCommandSucceedsOnAFullDisk runs every command that prints, in each of its formats.
func TestNoCommandSucceedsOnAFullDisk(t *testing.T) {
	t.Parallel()
	c := newShell(t)
	failed := c.failed(purge.ReasonHeld, 1)[0]
	done := c.db.AddRetiringUser(t, "done", "RETIRING_LMS")
	left := c.db.AddRetiringUser(t, "left", "COMPLETE")
	c.db.AddCertificate(t, sandboxtest.Certificate{UserID: left, DownloadUUID: strings.Repeat("a", 32)})
	c.run(cli.ExitOK, "enqueue", strconv.Itoa(done))
	c.end(done, purge.Report{State: purge.Done, Evidence: []purge.Evidence{{
		CertificateID: 1, Table: purge.Live, Outcome: purge.Erased,
		Generation: purge.Generation{
			Directory: purge.Directory{Bucket: "certs", Prefix: "downloads/"}, Name: "downloads/x", Number: 1, Size: 2,
		},
	}}})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("ready\n"))
	}))
	defer server.Close()

	commands := map[string][][]string{
		"backfill":        {{"--retired"}, {"--retired", "--execute"}},
		"config print":    {{}},
		"config validate": {{}},
		"coverage":        {{}, {"--list"}},
		"doctor":          {{}},
		"enqueue":         {{strconv.Itoa(done)}, {strconv.Itoa(done), "--wait"}},
		"failures":        {{}, {"--by-reason"}, {"--user", failed}},
		"healthcheck":     {{"--url", server.URL}},
		"migrate":         {{}},
		"notify":          {{}, {"--retry"}},
		"password":        {{"alice"}},
		"prune":           {{"--older-than", "365d"}},
		"reconcile":       {{}},
		"certificate":     {{strconv.Itoa(done)}},
		"report":          {{"--user", strconv.Itoa(done)}},
		"requeue":         {{"--all"}, {"--user", failed, "--execute"}},
		"status":          {{}, {failed}},
		"token":           {{"portal", "--rights", "read"}},
		"verify":          {{}},
		"version":         {{}},
		"watch":           {{"--once"}},
	}
	silent := map[string]string{
		"man": "writes files only", "serve": "logs to standard error only",
	}
	var walk func(cmd *cobra.Command, path []string)
	walk = func(cmd *cobra.Command, path []string) {
		for _, sub := range cmd.Commands() {
			walk(sub, append(slices.Clone(path), sub.Name()))
		}
		name := strings.Join(path, " ")
		if !cmd.Runnable() || silent[name] != "" {
			return
		}
		if commands[name] == nil {
			t.Errorf("%s is not tested", name)
		}
		formats := []string{""}
		if flag := cmd.Flags().Lookup("output"); flag != nil {
			formats = flag.Value.(interface{ Formats() []string }).Formats() //nolint:errcheck,forcetypeassert // all of that name are
		}
		for _, args := range append(commands[name], []string{"--help"}) {
			for _, format := range formats {
				line := append(slices.Clone(path), args...)
				if format != "" {
					line = append(line, "-o", format)
				}
				c.onFullDisk(line)
			}
		}
	}
	walk(newCommand(cli.Streams{}), nil)
	c.onFullDisk([]string{"report", "--since", "2020-01-01"})
	c.run(cli.ExitOK, "enqueue", failed, "--ticket", "PRIV-7")
	for _, format := range []string{"csv", "json", "text"} {
		c.onFullDisk([]string{"report", "--ticket", "PRIV-7", "-o", format})
	}
	c.onFullDisk([]string{"help"})
	c.onFullDisk([]string{"completion", "bash"})
}

// onFullDisk executes a command line whose output has no room.
func (c *shell) onFullDisk(args []string) {
	c.t.Helper()
	var errOut bytes.Buffer
	in := strings.NewReader("correct horse battery\n")
	streams := cli.Streams{In: in, Out: devFull(c.t), Err: &errOut, Environ: c.environ}
	got := cli.Execute(c.t.Context(), newCommand, streams, args)
	if got != cli.ExitFailure || !strings.Contains(errOut.String(), "no space left on device") {
		c.t.Errorf("enqueuer %v: got exit code %d, want %d; it says %q", args, got, cli.ExitFailure, errOut.String())
	}
}

// TestBinariesFailWithoutRoomForTheirOutput starts the real programs: nothing of a test stands between them and the
// file.
func TestBinariesFailWithoutRoomForTheirOutput(t *testing.T) {
	t.Parallel()
	enqueuer, worker := sandboxtest.Binaries(t)
	nothing, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer nothing.Close()
	for binary, config := range map[string]string{enqueuer: "../configs/enqueuer.yaml", worker: "../configs/worker.yaml"} {
		for _, args := range [][]string{{"version"}, {"--help"}, {"config", "print"}, {"completion", "fish"}} {
			run := func(out *os.File) (*os.ProcessState, string) {
				var errOut bytes.Buffer
				cmd := exec.CommandContext(t.Context(), binary, args...) //nolint:gosec // our own binary
				cmd.Env = []string{"CERTPURGE_MYSQL_DSN=u:p@tcp(h)/certpurge", "CERTPURGE_CONFIG=" + config}
				cmd.Stdout, cmd.Stderr = out, &errOut
				_ = cmd.Run() // the state tells
				return cmd.ProcessState, errOut.String()
			}
			if state, says := run(nothing); !state.Success() {
				t.Errorf("%s %v: got %v: %s", binary, args, state, says)
			}
			state, says := run(devFull(t))
			if state.ExitCode() != cli.ExitFailure || !strings.Contains(says, "no space left on device") {
				t.Errorf("%s %v > /dev/full: got %v: %s", binary, args, state, says)
			}
			read, write, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			_ = read.Close()
			if state, says := run(write); state.Success() {
				t.Errorf("%s %v into a closed pipe: got %v: %s", binary, args, state, says)
			}
			_ = write.Close()
		}
	}
}

// TestATerminalIsRecognised: the writer that commands get is not the file itself.
func TestATerminalIsRecognised(t *testing.T) {
	t.Parallel()
	terminal, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	for file, want := range map[*os.File]bool{terminal: true, devFull(t): false} {
		got := false
		build := func(s cli.Streams) *cobra.Command {
			return &cobra.Command{Use: "tool", Run: func(*cobra.Command, []string) { got = cli.IsTerminal(s.Out) }}
		}
		code := cli.Execute(t.Context(), build, cli.Streams{Out: file, Err: &bytes.Buffer{}}, nil)
		if code != cli.ExitOK || got != want {
			t.Errorf("%s: got %v and exit code %d, want %v", file.Name(), got, code, want)
		}
	}
}

// TestJSONIsSafeOnATerminal reports an object whose name would change what a terminal shows.
func TestJSONIsSafeOnATerminal(t *testing.T) {
	t.Parallel()
	c := newShell(t)
	user := c.db.AddRetiringUser(t, "Ada", "RETIRING_LMS")
	c.run(cli.ExitOK, "enqueue", strconv.Itoa(user))
	dir := purge.Directory{Bucket: "certs", Prefix: "downloads/"}
	c.end(
		user,
		purge.Report{State: purge.Failed, Reason: purge.ReasonHeld, Detail: "\u009b2J", Evidence: []purge.Evidence{{
			CertificateID: 1, Table: purge.Live, Outcome: purge.HeldBack,
			Generation: purge.Generation{Directory: dir, Name: "downloads/\u202efdp.exe", Number: 1, Size: 2},
		}}},
	)
	for _, args := range [][]string{{"report", "--user", strconv.Itoa(user)}, {"failures"}, {"status", strconv.Itoa(user)}} {
		out, _ := c.run(cli.ExitOK, append(args, "-o", "json")...)
		if strings.ContainsAny(out, "\u009b\u202e") || !strings.Contains(out, `\u009b`) && !strings.Contains(out, `\u202e`) {
			t.Errorf("%v: got %q", args, out)
		}
	}
}

// TestStatesAreColouredOnATerminal: nowhere else, and not where NO_COLOR is set; every word becomes as many bytes
// longer.
func TestStatesAreColouredOnATerminal(t *testing.T) {
	t.Parallel()
	terminal, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer terminal.Close()
	for name, tc := range map[string]struct {
		s    cli.Streams
		word string
		want string
	}{
		"failed":           {cli.Streams{Out: terminal}, "failed", "\x1b[31mfailed\x1b[0m"},
		"any other word":   {cli.Streams{Out: terminal}, "queued", "\x1b[39mqueued\x1b[0m"},
		"escaped":          {cli.Streams{Out: terminal}, "\x1b[2J", "\x1b[39m\"\\x1b[2J\"\x1b[0m"},
		"no terminal":      {cli.Streams{Out: &bytes.Buffer{}}, "failed", "failed"},
		"NO_COLOR":         {cli.Streams{Out: terminal, Environ: []string{"NO_COLOR=1"}}, "failed", "failed"},
		"NO_COLOR, empty":  {cli.Streams{Out: terminal, Environ: []string{"NO_COLOR="}}, "done", "\x1b[32mdone\x1b[0m"},
		"a dumb terminal":  {cli.Streams{Out: terminal, Environ: []string{"TERM=dumb"}}, "failed", "failed"},
		"another variable": {cli.Streams{Out: terminal, Environ: []string{"XNO_COLOR=1"}}, "ok", "\x1b[32mok\x1b[0m"},
	} {
		if got := string(tc.s.Paint(tc.word)); got != tc.want {
			t.Errorf("%s: got %q, want %q", name, got, tc.want)
		}
	}
}

// TestFormatsOfTables: each table has a header, and -o csv the same rows.
func TestFormatsOfTables(t *testing.T) {
	t.Parallel()
	c := newShell(t)
	users := c.failed(purge.ReasonHeld, 2)
	due := c.addDue(1)[0]
	for _, tc := range []struct {
		code int
		args []string
		want []string
	}{
		{cli.ExitOK, []string{"status"}, []string{"STATE", "REASON", "REQUESTS", "failed", "held", "QUEUE"}},
		{cli.ExitOK, []string{"status", "-o", "csv"}, []string{"state,reason,requests\nfailed,held,2\n"}},
		{cli.ExitOK, []string{"status", users[0], "-o", "csv"}, []string{"request_id,user_id,", "," + users[0] + ",", ",failed,\"cli, "}},
		{cli.ExitOK, []string{"failures", "--by-reason"}, []string{"REASON", "REQUESTS\n", "held", "2\n"}},
		{cli.ExitOK, []string{"failures", "--by-reason", "-o", "csv"}, []string{"reason,requests\nheld,2\n"}},
		{cli.ExitNotDone, []string{"coverage"}, []string{"STATE", "USERS", "never_requested"}},
		{cli.ExitNotDone, []string{"coverage", "-o", "csv"}, []string{"state,reason,users\n", "never_requested,,1\n"}},
		{cli.ExitNotDone, []string{"coverage", "--list"}, []string{"USER\tSTATE\tREASON\tREQUEST\n"}},
		{cli.ExitNotDone, []string{"coverage", "--list", "-o", "csv"}, []string{
			"user_id,state,reason,request_id\n", strconv.Itoa(due) + ",never_requested,,0\n",
		}},
		{cli.ExitOK, []string{"enqueue", strconv.Itoa(due), "-o", "csv"}, []string{
			"user_id,request_id,found,open,reason,ticket\n" + strconv.Itoa(due) + ",",
		}},
		{cli.ExitOK, []string{"failures", "--older-than", "1d", "-o", "csv"}, []string{"request_id,user_id"}},
	} {
		out, _ := c.run(tc.code, tc.args...)
		for _, part := range tc.want {
			if !strings.Contains(out, part) {
				t.Errorf("%v: got %q, want %q in it", tc.args, out, part)
			}
		}
	}
	if out, _ := c.run(cli.ExitOK, "failures", "--older-than", "1d", "-o", "csv"); strings.Contains(out, users[0]+",") {
		t.Errorf("a request that failed now is older than a day: %q", out)
	}
}

// TestEnqueueReadsIDs: "-" stands for the ids on standard input.
func TestEnqueueReadsIDs(t *testing.T) {
	t.Parallel()
	c := newShell(t)
	one, two := c.db.AddRetiringUser(t, "Ada", "RETIRING_LMS"), c.db.AddRetiringUser(t, "Bob", "RETIRING_LMS")
	if _, says := c.pipe(cli.ExitUsage, " \n", "enqueue", "-"); !strings.Contains(says, "standard input holds no user id") {
		t.Errorf("nothing on standard input: got %q", says)
	}
	if _, says := c.pipe(cli.ExitUsage, fmt.Sprintf("%d\nBob\n", one), "enqueue", "-"); !strings.Contains(says, "argument 2") {
		t.Errorf("a name on standard input: got %q", says)
	}
	c.run(cli.ExitNotKnown, "status", strconv.Itoa(one)) // no request after bad input
	c.pipe(cli.ExitOK, fmt.Sprintf("%d\n%d %d\n", one, two, one), "enqueue", "-")
	if len(c.requestsOf(one)) != 1 || len(c.requestsOf(two)) != 1 {
		t.Error("want one request for each user of standard input")
	}
}
