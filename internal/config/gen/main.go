// Command gen writes docs/configuration.md from the comments of the fields in internal/config, so that what a key means
// is said in one place. Run it with go generate ./internal/config.
package main

import (
	"fmt"
	"os"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}

// run is called by go generate in the directory of the package that it reads.
func run(args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("give the file to write, got %d arguments", len(args))
	}
	page, err := render(".")
	if err != nil {
		return fmt.Errorf("rendering %s: %w", args[0], err)
	}
	if err := os.WriteFile(args[0], page, 0o644); err != nil { //nolint:gosec // Documentation is public.
		return fmt.Errorf("writing the page: %w", err)
	}
	return nil
}
