package main

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/certpurge/certpurge/internal/cli"
	"github.com/certpurge/certpurge/internal/sandbox/sandboxtest"
)

// TestNoCommandSucceedsOnAFullDisk runs every command that prints.
func TestNoCommandSucceedsOnAFullDisk(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	user := s.addUser()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("ready\n"))
	}))
	defer server.Close()
	commands := map[string][]string{
		"worker --help": {"--help"}, "worker config print": {"config", "print"},
		"worker config validate": {"config", "validate"}, "worker healthcheck": {"healthcheck", "--url", server.URL},
		"worker version": {"version"}, "worker locations": {"locations", "--sample", "0"}, "worker check": {"check"},
		"worker plan": {"plan", fmt.Sprint(user)}, "worker inventory": {"inventory"},
	}
	silent := map[string]string{"worker": "logs to standard error only", "worker man": "writes files only"}
	var walk func(cmd *cobra.Command)
	walk = func(cmd *cobra.Command) {
		for _, sub := range cmd.Commands() {
			walk(sub)
		}
		if name := cmd.CommandPath(); cmd.Runnable() && silent[name] == "" && commands[name] == nil {
			t.Errorf("%s is not tested", name)
		}
	}
	walk(newCommand(cli.Streams{}))
	for name, args := range commands {
		full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		var errOut bytes.Buffer
		environ := append(s.environ(), "CERTPURGE_CONFIG="+s.writeConfig())
		got := cli.Execute(t.Context(), newCommand, cli.Streams{Out: full, Err: &errOut, Environ: environ}, args)
		if got != cli.ExitFailure || !strings.Contains(errOut.String(), "no space left on device") {
			t.Errorf("%s: got exit code %d, want %d; it says %q", name, got, cli.ExitFailure, errOut.String())
		}
	}
}

func TestHelp(t *testing.T) {
	t.Parallel()
	run := func(args ...string) (int, string, string) {
		var out, errs bytes.Buffer
		code := cli.Execute(t.Context(), newCommand, cli.Streams{Out: &out, Err: &errs}, args)
		return code, out.String(), errs.String()
	}
	sandboxtest.CheckHelp(t, newCommand(cli.Streams{}), run, "completion", "version", "man", "config")
}
