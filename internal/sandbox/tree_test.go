package sandbox

import (
	"path/filepath"
	"strings"
	"testing"
)

// TestUnpackNewestAsksUnstableAlone: the machine's release may have the package, and the machine may have it installed.
func TestUnpackNewestAsksUnstableAlone(t *testing.T) {
	t.Parallel()
	m := newMachine(t, debian...)
	m.names, m.unstable = "prometheus", "prometheus"
	m.contents["prometheus"] = "usr/bin/prometheus"
	in := m.installer(MariaDB, filepath.Join(t.TempDir(), "certpurge"))
	in.newest = true
	if _, err := in.unpackTree(t.Context(), "images", []string{"prometheus"}); err != nil {
		t.Fatal(err)
	}
	for _, line := range m.all("install") {
		if !strings.Contains(line, "/unstable/status") || !strings.Contains(line, "/unstable/lists") {
			t.Errorf("got %q, want unstable's lists, and nothing installed", line)
		}
	}
	if got := len(m.all("install")); got != 1 {
		t.Errorf("got %d downloads, want 1", got)
	}
}
