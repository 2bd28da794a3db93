//go:build unix

package main

import (
	"os"
	"os/signal"
	"syscall"
)

// askedForLines receives a signal on request for a line of progress (SIGUSR1).
func askedForLines() (asked <-chan os.Signal, stop func()) {
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGUSR1)
	return c, func() { signal.Stop(c) }
}
