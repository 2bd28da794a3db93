//go:build promtool

package main

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/certpurge/certpurge/internal/sandbox/sandboxtest"
)

// TestPromtoolLikesTheMetrics asks Prometheus's own tool: make rules.
func TestPromtoolLikesTheMetrics(t *testing.T) {
	t.Parallel()
	s := newShell(t).serve()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.admin+"/metrics", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	response, err := s.client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK ||
		!strings.Contains(string(text), "certpurge_wishes_accepted_total") {
		t.Fatalf("got %d, %v\n%s", response.StatusCode, err, text)
	}
	sandboxtest.Promtool(t, "", strings.NewReader(string(text)), "check", "metrics")
}
