package chaos

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/sandbox"
)

// exitConfiguration is how a worker ends that finds, at its start, a bucket or a right missing.
const exitConfiguration = 5

// fleet keeps a number of workers running, as a supervisor does.
type fleet struct {
	run    *run
	slots  []*slot
	cancel context.CancelFunc
	keeps  sync.WaitGroup
}

// slot is the place of one worker.
type slot struct {
	name string

	mu     sync.Mutex
	worker *sandbox.Child // nil between two
	sent   os.Signal      // to this worker, by us
}

func (r *run) startFleet(ctx context.Context) *fleet {
	f := &fleet{run: r}
	ctx, f.cancel = context.WithCancel(ctx)
	for i := range r.Workers {
		s := &slot{name: fmt.Sprintf("worker-%d", i+1)}
		f.slots = append(f.slots, s)
		f.keeps.Go(func() { f.keep(ctx, s) })
	}
	return f
}

// stop ends all workers and waits for them.
func (f *fleet) stop() {
	f.cancel()
	f.keeps.Wait()
}

// keep starts a worker whenever there is none, until ctx ends.
func (f *fleet) keep(ctx context.Context, s *slot) {
	for ctx.Err() == nil {
		p, err := f.run.startWorker(s.name)
		if err != nil {
			f.run.tally.violate("%v", err)
			return
		}
		s.set(p)
		select {
		case <-p.Gone():
		case <-ctx.Done():
			s.terminate(p, f.run.tally)
		}
		f.judge(ctx, s, p)
		s.set(nil)
	}
}

// judge looks at how a worker ended.
func (f *fleet) judge(ctx context.Context, s *slot, p *sandbox.Child) {
	s.mu.Lock()
	sent := s.sent
	s.mu.Unlock()
	f.run.tally.restarts.Add(1)
	state, err := p.Exit()
	switch {
	case sent == os.Kill:
	case sent == syscall.SIGTERM && (err == nil || unborn(p)):
	case state.ExitCode() == exitConfiguration: // a supervisor tries again, a little later
		purge.Sleep(ctx, 500*time.Millisecond)
	case sent != nil:
		f.run.tally.violate("%s ended with %v after %v: %s", s.name, err, sent, lastLine(p))
	default:
		f.run.tally.violate("%s ended by itself with %v: %s", s.name, err, lastLine(p))
		purge.Sleep(ctx, 500*time.Millisecond)
	}
}

// unborn reports whether SIGTERM met the process before its first line: no program handles signals yet then.
func unborn(p *sandbox.Child) bool {
	state, _ := p.Exit()
	status, ok := state.Sys().(syscall.WaitStatus)
	return ok && status.Signal() == syscall.SIGTERM && len(p.Output()) == 0
}

// lastLine is the last line of a process's output.
func lastLine(p *sandbox.Child) []byte {
	text := p.Output()
	return text[bytes.LastIndexByte(text, '\n')+1:]
}

func (s *slot) set(p *sandbox.Child) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.worker, s.sent = p, nil
}

// terminate asks the worker to stop and waits for that.
func (s *slot) terminate(p *sandbox.Child, b *tally) {
	s.mu.Lock()
	s.sent = syscall.SIGTERM
	s.mu.Unlock()
	if err := p.Stop(); errors.Is(err, sandbox.ErrKilled) {
		s.mu.Lock()
		s.sent = os.Kill
		s.mu.Unlock()
		b.violate("%v", err)
	}
}

// signal kills or stops a worker and waits until it has gone. It reports false if there was none.
func (f *fleet) signal(ctx context.Context, number int, sig os.Signal) bool {
	s := f.slots[number]
	s.mu.Lock()
	p := s.worker
	if p == nil || s.sent != nil {
		s.mu.Unlock()
		purge.Sleep(ctx, 20*time.Millisecond)
		return false
	}
	s.sent = sig
	s.mu.Unlock()
	if sig == os.Kill {
		p.Kill()
	} else {
		s.terminate(p, f.run.tally)
	}
	return true
}
