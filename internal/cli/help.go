package cli

import (
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"

	"github.com/certpurge/certpurge/internal/config"
)

// Groups of commands in the help of a program: the values of cobra.Command.GroupID.
const (
	GroupSubmit  = "submit"
	GroupMonitor = "monitor"
	GroupRepair  = "repair"
	GroupSetUp   = "setup"
)

// Exits are the exit codes of a command for its help, each with what it means there; an empty text means what it means
// for all commands.
type Exits map[int]string

// allExits are the exit codes of both programs.
var allExits = Exits{
	ExitOK:            "success",
	ExitFailure:       "something unexpected, or the output could not be written in full",
	ExitUsage:         "bad input; nothing was done",
	ExitNotDone:       "a request was refused, failed, waits for a date, or is done with\nfiles missing",
	ExitUnavailable:   "a server cannot be reached; repeating the command is safe",
	ExitConfiguration: "the configuration, a bucket or the ledger's version is wrong, or a right\nis missing",
	ExitTimeout:       "--timeout was over before the requests had ended",
	ExitCapped:        "--max-users was reached, and there are more (3 if a request was also\nnot done)",
	ExitNotKnown:      "the ledger holds no such request: it was never made",
	ExitNothing:       "the request exists, but there is nothing of it to print or to change",
	ExitInterrupted:   "interrupted by a signal; repeating the command is safe",
}

// String lists the codes, a line each, for the help of a command. The codes 0, 1, 2 and 130 belong to every command and
// are listed only where they mean something of their own.
func (e Exits) String() string {
	var b strings.Builder
	b.WriteString("Exit codes, beside those of every command (see help exit-codes):\n")
	e.write(&b)
	return strings.TrimSuffix(b.String(), "\n")
}

func (e Exits) write(w io.Writer) {
	for _, code := range slices.Sorted(maps.Keys(e)) {
		text := e[code]
		if text == "" {
			text = allExits[code]
		}
		_, _ = fmt.Fprintf(w, "  %-3d  %s\n", code, strings.ReplaceAll(text, "\n", "\n       "))
	}
}

// AddCommands gives a program its commands, by group, and what both programs have: the flags --config and --version,
// the help topic exit-codes, and the commands config, healthcheck, version and man. load and admin read the
// configuration.
func AddCommands(
	root *cobra.Command, s Streams, path *string, load func() (any, error), admin func() (config.Admin, error),
	groups map[string][]*cobra.Command,
) {
	root.Version = Version()
	root.SetVersionTemplate("{{.Version}}\n")
	root.SetUsageTemplate(strings.ReplaceAll(root.UsageTemplate(), ".FlagUsages", ".FlagUsagesWrapped 80"))
	configFlag(root, s.Environ, path)
	groups[GroupMonitor] = append(groups[GroupMonitor], HealthcheckCommand(s.Out, admin))
	groups[GroupSetUp] = append(groups[GroupSetUp], configCommand(s.Out, load), VersionCommand(s.Out))
	for _, group := range []*cobra.Group{
		{ID: GroupSubmit, Title: "Submit:"},
		{ID: GroupMonitor, Title: "Monitor:"},
		{ID: GroupRepair, Title: "Repair:"},
		{ID: GroupSetUp, Title: "Set up:"},
	} {
		for i, cmd := range groups[group.ID] {
			if i == 0 {
				root.AddGroup(group)
			}
			cmd.GroupID = group.ID
			root.AddCommand(cmd)
		}
	}
	root.SetCompletionCommandGroupID(GroupSetUp)
	root.SetHelpCommandGroupID(GroupSetUp)
	root.AddCommand(ManCommand(s.Environ), ExitCodesTopic())
}

// ExitCodesTopic is the help topic that Exits.String refers to.
func ExitCodesTopic() *cobra.Command {
	var table strings.Builder
	allExits.write(&table)
	return &cobra.Command{
		Use: "exit-codes", Short: "The exit codes of all commands",
		Long: "Exit codes of enqueuer and worker:\n" + table.String(),
	}
}

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
