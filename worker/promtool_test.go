//go:build promtool

package main

import (
	"net/http"
	"strings"
	"testing"

	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/sandbox/sandboxtest"
)

// TestPromtoolLikesTheMetrics asks Prometheus's own tool: make rules.
func TestPromtoolLikesTheMetrics(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	base := s.start().base(t)
	s.await(purge.Done, s.enqueue(s.addUser())...)
	status, text := visit(t, http.MethodGet, base+"/metrics", "")
	if status != http.StatusOK || !strings.Contains(text, "certpurge_bucket_soft_delete_seconds") {
		t.Fatalf("got %d\n%s", status, text)
	}
	sandboxtest.Promtool(t, "", strings.NewReader(text), "check", "metrics")
}
