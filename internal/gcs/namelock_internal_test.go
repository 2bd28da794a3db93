package gcs

import (
	"context"
	"errors"
	"log/slog"
	"testing"

	"github.com/certpurge/certpurge/internal/config"
)

func TestNamesThatNobodyMutatesAreForgotten(t *testing.T) {
	t.Parallel()
	b := newBucket("b", nil, Config{GCS: config.GCS{MaxInFlight: 1}, Log: slog.New(slog.DiscardHandler)})
	c, err := b.mutate(t.Context(), "name")
	if err != nil {
		t.Fatal(err)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := b.mutate(gone, "name"); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want the one who waits to leave", err)
	}
	if len(b.nameLocks.byName) != 1 {
		t.Errorf("got %d names while one is mutated", len(b.nameLocks.byName))
	}
	if c.unlock(); len(b.nameLocks.byName) != 0 {
		t.Errorf("got %d names, want none", len(b.nameLocks.byName))
	}
}
