package configs_test

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/VictoriaMetrics/metricsql"

	"github.com/certpurge/certpurge/internal/telemetry"
)

// metric is what a query may say of one: its labels and their values, if those are a closed set.
type metric map[string][]string

// catalogue holds every series that a process of ours serves, by name, and the two that Prometheus makes by itself.
type catalogue map[string]metric

// newCatalogue reads the list that internal/telemetry compares with what is served, and adds what the registry has
// beside it.
func newCatalogue(t *testing.T) catalogue {
	t.Helper()
	text, err := os.ReadFile("../internal/telemetry/testdata/metrics.txt")
	if err != nil {
		t.Fatal(err)
	}
	c := catalogue{
		"up":     {},
		"ALERTS": {"alertname": nil, "alertstate": {"firing", "pending"}, "severity": nil},
	}
	var current []string
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSuffix(line, "\n")
		if label, values, ok := strings.Cut(strings.TrimPrefix(line, "  "), ": "); ok && len(current) > 0 &&
			regexp.MustCompile(`^[a-z]+$`).MatchString(label) {
			if label == "bucket" || label == "queue" { // theirs, not ours
				values = ""
			}
			for _, name := range current {
				c[name][label] = strings.Fields(values)
			}
			continue
		}
		if !strings.HasPrefix(line, "certpurge_") {
			continue
		}
		words := strings.Fields(line)
		current = []string{words[0]}
		if words[1] == "histogram" {
			current = []string{words[0] + "_bucket", words[0] + "_sum", words[0] + "_count"}
		}
		for _, name := range current {
			c[name] = metric{}
		}
		if words[1] == "histogram" {
			c[words[0]+"_bucket"]["le"] = nil
		}
	}
	registry, err := telemetry.NewRegistry()
	if err != nil {
		t.Fatal(err)
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if c[f.GetName()] == nil {
			c[f.GetName()] = metric{}
		}
		for _, l := range f.GetMetric()[0].GetLabel() {
			c[f.GetName()][l.GetName()] = nil
		}
	}
	if c["go_goroutines"] == nil || c["certpurge_ready"] == nil || len(c) < 60 {
		t.Fatalf("got %d metrics only", len(c))
	}
	return c
}

// targetLabels are those that Prometheus gives to all that it scrapes.
var targetLabels = []string{"job", "instance"}

// check parses a query and returns what it names that does not exist.
func (c catalogue) check(query string) (problems []string) {
	expr, err := metricsql.Parse(query)
	if err != nil {
		return []string{err.Error()}
	}
	selectors, labels := 0, slices.Clone(targetLabels) // the labels that the operators of the query may name
	metricsql.VisitAll(expr, func(e metricsql.Expr) {
		switch e := e.(type) {
		case *metricsql.MetricExpr:
			selectors++
			found, wrong := c.checkSelector(e)
			labels, problems = append(labels, found...), append(problems, wrong...)
		case *metricsql.FuncExpr:
			if e.Name == "label_replace" {
				if made, ok := e.Args[1].(*metricsql.StringExpr); ok {
					labels = append(labels, made.S)
				}
			}
		default:
		}
	})
	if selectors == 0 {
		problems = append(problems, "it names no metric")
	}
	metricsql.VisitAll(expr, func(e metricsql.Expr) {
		var named []string
		switch e := e.(type) {
		case *metricsql.AggrFuncExpr:
			named = e.Modifier.Args
		case *metricsql.BinaryOpExpr:
			named = slices.Concat(e.GroupModifier.Args, e.JoinModifier.Args)
		default:
		}
		for _, label := range named {
			if !slices.Contains(labels, label) {
				problems = append(problems, "none of its metrics has the label "+label)
			}
		}
	})
	return problems
}

// checkSelector returns the labels of a selector's metric, and what is wrong with the selector.
func (c catalogue) checkSelector(e *metricsql.MetricExpr) (labels, problems []string) {
	for _, filters := range e.LabelFilterss {
		var known metric
		for _, f := range filters {
			if f.Label == "__name__" {
				if known = c[f.Value]; known == nil {
					return nil, []string{"there is no metric " + f.Value}
				}
			}
		}
		if known == nil {
			return nil, []string{"a selector names no metric"}
		}
		for label := range known {
			labels = append(labels, label)
		}
		for _, f := range filters {
			values, ok := known[f.Label]
			switch {
			case f.Label == "__name__" || slices.Contains(targetLabels, f.Label):
			case !ok:
				problems = append(problems, "no label "+f.Label)
			case len(values) == 0: // an open set
			case !f.IsRegexp && !slices.Contains(values, f.Value):
				problems = append(problems, f.Label+" is never "+f.Value)
			case f.IsRegexp:
				problems = append(problems, unmatched(f.Label, f.Value, values)...)
			}
		}
	}
	return labels, problems
}

// unmatched returns the alternatives of a pattern that no value matches.
func unmatched(label, pattern string, values []string) (problems []string) {
	for alternative := range strings.SplitSeq(pattern, "|") {
		whole, err := regexp.Compile("^(?:" + alternative + ")$")
		if err != nil || !slices.ContainsFunc(values, whole.MatchString) {
			problems = append(problems, label+" is never "+alternative)
		}
	}
	return problems
}

// TestTheCheckFindsMistakes is for the tests of this package, which rely on it.
func TestTheCheckFindsMistakes(t *testing.T) {
	t.Parallel()
	c := newCatalogue(t)
	for query, want := range map[string]string{
		`certpurge_nothing`: "no metric certpurge_nothing",
		`sum(rate(certpurge_attempts_total{outcome="done"}[5m]))`: "no label outcome",
		`certpurge_attempts_total{state="finished"}`:              "state is never finished",
		`certpurge_attempts_total{state=~"done|finished"}`:        "state is never finished",
		`sum by (user) (certpurge_attempts_total)`:                "label user",
		`certpurge_ready * on (pod) certpurge_queue_up`:           "label pod",
		`sum(rate(certpurge_attempts_total{state="done"}[5m])`:    "unparsed",
		`{state="done"}`: "names no metric",
		`1 + 1`:          "names no metric",
		`rate(certpurge_step_duration_seconds{step="delete"}[5m])`:  "no metric certpurge_step_duration_seconds",
		`sum by (step) (certpurge_attempt_duration_seconds_bucket)`: "label step",
		`process_cpu_seconds`: "no metric process_cpu_seconds",
		`certpurge_queue_tasks{state="pending",queue="whatever"}`:     "",
		`sum by (le, job) (certpurge_step_duration_seconds_bucket)`:   "",
		`certpurge_gcs_requests_total{code=~"5..|none"}`:              "",
		`sum(process_open_fds{job="x"}) by (instance)`:                "",
		`label_replace(certpurge_ready, "made", "x", "", "")`:         "",
		`count by (version) (certpurge_build_info{job=~"certpurge"})`: "",
	} {
		problems := strings.Join(c.check(query), "; ")
		if want == "" && problems != "" || !strings.Contains(problems, want) {
			t.Errorf("%s: got %q, want %q", query, problems, want)
		}
	}
}
