// Command demo purges invented users on private servers with the real worker and enqueuer, and checks the result: see
// package internal/sandbox/demo. It is no part of what is shipped.
package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/certpurge/certpurge/internal/cli"
	"github.com/certpurge/certpurge/internal/config"
	"github.com/certpurge/certpurge/internal/sandbox/demo"
)

func main() { cli.Main(newCommand) }

func newCommand(s cli.Streams) *cobra.Command {
	o := demo.Options{Out: s.Out, Err: s.Err}
	var out *cli.Format
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Purge invented users on private servers, and check the result independently",
		Long: `demo shows the whole job on this machine. It starts a private MariaDB and Redis
(on Debian and Ubuntu it installs them where they are missing) and an emulator
of Cloud Storage, and invents an Open edX site. It runs the worker and the
enqueuer that are in its own directory. Then it checks with queries and
listings of its own that everything of the retiring users is gone and that
everything else is unchanged. It does not touch the servers of this machine
and leaves nothing behind.

CERTPURGE_TEST_SERVER=mysql in the environment chooses Oracle's MySQL instead
of MariaDB.

` + cli.Exits{cli.ExitOK: "the check holds", cli.ExitFailure: "the check found a violation"}.String(),
		Example: "  demo\n  demo --users 100 -o json\n  demo --keep",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.Users < 1 {
				return cli.Usage("--users: expected at least 1, is %d", o.Users)
			}
			o.JSON = *out == "json"
			people := s.Out
			if o.JSON {
				people = s.Err
			}
			o.Terminal = cli.IsTerminal(people)
			var err error
			if o.Enqueuer, o.Worker, err = binaries(); err != nil {
				return err
			}
			_, err = demo.Run(cmd.Context(), o)
			return err
		},
	}
	usersFlags(cmd, &o.Users, &o.Seed)
	cmd.Flags().BoolVar(&o.Keep, "keep", false, "leave everything running until Ctrl-C, and say how to connect")
	out = cli.FormatFlag(cmd)
	noConfiguration := func() (config.Admin, error) { return config.Admin{}, cli.Usage("--url is missing") }
	cmd.AddCommand(newSiteCommand(s), cli.HealthcheckCommand(s.Out, noConfiguration), cli.ExitCodesTopic())
	return cmd
}

// usersFlags adds the flags that choose the invented site.
func usersFlags(cmd *cobra.Command, users *int, seed *uint64) {
	cmd.Flags().IntVar(users, "users", 1000, "`NUMBER` of retiring users to invent, beside the awkward ones")
	cmd.Flags().Uint64Var(seed, "seed", 1, "seed of the invented site: the same seed makes the same site")
}

// binaries returns the paths of the enqueuer and the worker, which are in the directory of this program.
func binaries() (enqueuer, worker string, err error) {
	self, err := os.Executable()
	if err != nil {
		return "", "", fmt.Errorf("finding this program: %w", err)
	}
	dir := filepath.Dir(self)
	enqueuer, worker = filepath.Join(dir, "enqueuer"), filepath.Join(dir, "worker")
	for _, path := range []string{enqueuer, worker} {
		if _, err := os.Stat(path); err != nil {
			return "", "", cli.Usage("the demo needs worker and enqueuer in its directory, but there is no %s: "+
				"run it with make demo", path)
		}
	}
	return enqueuer, worker, nil
}
