package main

import (
	"context"
	"encoding/hex"
	"log/slog"
	"time"

	"github.com/certpurge/certpurge/internal/purge"
)

// anchorEvidence anchors the evidence while tasks are pulled, in turn with the other workers: the one that finds that
// the latest anchor is old enough makes the next.
func (w *worker) anchorEvidence(ctx context.Context) {
	interval := w.cfg.Evidence.AnchorInterval
	for ctx.Err() == nil {
		last, err := w.store.LastAnchored(ctx)
		if err == nil && time.Since(last) >= interval {
			var upTo int64
			if upTo, err = w.store.LastDocument(ctx); err == nil && purge.Sleep(ctx, anchorDelay) {
				err = w.anchor(ctx, upTo)
			}
			last = time.Now()
		}
		if err != nil && ctx.Err() == nil {
			w.log.WarnContext(ctx, "anchoring the evidence failed, and is tried again", slog.Any("error", err))
			last = time.Now()
		}
		purge.Sleep(ctx, max(time.Second, interval-time.Since(last)))
	}
}

// anchorDelay is what lies between reading the number of the latest document and anchoring all up to it: a statement
// that has got a number before it has written its documents by then.
const anchorDelay = 2 * time.Second

// stopTime bounds the anchoring while stopping, and stopDelay is anchorDelay then.
const (
	stopTime  = 5 * time.Second
	stopDelay = 200 * time.Millisecond
)

// anchorAll anchors what this worker has written when it stops, because another one may never run.
func (w *worker) anchorAll(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTime)
	defer cancel()
	upTo, err := w.store.LastDocument(ctx)
	if err == nil && purge.Sleep(ctx, stopDelay) {
		err = w.anchor(ctx, upTo)
	}
	if err != nil {
		w.log.WarnContext(ctx, "anchoring the evidence failed", slog.Any("error", err))
	}
}

// anchor anchors all documents up to a number. The hash is logged, so that it lives outside of the database.
func (w *worker) anchor(ctx context.Context, upTo int64) error {
	for {
		made, err := w.store.AddAnchor(ctx, upTo)
		if err != nil || made.Documents == 0 {
			return err
		}
		w.log.InfoContext(ctx, "evidence anchored", slog.Int64("anchor", made.Anchor),
			slog.Int("documents", made.Documents), slog.Int64("last_document", made.Last),
			slog.String("hash", hex.EncodeToString(made.Hash[:])))
	}
}
