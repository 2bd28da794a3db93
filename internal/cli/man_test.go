package cli_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/spf13/cobra"

	"github.com/certpurge/certpurge/internal/cli"
)

func TestManualPagesAreTheSameEachTime(t *testing.T) {
	t.Parallel()
	pages := map[string][]byte{}
	for range 2 {
		dir := filepath.Join(t.TempDir(), "man")
		root := &cobra.Command{Use: "tool", Short: "Do it"}
		root.AddCommand(
			&cobra.Command{Use: "sub", Short: "Do a part", Run: func(*cobra.Command, []string) {}},
			cli.ManCommand([]string{"SOURCE_DATE_EPOCH=1700000000"}),
		)
		if code := cli.Run(t.Context(), root, []string{"man", dir}, os.Stderr); code != cli.ExitOK {
			t.Fatalf("got exit code %d", code)
		}
		for _, name := range []string{"tool.1", "tool-sub.1"} {
			page, err := os.ReadFile(filepath.Join(dir, name))
			if err != nil || !bytes.Contains(page, []byte("Nov 2023")) {
				t.Errorf("%s: got %.200s, %v, want the date of SOURCE_DATE_EPOCH", name, page, err)
			}
			if before, ok := pages[name]; ok && !bytes.Equal(before, page) {
				t.Errorf("%s differs between two runs", name)
			}
			pages[name] = page
		}
	}
	root := &cobra.Command{Use: "tool"}
	root.AddCommand(cli.ManCommand([]string{"SOURCE_DATE_EPOCH=today"}))
	if code := cli.Run(t.Context(), root, []string{"man", t.TempDir()}, &bytes.Buffer{}); code != cli.ExitUsage {
		t.Errorf("a wrong date: got exit code %d, want %d", code, cli.ExitUsage)
	}
}
