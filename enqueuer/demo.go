package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/certpurge/certpurge/internal/cli"
	"github.com/certpurge/certpurge/internal/sandbox/demo"
)

func newDemoCommand(a *app) *cobra.Command {
	o := demo.Options{Out: a.streams.Out, Err: a.streams.Err}
	var out *cli.Format
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Purge invented users on private servers, and check the result independently",
		Long: `demo shows the whole job on this machine: it starts a private MariaDB and Redis (installing them on Debian and Ubuntu
where they are missing) and an emulator of Cloud Storage, invents an Open edX site, runs this enqueuer and the worker
beside it, and then looks with queries and listings of its own whether everything of the retiring users is gone and
everything else is as it was. Nothing of this machine's own servers is touched, and nothing is left behind.
With CERTPURGE_TEST_SERVER=mysql in the environment, Oracle's MySQL takes MariaDB's place.

Exit code 0 only if the check holds.

` + cli.Exits{cli.ExitNotDone: "the check found a violation"}.String(),
		Example: "  enqueuer demo\n  enqueuer demo --users 100 -o json\n  enqueuer demo --keep",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.Users < 1 {
				return cli.Usage("--users: expected at least 1, is %d", o.Users)
			}
			o.JSON = *out == "json"
			o.Terminal = cli.IsTerminal(a.streams.Out)
			if o.JSON { // then people read the other stream
				o.Terminal = cli.IsTerminal(a.streams.Err)
			}
			var err error
			if o.Enqueuer, o.Worker, err = binaries(); err != nil {
				return err
			}
			_, err = demo.Run(cmd.Context(), o)
			return err
		},
	}
	f := cmd.Flags()
	f.IntVar(&o.Users, "users", 1000, "`NUMBER` of retiring users to invent, beside the awkward ones")
	f.Uint64Var(&o.Seed, "seed", 1, "seed of the invented site: the same one makes the same site")
	f.BoolVar(&o.Keep, "keep", false, "leave everything running until Ctrl-C, and say how to connect")
	out = cli.FormatFlag(cmd)
	cmd.AddCommand(newDemoSiteCommand(a))
	return cmd
}

// binaries finds this program and the worker beside it.
func binaries() (enqueuer, worker string, err error) {
	enqueuer, err = os.Executable()
	if err != nil {
		return "", "", fmt.Errorf("finding this program: %w", err)
	}
	worker = filepath.Join(filepath.Dir(enqueuer), "worker")
	if _, err := os.Stat(worker); err != nil {
		return "", "", cli.Usage("the demo needs the worker beside the enqueuer, but there is no %s: build both "+
			"with make build", worker)
	}
	return enqueuer, worker, nil
}
