package telemetry

import (
	"context"
	"io"
	"log/slog"
	"os"

	"golang.org/x/term"

	"github.com/certpurge/certpurge/internal/config"
	"github.com/certpurge/certpurge/internal/purge"
)

// NewLogger makes a logger that writes to w. An unknown level counts as info.
func NewLogger(w io.Writer, cfg config.Log) *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(cfg.Level)); err != nil {
		level = slog.LevelInfo
	}
	opts := &slog.HandlerOptions{Level: level}
	format := cfg.Format
	if format == "auto" {
		format = "json"
		if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) { // a file descriptor fits an int
			format = "text"
		}
	}
	if format == "text" {
		return slog.New(traced{slog.NewTextHandler(w, opts)})
	}
	return slog.New(traced{slog.NewJSONHandler(purge.EscapedJSON{W: w}, opts)})
}

// traced adds the id of the trace to lines that are written within one that is kept.
type traced struct{ slog.Handler }

// Handle implements slog.Handler.
func (h traced) Handle(ctx context.Context, r slog.Record) error {
	if id := traceID(ctx); id != "" {
		r.AddAttrs(slog.String("trace_id", id))
	}
	return h.Handler.Handle(ctx, r)
}

// WithAttrs implements slog.Handler.
func (h traced) WithAttrs(attrs []slog.Attr) slog.Handler { return traced{h.Handler.WithAttrs(attrs)} }

// WithGroup implements slog.Handler.
func (h traced) WithGroup(name string) slog.Handler { return traced{h.Handler.WithGroup(name)} }
