package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/certpurge/certpurge/internal/cli"
)

func TestCommandLine(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]struct {
		code int
		says string
	}{
		"--help":           {cli.ExitOK, "Exit codes"},
		"site --help":      {cli.ExitOK, "Exit codes"},
		"help exit-codes":  {cli.ExitOK, "Exit codes of enqueuer and worker"},
		"--users 0":        {cli.ExitUsage, "--users"},
		"--users 1":        {cli.ExitUsage, "make demo"}, // beside a test's program there is no worker
		"healthcheck":      {cli.ExitUsage, "--url"},
		"purge everything": {cli.ExitUsage, "unknown command"},
	} {
		t.Run(line, func(t *testing.T) {
			t.Parallel()
			var out, errs bytes.Buffer
			code := cli.Execute(t.Context(), newCommand, cli.Streams{Out: &out, Err: &errs}, strings.Fields(line))
			if said := out.String() + errs.String(); code != want.code || !strings.Contains(said, want.says) {
				t.Errorf("got exit code %d and %q, want %d and %q", code, said, want.code, want.says)
			}
		})
	}
}
