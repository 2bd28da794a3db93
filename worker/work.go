package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/certpurge/certpurge/internal/mysql"
	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/queue"
	"github.com/certpurge/certpurge/internal/queue/presence"
)

// work pulls tasks while everything that a purge needs is available, until ctx ends. A misconfiguration at the start is
// returned; a later one pauses the worker, so that no request fails because of it.
func (w *worker) work(ctx context.Context) error {
	handler := w.newHandler()
	for first := true; ; first = false {
		if err := w.await(ctx, first); err != nil || ctx.Err() != nil {
			return err
		}
		w.present.Set(presence.Pulling, "")
		w.log.InfoContext(ctx, "pulling tasks", slog.Int("concurrency", w.cfg.Queue.Concurrency))
		serving, pause := context.WithCancelCause(ctx)
		var beside sync.WaitGroup
		beside.Go(func() { w.watch(serving, pause) })
		beside.Go(func() { w.readOwners(serving) })
		beside.Go(func() { w.anchorEvidence(serving) })
		beside.Go(func() { w.newReconciler().Run(serving) })
		err := queue.Serve(serving, w.redis, w.cfg.Queue, handler, w.log)
		pause(nil)
		beside.Wait()
		if err != nil {
			w.log.ErrorContext(ctx, "pulling tasks failed", slog.Any("error", err))
		}
	}
}

// await returns when every check has passed. It waits while a server cannot be reached, and logs each problem once.
func (w *worker) await(ctx context.Context, first bool) error {
	w.walk = nil
	if first {
		w.walk = func(ctx context.Context) error { return w.store.WalkOwners(ctx, ownersAgain, w.logWalk) }
	}
	return w.health.Await(ctx,
		func(ctx context.Context) error {
			if first { // later, a location may be empty because everything was purged
				return w.checkAll(ctx, false)
			}
			return w.check(ctx)
		},
		func(err error) bool { return first && purge.ClassOf(err) == purge.Misconfigured },
		func(err error) {
			w.present.Set(presence.Paused, err.Error())
			w.log.ErrorContext(ctx, "worker paused", slog.Any("error", err))
		})
}

// check tests everything that all users need, and that may change while the worker runs.
func (w *worker) check(ctx context.Context) error { return w.checkAll(ctx, true) }

func (w *worker) checkAll(ctx context.Context, whileRunning bool) error {
	err := w.runChecks(ctx, whileRunning, func(name string, warning warning) { w.logWarning(ctx, name, warning) })
	w.logSettings(ctx, w.objects.Settings())
	if err != nil {
		return err
	}
	return w.misses.Check(ctx, w.store.ErasedBelow)
}

// How often new rows of the LMS are read into the table of owners, and how often all of them, for those that were
// changed.
const (
	ownersEvery = 30 * time.Second
	ownersAgain = 24 * time.Hour
)

// logWalk reports the progress of the first walk through the LMS's certificates.
func (w *worker) logWalk(walk mysql.Walk) {
	if walk.Rows < w.logged.walked+100_000 {
		return // a small site gets no line
	}
	w.logged.walked = walk.Rows
	text := fmt.Sprintf("starting: the directories of all users are being read for the first time, %d %% are done",
		walk.Share)
	w.health.NotReady(text)
	w.present.Set(presence.Paused, text)
	w.log.Info("reading whose directories there are", slog.Int64("rows", walk.Rows), slog.Int("percent", walk.Share))
}

// readOwners keeps the table of owners up to date with the LMS while tasks are pulled.
func (w *worker) readOwners(ctx context.Context) {
	if w.cfg.SharedDirectories != "refuse" {
		return
	}
	for ctx.Err() == nil {
		purge.Sleep(ctx, ownersEvery)
		err := w.store.WalkOwners(ctx, ownersAgain, func(mysql.Walk) {})
		if err != nil && ctx.Err() == nil {
			w.log.WarnContext(ctx, "reading the owners of directories failed, and is tried again", slog.Any("error", err))
		}
	}
}

// logWarning logs a warning of a check once. Warnings do not keep the worker from purging.
func (w *worker) logWarning(ctx context.Context, name string, warning warning) {
	if w.logged.warnings == nil {
		w.logged.warnings = map[string]bool{}
	}
	if !w.logged.warnings[warning.text] {
		w.logged.warnings[warning.text] = true
		w.log.WarnContext(ctx, "a check warns", slog.String("check", name), slog.String("warning", warning.text))
	}
}

// logSettings logs the buckets' settings, and warns when they have changed: they decide whether an erasure is final.
func (w *worker) logSettings(ctx context.Context, settings []purge.BucketSettings) {
	for i := range settings {
		settings[i].ReadAt = time.Time{} // it changes each time
	}
	if slices.Equal(settings, w.logged.settings) {
		return
	}
	for _, s := range settings {
		if slices.Contains(w.logged.settings, s) {
			continue
		}
		figures := []slog.Attr{
			slog.String("bucket", s.Bucket), slog.Bool("versioning", s.Versioning), slog.Duration("soft_delete", s.SoftDelete),
			slog.Bool("soft_delete_unknown", s.SoftDeleteUnknown),
			slog.Duration("retention", s.Retention), slog.Bool("requester_pays", s.RequesterPays),
		}
		if w.logged.settings == nil {
			w.log.LogAttrs(ctx, slog.LevelInfo, "bucket", figures...)
		} else {
			w.log.LogAttrs(ctx, slog.LevelWarn, "the settings of a bucket have changed", figures...)
		}
	}
	w.logged.settings = settings
}

// watch repeats the checks when checkSoon was called, at most once a second, and every gcs.attributes_max_age, because
// an idle worker would not notice changed settings of a bucket. It pauses the worker if a check fails. Attempts that
// fail before that are not counted, unless the cause is that Cloud Storage does not answer.
func (w *worker) watch(ctx context.Context, pause context.CancelCauseFunc) {
	ticker := time.NewTicker(w.cfg.GCS.AttributesMaxAge)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			if errors.Is(context.Cause(ctx), context.Canceled) {
				w.health.NotReady("draining")
				w.present.Set(presence.Stopping, "")
			}
			return
		case <-w.recheck:
		case <-ticker.C:
		}
		if err := w.check(ctx); err != nil && ctx.Err() == nil {
			w.health.NotReady("paused: " + err.Error())
			w.present.Set(presence.Paused, err.Error())
			pause(fmt.Errorf("pausing: %w", err))
			return
		}
		purge.Sleep(ctx, time.Second)
	}
}
