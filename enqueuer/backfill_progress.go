package main

import (
	"context"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/certpurge/certpurge/internal/backfill"
	"github.com/certpurge/certpurge/internal/cli"
)

// progress shows how far a backfill is.
type progress struct {
	*cli.Progress

	// standstill watches whether workers take tasks; nil for a dry run.
	standstill func(ctx context.Context, changed func(why string)) (stop func())
}

func (a *app) newProgress() *progress { return &progress{Progress: cli.NewProgress(a.streams)} }

// start shows a status until it is stopped.
func (p *progress) start(ctx context.Context, status *backfill.Status) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	asked := make(chan os.Signal, 1) // for a line of progress
	signal.Notify(asked, syscall.SIGUSR1)
	stopFollowing := func() {}
	if p.standstill != nil {
		stopFollowing = p.standstill(ctx, func(why string) {
			status.SetStalled(why != "")
			p.Notice(standstillNotice(why))
		})
	}
	var showing sync.WaitGroup
	showing.Go(func() {
		ticker := time.NewTicker(showInterval)
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-asked:
				now := status.Now()
				p.Line(now.Part(), facts(now)...)
			case <-ticker.C:
				now := status.Now()
				p.Show(now.Part(), facts(now)...)
			}
		}
	})
	return func() {
		cancel()
		stopFollowing()
		signal.Stop(asked)
		showing.Wait()
		p.Clear()
	}
}

// showInterval is how often the status is read; Progress shows it less often where it writes lines.
const showInterval = 200 * time.Millisecond

// facts describes a snapshot, the most important facts first.
func facts(s backfill.Snapshot) []string {
	var facts []string
	if s.Stalled {
		facts = append(facts, "no task is taken")
	}
	facts = append(facts, numbers.Sprintf("%d submitted", s.Users))
	if s.Followed {
		if s.Ended.Missing > 0 {
			facts = append(facts, numbers.Sprintf("%d with files missing", s.Ended.Missing))
		}
		facts = append(facts, numbers.Sprintf("%d done", s.Ended.Done), numbers.Sprintf("%d refused", s.Ended.Refused),
			numbers.Sprintf("%d failed", s.Ended.Failed))
	}
	if s.Held {
		facts = append(facts, "queue full")
	}
	if left := s.Remaining(); left >= 0 && s.Part() < 1 {
		facts = append(facts, left.Round(time.Second).String()+" left")
	}
	facts = append(facts, numbers.Sprintf("%.0f/s", s.Rate()))
	if s.Followed && s.Ended.Waiting > 0 {
		facts = append(facts, numbers.Sprintf("%d wait for a date", s.Ended.Waiting))
	}
	return facts
}
