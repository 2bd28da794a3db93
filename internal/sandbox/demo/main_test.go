package demo_test

import (
	"context"
	"fmt"
	"os"
	"testing"

	"github.com/certpurge/certpurge/internal/sandbox/demo"
	"github.com/certpurge/certpurge/internal/sandbox/sandboxtest"
)

// helperVariable makes this test binary a process that plays the demo with --keep and waits to be killed.
const helperVariable = "CERTPURGE_DEMO_HELPER"

func TestMain(m *testing.M) {
	if worker := os.Getenv(helperVariable); worker != "" {
		os.Exit(keepPlaying(worker))
	}
	os.Exit(sandboxtest.Main(m))
}

// keepPlaying prints the demo's output. It does not return until it is stopped.
func keepPlaying(worker string) int {
	_, err := demo.Run(context.Background(), demo.Options{
		Users: 1, Keep: true, Out: os.Stdout, Err: os.Stderr, Worker: worker, Enqueuer: os.Args[1],
	})
	fmt.Fprintln(os.Stderr, err)
	return 1
}
