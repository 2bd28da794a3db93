package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

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
	if found := sandboxtest.CheckCommands(t, build,
		append(pages(t), "../configs/prometheus/certpurge.rules.yml")...); found < 20 {
		t.Errorf("got %d commands in the other pages", found)
	}
}

// pages are all but the runbooks.
func pages(t *testing.T) []string {
	t.Helper()
	files := []string{"../README.md", "../CHANGELOG.md", "../CONTRIBUTING.md", "../SECURITY.md"}
	for _, pattern := range []string{"../docs/*.md", "../configs/*/README.md"} {
		found, err := filepath.Glob(pattern)
		if err != nil || len(found) < 2 {
			t.Fatalf("got %d pages %s, %v", len(found), pattern, err)
		}
		files = append(files, found...)
	}
	return files
}

// allPages are the pages with the runbooks and the decisions.
func allPages(t *testing.T) []string {
	t.Helper()
	deeper, err := filepath.Glob("../docs/*/*.md")
	if err != nil {
		t.Fatal(err)
	}
	return append(pages(t), deeper...)
}

// TestPagesAreNarrow leaves out tables, code blocks, and what is generated.
func TestPagesAreNarrow(t *testing.T) {
	t.Parallel()
	code := regexp.MustCompile("(?ms)^```.*?^```$")
	for _, page := range allPages(t) {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(code.ReplaceAllString(string(text), "")) {
			if utf8.RuneCountInString(line) > 121 && line[0] != '|' && filepath.Base(page) != "configuration.md" {
				t.Errorf("%s: more than 120 columns: %s", page, line)
			}
		}
	}
}

// TestREADMEIsShort holds the README to what a newcomer reads; details are in docs.
func TestREADMEIsShort(t *testing.T) {
	t.Parallel()
	const limit = 120
	text, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	if lines := strings.Count(string(text), "\n"); lines > limit {
		t.Errorf("README.md: got %d lines, want at most %d", lines, limit)
	}
}

func TestPagesLinkToWhatIsThere(t *testing.T) {
	t.Parallel()
	all := allPages(t)
	if found := sandboxtest.CheckLinks(t, all...); found < 120 {
		t.Errorf("got %d links in %d pages", found, len(all))
	}
}

// TestSecurityNamesTestsThatExist looks for the tests that hold the claims of docs/security.md.
func TestSecurityNamesTestsThatExist(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../docs/security.md")
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile("`(Test[A-Z][A-Za-z0-9]*)`").FindAllStringSubmatch(string(page), -1)
	if len(named) < 90 {
		t.Errorf("docs/security.md names %d tests", len(named))
	}
	defined := regexp.MustCompile(`(?m)^func (Test\w+)\(t \*testing\.T\)`)
	exist := map[string]bool{}
	err = filepath.WalkDir("..", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path) //nolint:gosec // of this repository
		for _, match := range defined.FindAllStringSubmatch(string(text), -1) {
			exist[match[1]] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, match := range named {
		if !exist[match[1]] {
			t.Errorf("docs/security.md names %s, which does not exist", match[1])
		}
	}
}

func TestLinksThatLeadNowhereAreFound(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	page := filepath.Join(dir, "page.md")
	for text, ok := range map[string]bool{
		"[it](page.md)": true, "[it](#races-told-step-by-step)": true, "[it](page.md#races-told-step-by-step)": true,
		"[it](https://example.org/nowhere)": true,
		"[it](pages.md)":                    false, "[it](#races)": false, "[it](../page.md)": false,
	} {
		if err := os.WriteFile(page, []byte("# Races, told step by step\n\n"+text+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		quiet := &failures{TB: t}
		if sandboxtest.CheckLinks(quiet, page); quiet.failed == ok {
			t.Errorf("%s: failed %v", text, quiet.failed)
		}
	}
}

func TestPagesWithMistakesAreFound(t *testing.T) {
	t.Parallel()
	for line, ok := range map[string]bool{
		"enqueuer": true, "enqueuer requeue --reason held --execute": true,
		"enqueuer report --since 2026-01-31 > january.csv": true,
		"enqueuer coverage --list | awk '{print $1}'":      true, "enqueuer -c enqueuer.yaml status 42  # a comment": true,
		"enqueuer --help": true, "enqueuer help watch": true,
		"enqueuer requeu --all": false, "enqueuer requeue --resaon held": false, "enqueuer status 42 43": false,
		"enqueuer doctor --grace soon": false,
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
