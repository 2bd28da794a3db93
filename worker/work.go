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

// work pulls tasks whenever everything that a purge needs is there, until ctx ends. A misconfiguration at the very
// start is returned; one that comes later pauses the worker, so that no user fails for it.
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

// await returns when every check has passed. It waits out what is not reachable, and says so once for each problem.
func (w *worker) await(ctx context.Context, first bool) error {
	w.walk = nil
	if first {
		w.walk = func(ctx context.Context) error { return w.store.WalkOwners(ctx, ownersAgain, w.sayWalk) }
	}
	return w.health.Await(ctx,
		func(ctx context.Context) error {
			if first { // later, an empty location may be our own work
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
	err := w.runChecks(ctx, whileRunning, func(name string, warning warning) { w.sayWarning(ctx, name, warning) })
	w.saySettings(ctx, w.objects.Settings())
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

// sayWalk tells how far the first walk through the LMS's certificates is.
func (w *worker) sayWalk(walk mysql.Walk) {
	if walk.Rows < w.said.walked+100_000 {
		return // of a small site, nothing
	}
	w.said.walked = walk.Rows
	text := fmt.Sprintf("starting: the directories of all users are being read for the first time, %d %% are done",
		walk.Share)
	w.health.NotReady(text)
	w.present.Set(presence.Paused, text)
	w.log.Info("reading whose directories there are", slog.Int64("rows", walk.Rows), slog.Int("percent", walk.Share))
}

// readOwners keeps the table of owners in step with the LMS while tasks are pulled.
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

// sayWarning logs what does not keep the worker from purging, once.
func (w *worker) sayWarning(ctx context.Context, name string, warning warning) {
	if w.said.warnings == nil {
		w.said.warnings = map[string]bool{}
	}
	if !w.said.warnings[warning.text] {
		w.said.warnings[warning.text] = true
		w.log.WarnContext(ctx, "a check warns", slog.String("check", name), slog.String("warning", warning.text))
	}
}

// saySettings logs what the buckets' settings are, and warns when they have changed: they decide what an erasure is
// worth.
func (w *worker) saySettings(ctx context.Context, settings []purge.BucketSettings) {
	for i := range settings {
		settings[i].ReadAt = time.Time{} // it changes each time
	}
	if slices.Equal(settings, w.said.settings) {
		return
	}
	for _, s := range settings {
		if slices.Contains(w.said.settings, s) {
			continue
		}
		figures := []slog.Attr{
			slog.String("bucket", s.Bucket), slog.Bool("versioning", s.Versioning), slog.Duration("soft_delete", s.SoftDelete),
			slog.Bool("soft_delete_unknown", s.SoftDeleteUnknown),
			slog.Duration("retention", s.Retention), slog.Bool("requester_pays", s.RequesterPays),
		}
		if w.said.settings == nil {
			w.log.LogAttrs(ctx, slog.LevelInfo, "bucket", figures...)
		} else {
			w.log.LogAttrs(ctx, slog.LevelWarn, "the settings of a bucket have changed", figures...)
		}
	}
	w.said.settings = settings
}

// watch makes the checks again when one is requested, at most once a second, and pauses the worker if one fails. Until
// then tasks that meet the trouble are put back without a counted failure, unless it is Cloud Storage that does not
// answer. It makes them also as often as a bucket's settings may have changed: nothing else would notice while there is
// no work.
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
