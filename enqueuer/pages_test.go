package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/spf13/cobra"

	"github.com/certpurge/certpurge/internal/cli"
	"github.com/certpurge/certpurge/internal/sandbox/sandboxtest"
)

func build() *cobra.Command { return newCommand(cli.Streams{}) }

// TestPagesNameCommandsThatExist reads the runbooks, what alerts say, and the other pages for operators.
func TestPagesNameCommandsThatExist(t *testing.T) {
	t.Parallel()
	runbooks, err := filepath.Glob("../docs/operations/*.md")
	if err != nil {
		t.Fatal(err)
	}
	if found := sandboxtest.CheckCommands(t, build, runbooks...); found < 40 {
		t.Errorf("got %d commands in %d runbooks", found, len(runbooks))
	}
	others, err := filepath.Glob("../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	if found := sandboxtest.CheckCommands(t, build, append(others, "../README.md", "../CHANGELOG.md", "../configs/prometheus/certpurge.rules.yml")...); found < 20 {
		t.Errorf("got %d commands in the other pages", found)
	}
}

func TestPagesWithMistakesAreFound(t *testing.T) {
	t.Parallel()
	for line, ok := range map[string]bool{
		"enqueuer": true, "enqueuer requeue --reason held --execute": true, "enqueuer report --since 2026-01-31 > january.csv": true,
		"enqueuer coverage --list | awk '{print $1}'": true, "enqueuer -c enqueuer.yaml status 42  # a comment": true, "enqueuer --help": true, "enqueuer help watch": true,
		"enqueuer requeu --all": false, "enqueuer requeue --resaon held": false, "enqueuer status 42 43": false, "enqueuer doctor --settle soon": false,
	} {
		page := filepath.Join(t.TempDir(), "page.md")
		if err := os.WriteFile(page, []byte("Run this:\n\n```console\n$ "+line+"\n```\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		quiet := &failures{TB: t}
		if found := sandboxtest.CheckCommands(quiet, build, page); found != 1 || quiet.failed == ok {
			t.Errorf("%s: got %d commands, failed %v", line, found, quiet.failed)
		}
	}
}

// failures is a test that only remembers whether it has failed.
type failures struct {
	testing.TB

	failed bool
}

func (f *failures) Errorf(string, ...any) { f.failed = true }
