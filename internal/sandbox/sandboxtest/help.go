package sandboxtest

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/certpurge/certpurge/internal/cli"
)

// CheckHelp prints the help of every command of a program and fails the test for lines of more than 80 columns, for a
// command in no group, and for one that needs a server and does not name its exit codes. alone are the commands that
// need none.
func CheckHelp(t *testing.T, build func(cli.Streams) *cobra.Command, alone ...string) {
	t.Helper()
	var walk func(cmd *cobra.Command, path ...string)
	walk = func(cmd *cobra.Command, path ...string) {
		var out, errs bytes.Buffer
		line := append(slices.Clone(path), "--help")
		if code := cli.Execute(t.Context(), build, cli.Streams{Out: &out, Err: &errs}, line); code != cli.ExitOK {
			t.Fatalf("%v: exit code %d: %s", line, code, errs.String())
		}
		help := out.String()
		for text := range strings.Lines(help) {
			if utf8.RuneCountInString(strings.TrimSuffix(text, "\n")) > 80 && !slices.Contains(path, "completion") { // cobra's
				t.Errorf("%v: a line of more than 80 columns: %s", line, text)
			}
		}
		named := strings.Contains(help, "Exit codes")
		if len(path) > 0 && cmd.Runnable() && !named && !slices.Contains(alone, path[0]) {
			t.Errorf("%v names no exit codes", line)
		}
		if len(path) == 1 && cmd.Runnable() && !cmd.Hidden && cmd.GroupID == "" && path[0] != "help" {
			t.Errorf("%v belongs to no group", line)
		}
		for _, sub := range cmd.Commands() {
			walk(sub, append(slices.Clone(path), sub.Name())...)
		}
	}
	walk(build(cli.Streams{Out: &bytes.Buffer{}, Err: &bytes.Buffer{}}))

	var out bytes.Buffer
	for _, line := range [][]string{{"--version"}, {"help", "exit-codes"}} {
		out.Reset()
		code := cli.Execute(t.Context(), build, cli.Streams{Out: &out, Err: &bytes.Buffer{}}, line)
		want := map[string]string{"--version": "certpurge ", "help": "130  interrupted"}[line[0]]
		if code != cli.ExitOK || !strings.Contains(out.String(), want) {
			t.Errorf("%v: exit code %d, got %q, want %q in it", line, code, out.String(), want)
		}
	}
	var errs bytes.Buffer
	name := build(cli.Streams{Out: &out, Err: &errs}).Name()
	cli.Execute(t.Context(), build, cli.Streams{Out: &out, Err: &errs}, []string{"healthcheck", "--fast"})
	if want := "(see " + name + " healthcheck --help)"; !strings.Contains(errs.String(), want) {
		t.Errorf("an unknown flag: got %q, want %q in it", errs.String(), want)
	}
}
