// Unpack downloads Debian packages with all that they depend on, unpacks them into a directory of the given name below
// the user's cache directory, unless it is there, and prints its path:
//
//	go run ./internal/sandbox/cmd/unpack docker docker.io iptables
//
// The packages are those of the machine's release; with -newest they are those of Debian's unstable, and complete: what
// the machine has installed does not count. Nothing is installed, and no service starts.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/certpurge/certpurge/internal/sandbox"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "unpack:", err)
		os.Exit(1)
	}
}

var errUsage = errors.New("usage: unpack [-newest] NAME PACKAGES")

func run(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("unpack", flag.ContinueOnError)
	newest := flags.Bool("newest", false, "packages of Debian's unstable, complete")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() < 2 {
		return errUsage
	}
	unpack := sandbox.Unpack
	if *newest {
		unpack = sandbox.UnpackNewest
	}
	tree, err := unpack(ctx, os.Stderr, flags.Arg(0), flags.Args()[1:]...)
	if err != nil {
		return err
	}
	fmt.Println(tree.Root)
	return nil
}
