package telemetry_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"unicode"

	"github.com/certpurge/certpurge/internal/config"
	"github.com/certpurge/certpurge/internal/telemetry"
)

func TestLoggerObeysLevelAndFormat(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ level, format, want string }{
		"json":              {"info", "json", `"msg":"shown"`},
		"auto, no terminal": {"info", "auto", `"msg":"shown"`},
		"text":              {"info", "text", `msg=shown`},
		"unknown level":     {"loud", "text", `msg=shown`},
	} {
		var out bytes.Buffer
		log := telemetry.NewLogger(&out, config.Log{Level: tc.level, Format: tc.format})
		log.DebugContext(t.Context(), "hidden")
		log.InfoContext(t.Context(), "shown")
		if !strings.Contains(out.String(), tc.want) || strings.Contains(out.String(), "hidden") {
			t.Errorf("%s: got %q", name, out.String())
		}
		if tc.format != "text" && !json.Valid(out.Bytes()) {
			t.Errorf("%s: %q is no JSON", name, out.String())
		}
	}
	var out bytes.Buffer
	telemetry.NewLogger(&out, config.Log{Level: "error", Format: "text"}).WarnContext(t.Context(), "hidden")
	if out.Len() > 0 {
		t.Errorf("at level error: got %q", out.String())
	}
}

// TestNoLogLineCommandsATerminal: operators read logs with less, tail and journalctl.
func TestNoLogLineCommandsATerminal(t *testing.T) {
	t.Parallel()
	const evil = "a\u009b2J\u202eb\x1b[31m\u007f\r\n"
	for _, format := range []string{"json", "text"} {
		var out bytes.Buffer
		telemetry.NewLogger(&out, config.Log{Level: "info", Format: format}).InfoContext(t.Context(), evil, slog.String("key", evil),
			slog.Any("error", errors.New(evil)))
		line := strings.TrimSuffix(out.String(), "\n")
		if i := strings.IndexFunc(line, func(r rune) bool { return !unicode.IsPrint(r) }); i >= 0 || line == "" {
			t.Errorf("%s: got %q", format, line)
		}
	}
}

func get(t *testing.T, handler http.Handler, path string) (status int, body string) {
	t.Helper()
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, http.NoBody))
	return w.Code, w.Body.String()
}

func TestHealth(t *testing.T) {
	t.Parallel()
	broken := errors.New("connection refused")
	var answer error
	health := telemetry.NewHealth(telemetry.Check{Name: "mysql", Run: func(context.Context) error { return answer }})
	handler := health.Handler()
	check := func(moment string, wantStatus int, want string) {
		t.Helper()
		if status, body := get(t, handler, "/readyz"); status != wantStatus || body != want {
			t.Errorf("%s: got %d %q, want %d %q", moment, status, body, wantStatus, want)
		}
		if status, _ := get(t, handler, "/livez"); status != http.StatusOK {
			t.Errorf("%s: not alive", moment)
		}
	}
	check("at the start", http.StatusServiceUnavailable, "starting\n")
	health.Ready()
	check("ready", http.StatusOK, "ok\n")
	answer = broken
	check("a dependency is away", http.StatusServiceUnavailable, "mysql: connection refused\n")
	health.NotReady("draining")
	check("draining, too", http.StatusServiceUnavailable, "draining\nmysql: connection refused\n")
}
