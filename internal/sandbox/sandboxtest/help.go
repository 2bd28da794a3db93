package sandboxtest

import (
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/spf13/cobra"
)

// CheckHelp prints the help of every command of a program and fails the test for lines of more than 80 columns, for a
// command in no group, and for one that needs a server and does not name its exit codes. alone are the commands that
// need none. run runs a command line and returns its exit code and its outputs.
func CheckHelp(
	t *testing.T, root *cobra.Command, run func(args ...string) (code int, stdout, stderr string), alone ...string,
) {
	t.Helper()
	var walk func(cmd *cobra.Command, path ...string)
	walk = func(cmd *cobra.Command, path ...string) {
		line := append(slices.Clone(path), "--help")
		code, help, errs := run(line...)
		if code != 0 {
			t.Fatalf("%v: exit code %d: %s", line, code, errs)
		}
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
	walk(root)

	for _, line := range [][]string{{"--version"}, {"help", "exit-codes"}} {
		code, out, _ := run(line...)
		want := map[string]string{"--version": "certpurge ", "help": "130  interrupted"}[line[0]]
		if code != 0 || !strings.Contains(out, want) {
			t.Errorf("%v: exit code %d, got %q, want %q in it", line, code, out, want)
		}
	}
	_, _, errs := run("healthcheck", "--fast")
	if want := "(see " + root.Name() + " healthcheck --help)"; !strings.Contains(errs, want) {
		t.Errorf("an unknown flag: got %q, want %q in it", errs, want)
	}
}
