package main

import (
	"context"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/certpurge/certpurge/internal/queue/inspect"
)

const (
	// standstillInterval is how often a command that waits asks what the workers do, and standstillTime how long that may
	// take.
	standstillInterval = 2 * time.Second
	standstillTime     = 5 * time.Second
)

// followStandstill tells changed why no task of a queue is taken, at once and whenever that changes; empty when tasks
// are taken again. It does so until stop is called, which waits for its end.
func followStandstill(
	ctx context.Context, rdb redis.UniversalClient, queueName string, changed func(why string),
) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var following sync.WaitGroup
	following.Go(func() {
		ticker := time.NewTicker(standstillInterval)
		defer ticker.Stop()
		for told := ""; ; {
			why := standstill(ctx, rdb, queueName)
			if ctx.Err() != nil {
				return
			}
			if why != told {
				told = why
				changed(why)
			}
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
			}
		}
	})
	return func() { cancel(); following.Wait() }
}

// standstill says why no task of a queue is taken, or why that cannot be known.
func standstill(ctx context.Context, rdb redis.UniversalClient, queueName string) string {
	ctx, cancel := context.WithTimeout(ctx, standstillTime)
	defer cancel()
	why, err := inspect.Standstill(ctx, rdb, queueName)
	if err != nil {
		return "it cannot be seen whether workers pull tasks: " + err.Error()
	}
	return why
}

// standstillNotice is the line about it.
func standstillNotice(why string) string {
	if why == "" {
		return "tasks are taken again"
	}
	return "waiting: " + why
}
