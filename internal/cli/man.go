package cli

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

// ManCommand writes the manual pages of all commands into a directory. It is for packagers: SOURCE_DATE_EPOCH, where it
// is set, is the date on the pages, so that they are the same bytes each time.
func ManCommand(environ []string) *cobra.Command {
	return &cobra.Command{
		Use: "man DIRECTORY", Short: "Write the manual pages", Hidden: true, Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			date := time.Now().UTC()
			for _, e := range environ {
				if value, ok := strings.CutPrefix(e, "SOURCE_DATE_EPOCH="); ok {
					seconds, err := strconv.ParseInt(value, 10, 64)
					if err != nil {
						return Usage("SOURCE_DATE_EPOCH: expected seconds since 1970")
					}
					date = time.Unix(seconds, 0).UTC()
				}
			}
			if err := os.MkdirAll(args[0], 0o755); err != nil { //nolint:gosec // manual pages are readable by all users
				return fmt.Errorf("making the directory of the manual pages: %w", err)
			}
			root := cmd.Root()
			root.DisableAutoGenTag = true
			header := &doc.GenManHeader{Section: "1", Date: &date, Source: "certpurge", Manual: "certpurge"}
			if err := doc.GenManTree(root, header, args[0]); err != nil {
				return fmt.Errorf("writing the manual pages: %w", err)
			}
			return nil
		},
	}
}
