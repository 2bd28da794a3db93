package sandbox

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"time"
)

const (
	startTimeout = 30 * time.Second       // a loaded machine needs a few seconds at worst
	pollEvery    = 5 * time.Millisecond   // between two attempts to connect to a server that starts
	attemptLimit = 500 * time.Millisecond // for one attempt to connect
)

// server is a server program that can be started and stopped again and again.
type server struct {
	name    string                          // in errors, and of its files
	dir     string                          // where its log and pid file are
	command func() *exec.Cmd                // a fresh command for each start
	ready   func(ctx context.Context) error // nil once the server answers

	mu   sync.Mutex
	live *Child // nil when stopped
}

// Start starts the server and waits until it answers. It is for a server that was stopped or killed; a running one is
// an error.
func (s *server) Start(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.live != nil {
		select {
		case <-s.live.Gone():
		default:
			return fmt.Errorf("starting %s: it is running", s.name)
		}
	}
	live, err := StartChild(s.dir, s.name, "", s.command())
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, startTimeout, errors.New("it does not answer in time"))
	defer cancel()
	if err := s.awaitReady(ctx, live); err != nil {
		live.Kill()
		return fmt.Errorf("starting %s: %w", s.name, err)
	}
	s.live = live
	return nil
}

// Stop asks the server to end and waits until its process is gone, by force if it must. Stopping a stopped server is
// fine.
func (s *server) Stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.live != nil {
		_ = s.live.Stop() // it is gone in any case
		s.live = nil
	}
}

// Restart stops and starts the server, at the same address.
func (s *server) Restart(ctx context.Context) error {
	s.Stop()
	return s.Start(ctx)
}

// Signal sends sig to the server. After os.Kill it waits until the process is gone, so that Start can follow at once.
func (s *server) Signal(sig os.Signal) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.live == nil {
		return fmt.Errorf("signalling %s: it is stopped", s.name)
	}
	if err := s.live.cmd.Process.Signal(sig); err != nil {
		return fmt.Errorf("signalling %s: %w", s.name, err)
	}
	if sig == os.Kill {
		<-s.live.gone
	}
	return nil
}

// run runs a command of the server to its end, such as the one that fills a new data directory.
func (s *server) run(ctx context.Context, cmd *exec.Cmd) error {
	live, err := StartChild(s.dir, s.name, "", cmd)
	if err != nil {
		return err
	}
	return live.Wait(ctx)
}

func (s *server) awaitReady(ctx context.Context, live *Child) error {
	for {
		attempt, cancel := context.WithTimeout(ctx, attemptLimit)
		last := s.ready(attempt)
		cancel()
		if last == nil {
			return nil
		}
		if err := live.Pause(ctx, pollEvery); err != nil && ctx.Err() != nil {
			return fmt.Errorf("%w (last answer: %w)\n%s", err, last, live.Output())
		} else if err != nil {
			return err
		}
	}
}
