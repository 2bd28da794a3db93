// Command chaos runs the fault-injection suite: see package internal/sandbox/chaos.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/certpurge/certpurge/internal/sandbox/chaos"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop() // before os.Exit, which skips defers
	if err != nil {
		fmt.Fprintln(os.Stderr, "chaos:", err)
		os.Exit(1)
	}
}

// run reads the flags and plays one run.
func run(ctx context.Context, args []string, out, errs io.Writer) error {
	o := chaos.Options{Out: out, Err: errs}
	flags := flag.NewFlagSet("chaos", flag.ContinueOnError)
	flags.SetOutput(errs)
	flags.IntVar(&o.Users, "users", 10_000, "ordinary retiring users, beside the awkward ones")
	flags.Uint64Var(&o.Seed, "seed", 1, "of the site, the faults and their order")
	flags.DurationVar(&o.Bound, "bound", 15*time.Minute, "of the whole run")
	flags.IntVar(&o.Workers, "workers", 3, "worker processes")
	flags.StringVar(&o.Worker, "worker", "bin/worker", "path of the binary")
	flags.StringVar(&o.Enqueuer, "enqueuer", "bin/enqueuer", "path of the binary")
	flags.StringVar(&o.Logs, "logs", "", "existing directory for the logs of the processes")
	flags.StringVar(&o.Scenario, "scenario", chaos.Storm, "one of "+strings.Join(chaos.Scenarios(), ", "))
	faults := flags.String("faults", "", "of the storm: all (by default), or some, or all,-NAME for all but one, of "+
		strings.Join(chaos.Names(), ","))
	output := flags.String("o", "text", "text, or json: the report as one line on standard output")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 || *output != "text" && *output != "json" {
		return fmt.Errorf("reading the flags: expected no arguments, and -o text or json, got %q and -o %s", flags.Args(),
			*output)
	}
	o.JSON = *output == "json"
	if *faults != "" {
		o.Faults = strings.Split(*faults, ",")
	}
	_, err := chaos.Run(ctx, o)
	return err
}
