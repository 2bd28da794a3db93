package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/term"

	"github.com/certpurge/certpurge/internal/sandbox/demo"
)

func main() {
	n := flag.Int("users", 1000, "")
	keep := flag.Bool("keep", false, "")
	j := flag.Bool("json", false, "")
	seed := flag.Uint64("seed", 1, "")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	_, err := demo.Run(ctx, demo.Options{Users: *n, Keep: *keep, JSON: *j, Out: os.Stdout, Err: os.Stderr, Terminal: term.IsTerminal(1), Enqueuer: "/tmp/demo-bin/enqueuer", Worker: "/tmp/demo-bin/worker", Seed: *seed})
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}
