package main

import (
	"path/filepath"
	"testing"

	"github.com/spf13/cobra"

	"github.com/certpurge/certpurge/internal/cli"
	"github.com/certpurge/certpurge/internal/sandbox/sandboxtest"
)

// TestPagesNameCommandsThatExist reads the pages for operators.
func TestPagesNameCommandsThatExist(t *testing.T) {
	t.Parallel()
	pages := []string{"../README.md"}
	for _, pattern := range []string{"../docs/*.md", "../docs/operations/*.md"} {
		some, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		pages = append(pages, some...)
	}
	if found := sandboxtest.CheckCommands(t, func() *cobra.Command { return newCommand(cli.Streams{}) },
		pages...); found < 4 {
		t.Errorf("got %d commands", found)
	}
}
