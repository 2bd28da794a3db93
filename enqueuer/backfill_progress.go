package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"strings"
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
		ticker := time.NewTicker(p.Interval())
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-asked:
				p.Notice(line(status.Now(), 0))
			case <-ticker.C:
				now := status.Now()
				p.Show(func(width int) string { return line(now, width) })
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

// The width of the bar, where there is room for it.
const (
	narrowBar = 8
	wideBar   = 20
)

// line describes a snapshot in at most width characters; 0 means any number, and no bar. The least important parts come
// last, and are left out first.
func line(s backfill.Snapshot, width int) string {
	var parts []string
	if s.Stalled {
		parts = append(parts, "no task is taken")
	}
	parts = append(parts, numbers.Sprintf("%d submitted", s.Users))
	if s.Followed {
		if s.Ended.Missing > 0 {
			parts = append(parts, numbers.Sprintf("%d with files missing", s.Ended.Missing))
		}
		parts = append(parts, numbers.Sprintf("%d done", s.Ended.Done), numbers.Sprintf("%d refused", s.Ended.Refused),
			numbers.Sprintf("%d failed", s.Ended.Failed))
	}
	if s.Held {
		parts = append(parts, "queue full")
	}
	part := s.Part()
	if part >= 0 {
		parts = append(parts, fmt.Sprintf("%.0f%%", 100*part))
	}
	if left := s.Remaining(); left >= 0 && part < 1 {
		parts = append(parts, left.Round(time.Second).String()+" left")
	}
	parts = append(parts, numbers.Sprintf("%.0f/s", s.Rate()))
	if s.Followed && s.Ended.Waiting > 0 {
		parts = append(parts, numbers.Sprintf("%d wait for a date", s.Ended.Waiting))
	}
	text := strings.Join(parts, ", ")
	if width == 0 {
		return text
	}
	for len(parts) > 1 && len(text) > width {
		parts = parts[:len(parts)-1]
		text = strings.Join(parts, ", ")
	}
	bar := min(wideBar, width-len(text)-1)
	if part < 0 || bar < narrowBar {
		return text[:min(len(text), width)]
	}
	full := int(part * float64(bar))
	return strings.Repeat("█", full) + strings.Repeat("░", bar-full) + " " + text
}
