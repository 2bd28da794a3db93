package main

import (
	"bytes"
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
	c := newConsole(t)
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
		"doctor":          {{"--settle", "1ms"}},
		"enqueue":         {{strconv.Itoa(done)}, {strconv.Itoa(done), "--wait"}},
		"failures":        {{}, {"--by-reason"}, {"--user", failed}},
		"healthcheck":     {{"--url", server.URL}},
		"migrate":         {{}},
		"password":        {{"alice"}},
		"reconcile":       {{}},
		"report":          {{"--user", strconv.Itoa(done)}, {"--since", "2020-01-01"}},
		"requeue":         {{"--all"}, {"--user", failed, "--execute"}},
		"status":          {{}, {failed}},
		"token":           {{"portal", "--rights", "read"}},
		"version":         {{}},
		"watch":           {{"--once"}},
	}
	silent := map[string]string{
		"demo": "starts this program, whose path a test binary cannot give it", "demo site": "the same",
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
	c.onFullDisk([]string{"help"})
	c.onFullDisk([]string{"completion", "bash"})
}

// onFullDisk executes a command line whose output has no room.
func (c *console) onFullDisk(args []string) {
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
	c := newConsole(t)
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
