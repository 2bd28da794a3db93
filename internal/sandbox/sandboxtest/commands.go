package sandboxtest

import (
	"io"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

var (
	fence  = regexp.MustCompile("(?s)```.*?```")
	inline = regexp.MustCompile("`([^`]+)`")
	spaces = regexp.MustCompile(`\s+`)
	// templated is what an alert fills in.
	templated = regexp.MustCompile(`\{\{.*?\}\}`)
	// ends are where a command line ends for the program: a comment, a pipe, a redirection, another command.
	ends = regexp.MustCompile(`\s+#\s.*|\s+[|>&;].*|;$`)
)

// CheckCommands looks into pages for command lines of a program, in code blocks and between backticks, and fails the
// test for each that the program would not understand: commands, flags and the number of arguments. It returns how many
// there were.
func CheckCommands(tb testing.TB, build func() *cobra.Command, files ...string) (found int) {
	tb.Helper()
	name := build().Name()
	for _, file := range files {
		for _, line := range commandLines(read(tb, file), name) {
			found++
			if err := understands(build(), strings.Fields(line)[1:]); err != nil {
				tb.Errorf("%s: %q: %v", file, line, err)
			}
		}
	}
	return found
}

// commandLines returns the lines of a page that call a program.
func commandLines(page, name string) (lines []string) {
	call := regexp.MustCompile(`^(?:\$ )?(?:[A-Z_]+=\S+ )*(?:bin/)?(` + name + `(?: [a-z-].*)?)$`)
	page = templated.ReplaceAllString(page, "x")
	var all []string
	for _, block := range fence.FindAllString(page, -1) {
		all = append(all, strings.Split(block, "\n")...)
	}
	for _, span := range inline.FindAllStringSubmatch(fence.ReplaceAllString(page, ""), -1) {
		all = append(all, spaces.ReplaceAllString(span[1], " "))
	}
	for _, line := range all {
		if match := call.FindStringSubmatch(strings.TrimSpace(line)); match != nil {
			lines = append(lines, ends.ReplaceAllString(match[1], ""))
		}
	}
	return lines
}

// understands asks the program, without running it.
func understands(root *cobra.Command, args []string) error {
	root.InitDefaultHelpCmd()
	cmd, rest, err := root.Find(args)
	if err != nil {
		return err
	}
	cmd.InitDefaultHelpFlag()
	if err := cmd.ParseFlags(rest); err != nil {
		return err
	}
	if len(rest) == 0 {
		return nil // a mention of the command, without its arguments
	}
	if err := cmd.ValidateArgs(cmd.Flags().Args()); err != nil {
		return err
	}
	return cmd.ValidateFlagGroups()
}

// Promtool runs Prometheus's promtool, which make rules says the place of, and fails the test if that is not content.
func Promtool(tb testing.TB, dir string, stdin io.Reader, args ...string) {
	tb.Helper()
	path := os.Getenv("CERTPURGE_TEST_PROMTOOL")
	if path == "" {
		tb.Fatal("CERTPURGE_TEST_PROMTOOL is not set: run make rules")
	}
	cmd := exec.CommandContext(tb.Context(), path, args...) //nolint:gosec // what the maker of the test wants
	cmd.Dir, cmd.Stdin = dir, stdin
	if output, err := cmd.CombinedOutput(); err != nil {
		tb.Errorf("promtool %q: %v\n%s", args, err, output)
	}
}
