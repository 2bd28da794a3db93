//go:build promtool

package configs_test

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/certpurge/certpurge/internal/sandbox/sandboxtest"
)

// The tests in this file ask Prometheus's own tool: make rules.

func TestPromtoolLikesTheRules(t *testing.T) {
	t.Parallel()
	sandboxtest.Promtool(t, "prometheus", nil, "check", "rules", "--lint-fatal", "certpurge.rules.yml")
	sandboxtest.Promtool(t, "prometheus", nil, "check", "config", "prometheus.yml")
}

func TestPromtoolTestsTheRules(t *testing.T) {
	t.Parallel()
	sandboxtest.Promtool(t, "prometheus", nil, "test", "rules", "certpurge.rules.test.yml")
}

// TestPromtoolLikesTheDashboard writes the dashboard's queries as rules, because promtool looks at no single query.
func TestPromtoolLikesTheDashboard(t *testing.T) {
	t.Parallel()
	type rule struct{ Record, Expr string }
	var rules []rule
	queries := readDashboard(t).queries()
	for i, where := range slices.Sorted(maps.Keys(queries)) {
		rules = append(rules, rule{fmt.Sprintf("panel:%d", i), queries[where]})
	}
	text, err := yaml.Marshal(map[string]any{"groups": []any{map[string]any{"name": "dashboard", "rules": rules}}})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "rules.yml"), text, 0o600); err != nil {
		t.Fatal(err)
	}
	sandboxtest.Promtool(t, dir, nil, "check", "rules", "--lint-fatal", "rules.yml")
}
