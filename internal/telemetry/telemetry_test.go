package telemetry_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

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
		log := telemetry.NewLogger(&out, tc.level, tc.format)
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
	telemetry.NewLogger(&out, "error", "text").WarnContext(t.Context(), "hidden")
	if out.Len() > 0 {
		t.Errorf("at level error: got %q", out.String())
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
	health := telemetry.NewHealth(telemetry.Check{Name: "mysql", Ask: func(context.Context) error { return answer }})
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

func TestServeUntilTheContextEnds(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	started, done := make(chan net.Addr, 1), make(chan error, 1)
	go func() {
		done <- telemetry.Serve(ctx, "127.0.0.1:0", telemetry.NewHealth().Handler(), func(a net.Addr) { started <- a })
	}()
	address := (<-started).String()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+address+"/livez", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	if err := errors.Join(err, resp.Body.Close()); err != nil || string(body) != "ok\n" {
		t.Errorf("got %q, %v", body, err)
	}
	if err := telemetry.Serve(t.Context(), address, nil, nil); err == nil || !strings.Contains(err.Error(), "health.listen") {
		t.Errorf("a taken address: got %v", err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("got %v, want a quiet end", err)
	}
	if err := telemetry.Serve(t.Context(), "", nil, nil); err != nil {
		t.Errorf("switched off: got %v", err)
	}
}
