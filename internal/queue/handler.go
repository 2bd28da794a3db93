package queue

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/hibiken/asynq"

	"github.com/certpurge/certpurge/internal/purge"
)

// Purger makes one attempt at a task. Without an error the request has ended.
type Purger interface {
	Purge(ctx context.Context, task purge.Task) (purge.Result, error)
}

// Handler connects asynq and the domain: it decodes payloads and translates the classes of errors.
type Handler struct {
	Purger Purger
	Log    *slog.Logger
	// CheckSoon is called after each failure that may concern all users: a wrong bucket, a missing grant. May be nil.
	CheckSoon func()
	// Metrics counts the outcomes of tasks. May be nil.
	Metrics Metrics
	// Tracer traces attempts. May be nil.
	Tracer Tracer
	// NewerTries is how often a task of a newer version is tried before it is refused; zero for 25.
	NewerTries int

	newer   atomic.Int64 // tries of tasks of a newer version since the last log line about them
	newerAt atomic.Int64 // time of that line, in nanoseconds
}

// newerTries is how often a task of a newer version is tried: for about eight hours with the default delays. Then it is
// archived, as any refused task, and the reconciler makes a task of this version if the ledger has the request: the
// scope of the attempt comes from the ledger, not from the payload.
const newerTries = 25

// newerEvery is the time between log lines about tasks of a newer version, which come back up to newerTries times.
const newerEvery = time.Minute

// logNewer reports whether it is time for the next of these lines.
func (h *Handler) logNewer() bool {
	now, last := time.Now().UnixNano(), h.newerAt.Load()
	return (last == 0 || now-last >= int64(newerEvery)) && h.newerAt.CompareAndSwap(last, now)
}

// Metrics counts the outcomes of tasks. Its methods are called concurrently and must be quick.
type Metrics interface {
	// Attempted is called after an attempt. With an error the task will be tried again.
	Attempted(ctx context.Context, result purge.Result, err error, took time.Duration)
	// Refused is called for a task that is dropped: not ours, unreadable, or without a request.
	Refused()
}

// Tracer traces attempts.
type Tracer interface {
	// Attempt begins the span of an attempt, a child of traceparent if there is one. The caller calls ended with the
	// outcome.
	Attempt(ctx context.Context, traceparent string) (_ context.Context, ended func(purge.Result, error))
}

// ProcessTask makes one attempt at the task's request. It returns nil once the request has ended, with any outcome:
// the ledger has it, and asynq's archive is trimmed by age and size, without notice.
func (h *Handler) ProcessTask(ctx context.Context, t *asynq.Task) (err error) {
	id, _ := asynq.GetTaskID(ctx)
	if _, ours := UserOf(id); id != "" && !ours {
		id = "(not ours)" // a foreign ID may hold anything
	}
	log := h.Log.With(slog.String("task_id", id))
	defer func() { // asynq recovers, too, but truncates the message
		if failure := recover(); failure != nil {
			log.ErrorContext(ctx, "panic in an attempt", slog.String("panic", purge.Printable(fmt.Sprint(failure))),
				slog.String("stack", purge.Stack()))
			err = &purge.Error{Class: purge.Transient, Text: "the attempt ended in a panic: the worker's log has its stack"}
		}
	}()
	task, err := decode(t.Payload())
	if t.Type() != TaskType {
		err = errors.New("the task is of a type that is not ours")
	}
	if errors.Is(err, errNewerPayload) {
		retried, _ := asynq.GetRetryCount(ctx)
		tries := cmp.Or(h.NewerTries, newerTries)
		if retried+1 < tries {
			if h.newer.Add(1); h.logNewer() {
				log.WarnContext(ctx, "tasks left to a newer worker", slog.Any("error", err), slog.Int64("tries", h.newer.Swap(0)))
			}
			return err
		}
		err = fmt.Errorf("%w; no newer worker took it in %d tries", err, tries)
	}
	if err != nil {
		log.ErrorContext(ctx, "task refused", slog.Any("error", err))
		h.refused()
		return fmt.Errorf("%w (%w)", err, asynq.SkipRetry)
	}
	task.Trace = t.Headers()[traceHeader]
	return h.attempt(ctx, log, task)
}

// attempt makes one attempt and writes its summary line.
func (h *Handler) attempt(ctx context.Context, log *slog.Logger, task purge.Task) error {
	begun := time.Now()
	ended := func(purge.Result, error) {}
	if h.Tracer != nil {
		ctx, ended = h.Tracer.Attempt(ctx, task.Trace)
	}
	result, err := h.Purger.Purge(ctx, task)
	ended(result, err)
	request := cmp.Or(result.Request, task.Request)
	log = log.With(slog.Int64("user_id", int64(task.User)), slog.Int64("request_id", int64(request)))
	switch {
	case task.AboutOrphans():
		log = log.With(slog.Int64("orphan_set", int64(task.Certificate)))
	case task.Certificate != 0:
		log = log.With(slog.Int64("certificate_id", int64(task.Certificate)))
	}
	figures := []slog.Attr{
		slog.Int("attempt", result.Attempt), slog.String("state", string(result.State)),
		slog.String("reason", string(result.Reason)),
		slog.Int("certificates", result.Counts.Certificates), slog.Int("objects_erased", result.Counts.ObjectsErased),
		slog.Int("objects_absent", result.Counts.ObjectsAbsent),
		slog.Int("objects_soft_deleted", result.Counts.ObjectsSoftDeleted),
		slog.Int("directories_missing", result.Counts.DirectoriesMissing),
		slog.Int("references_cleared", result.Counts.ReferencesCleared),
		slog.Int64("took_ms", time.Since(begun).Milliseconds()),
	}
	if h.Metrics != nil && !errors.Is(err, purge.ErrUnknownRequest) {
		h.Metrics.Attempted(ctx, result, err, time.Since(begun))
	}
	switch {
	case errors.Is(err, purge.ErrUnknownRequest) && firstTry(ctx):
		// The request may have been written on another node of the database cluster, and not have arrived here yet.
		log.InfoContext(ctx, "task will be tried again", slog.Any("error", err))
		return err
	case errors.Is(err, purge.ErrUnknownRequest):
		log.ErrorContext(ctx, "task refused", slog.Any("error", err))
		h.refused()
		return fmt.Errorf("%w (%w)", err, asynq.SkipRetry)
	case err != nil:
		if class := purge.ClassOf(err); class == purge.Misconfigured || class == purge.Unavailable {
			h.checkSoon()
		}
		log.LogAttrs(ctx, slog.LevelWarn, "task will be tried again", append(figures, slog.Any("error", err))...)
		return err
	}
	if result.Reason == purge.ReasonNoPermission {
		h.checkSoon() // it finds out whether the permission is missing for one object or for the whole bucket
	}
	level := slog.LevelInfo
	switch {
	case result.State == purge.Failed:
		level = slog.LevelError
	case result.Reason == purge.ReasonFilesMissing && !result.Again:
		level = slog.LevelWarn // accepted: links were cleared whose files were never seen
	}
	if result.Detail != "" {
		figures = append(figures, slog.String("detail", result.Detail))
	}
	log.LogAttrs(ctx, level, "task finished", append(figures, slog.Bool("again", result.Again))...)
	return nil
}

// firstTry reports whether asynq has counted no failure of the task yet.
func firstTry(ctx context.Context) bool {
	retried, ok := asynq.GetRetryCount(ctx)
	return ok && retried == 0
}

func (h *Handler) refused() {
	if h.Metrics != nil {
		h.Metrics.Refused()
	}
}

func (h *Handler) checkSoon() {
	if h.CheckSoon != nil {
		h.CheckSoon()
	}
}

// isFailure reports whether asynq counts an error: errors of the request, and tries of a task of a newer version, which
// are limited.
func isFailure(err error) bool {
	return errors.Is(err, errNewerPayload) || !errors.Is(err, context.Canceled) && purge.ClassOf(err) == purge.Transient
}

// Backoff spreads retries: exponential from Base to Cap, with full jitter.
type Backoff struct {
	Base, Cap time.Duration
	Now       func() time.Time
}

// Delay is how long to wait after the n-th counted failure; if a file is protected until a date, until after that date.
func (b Backoff) Delay(n int, err error, _ *asynq.Task) time.Duration {
	if errors.Is(err, context.Canceled) || errors.Is(err, purge.ErrUnknownRequest) {
		return time.Second
	}
	class := purge.ClassOf(err)
	if errors.Is(err, errNewerPayload) {
		class = purge.Transient // a deployment may take hours
	}
	switch class {
	case purge.Stopped:
		return time.Second // another worker may continue at once
	case purge.Throttled, purge.Misconfigured, purge.Unavailable:
		return b.Base + jitter(3*b.Base)
	case purge.Retained, purge.SoftDeleting:
		if e, ok := errors.AsType[*purge.Error](err); ok && !e.Until.IsZero() {
			return max(0, e.Until.Sub(b.Now())) + b.Base + jitter(time.Minute)
		}
		return b.Cap
	default:
		limit := b.Base
		for range n {
			if limit >= b.Cap {
				break
			}
			limit *= 2
		}
		return max(time.Second, jitter(min(limit, b.Cap)))
	}
}

// jitter is a random part of d.
func jitter(d time.Duration) time.Duration {
	return rand.N(d) //nolint:gosec // it spreads load, it keeps no secret
}
