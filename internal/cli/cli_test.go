package cli_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/spf13/cobra"

	"github.com/certpurge/certpurge/internal/cli"
)

// fullAfter is a disk with room for so many bytes, and for more after the first write that failed.
type fullAfter struct {
	bytes.Buffer

	room int
}

func (f *fullAfter) Write(data []byte) (int, error) {
	n, _ := f.Buffer.Write(data[:min(len(data), f.room)])
	f.room -= n
	if n < len(data) {
		f.room = 100 // another program has removed a file
		return n, syscall.ENOSPC
	}
	return n, nil
}

func TestOutputThatIsNotCompleteIsAFailure(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		room int
		run  func(s cli.Streams) error
		want int
		says string
	}{
		"whole": {8, func(s cli.Streams) error {
			_, err := fmt.Fprint(s.Out, "12345678")
			return err
		}, cli.ExitOK, ""},
		"a write that was not checked": {4, func(s cli.Streams) error {
			_, _ = fmt.Fprint(s.Out, "12345678")
			return nil
		}, cli.ExitFailure, "tool: the output is not complete: no space left on device\n"},
		"a write that was checked, marked as trouble with a server": {4, func(s cli.Streams) error {
			_, err := fmt.Fprint(s.Out, "12345678")
			return cli.Unavailable(fmt.Errorf("reading the ledger: %w", err))
		}, cli.ExitFailure, "tool: the output is not complete: no space left on device\n"},
		"before an end of another kind": {4, func(s cli.Streams) error {
			_, _ = fmt.Fprint(s.Out, "12345678")
			return &cli.Error{Code: cli.ExitNotDone, Err: errors.New("not done: 1 of 2")}
		}, cli.ExitFailure, "tool: not done: 1 of 2\ntool: the output is not complete: no space left on device\n"},
		"room again": {4, func(s cli.Streams) error {
			_, _ = fmt.Fprint(s.Out, "12345678")
			_, _ = fmt.Fprint(s.Out, "9")
			return nil
		}, cli.ExitFailure, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			disk, errs := &fullAfter{room: tc.room}, &bytes.Buffer{}
			build := func(s cli.Streams) *cobra.Command {
				return &cobra.Command{Use: "tool", RunE: func(*cobra.Command, []string) error { return tc.run(s) }}
			}
			if got := cli.Execute(t.Context(), build, cli.Streams{Out: disk, Err: errs}, nil); got != tc.want {
				t.Errorf("got exit code %d, want %d", got, tc.want)
			}
			if tc.says != "" && errs.String() != tc.says {
				t.Errorf("it says %q, want %q", errs.String(), tc.says)
			}
			if want := "12345678"[:tc.room]; disk.String() != want {
				t.Errorf("got %q, want %q and nothing behind the gap", disk.String(), want)
			}
		})
	}
}

func TestTroubleWithALocalFileIsNotUnavailability(t *testing.T) {
	t.Parallel()
	_, missing := os.Open(filepath.Join(t.TempDir(), "missing"))
	renamed := os.Rename(filepath.Join(t.TempDir(), "a"), filepath.Join(t.TempDir(), "b"))
	full := &fs.PathError{Op: "write", Path: "checkpoint", Err: syscall.ENOSPC}
	for _, err := range []error{missing, renamed, fmt.Errorf("writing the checkpoint: %w", full)} {
		if got := cli.ExitCode(cli.Unavailable(err)); got != cli.ExitFailure {
			t.Errorf("%v: got exit code %d, want %d", err, got, cli.ExitFailure)
		}
	}
	if got := cli.ExitCode(cli.Unavailable(errors.New("connection refused"))); got != cli.ExitUnavailable {
		t.Errorf("a server: got exit code %d, want %d", got, cli.ExitUnavailable)
	}
}

func TestHelpAndCompletionsAreOutput(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{
		{"--help"},
		{"help"},
		{"help", "sub"},
		{"sub", "--help"},
		{},
		{"completion"},
		{"completion", "bash"},
		{"completion", "zsh"},
		{"completion", "fish"},
		{"completion", "powershell"},
		{"__complete", "s"},
		{"version"},
	} {
		t.Run(strings.Join(args, " "), func(t *testing.T) {
			t.Parallel()
			build := func(s cli.Streams) *cobra.Command {
				root := &cobra.Command{Use: "tool", Short: "Do it"}
				sub := &cobra.Command{Use: "sub", Short: "Do a part", Run: func(*cobra.Command, []string) {}}
				root.AddCommand(sub, cli.VersionCommand(s.Out))
				return root
			}
			errs := &bytes.Buffer{}
			if got := cli.Execute(t.Context(), build, cli.Streams{Out: &fullAfter{}, Err: errs}, args); got != cli.ExitFailure {
				t.Errorf("on a full disk: got exit code %d, want %d; it says %s", got, cli.ExitFailure, errs)
			}
			out := &bytes.Buffer{}
			got := cli.Execute(t.Context(), build, cli.Streams{Out: out, Err: errs}, args)
			if got != cli.ExitOK || out.Len() == 0 {
				t.Errorf("got exit code %d and %q", got, out)
			}
		})
	}
}

// TestAMissingFlagIsBadInput: cobra checks required flags and groups of flags after the hook that marks the start.
func TestAMissingFlagIsBadInput(t *testing.T) {
	t.Parallel()
	build := func(cli.Streams) *cobra.Command {
		root := &cobra.Command{Use: "tool"}
		sub := &cobra.Command{Use: "sub", Run: func(*cobra.Command, []string) {}}
		sub.Flags().String("name", "", "a name")
		_ = sub.MarkFlagRequired("name")
		root.AddCommand(sub)
		return root
	}
	errs := &bytes.Buffer{}
	code := cli.Execute(t.Context(), build, cli.Streams{Out: &bytes.Buffer{}, Err: errs}, []string{"sub"})
	if code != cli.ExitUsage || !strings.Contains(errs.String(), "(see tool sub --help)") {
		t.Errorf("got exit code %d and %q, want %d and the command whose help explains it", code, errs, cli.ExitUsage)
	}
}
