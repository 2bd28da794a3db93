package configs_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// dashboard is what the tests look at of Grafana's model.
type dashboard struct {
	UID         string
	Title       string
	Annotations struct{ List []struct{ Expr string } }
	Templating  struct {
		List []struct{ Name, Definition string }
	}
	Panels []panel
}

type panel struct {
	ID         int
	Type       string
	Title      string
	Datasource struct{ Type, UID string }
	GridPos    struct{ X, Y, W, H int }
	Targets    []struct {
		RefID        string
		Expr         string
		LegendFormat string
		Datasource   struct{ Type, UID string }
	}
}

const dashboards = "grafana/dashboards"

func readDashboard(t *testing.T) dashboard {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dashboards, "certpurge.json"))
	if err != nil {
		t.Fatal(err)
	}
	var d dashboard
	if err := json.Unmarshal(text, &d); err != nil {
		t.Fatal(err)
	}
	return d
}

// plain replaces Grafana's variables by what Grafana might put there.
func plain(query string) string {
	return strings.NewReplacer("$__rate_interval", "5m", `"$bucket"`, `".*"`).Replace(query)
}

// queries returns all queries of the dashboard, by where they are.
func (d dashboard) queries() map[string]string {
	all := map[string]string{}
	for _, p := range d.Panels {
		for _, target := range p.Targets {
			all[p.Title+" "+target.RefID] = plain(target.Expr)
		}
	}
	for i, a := range d.Annotations.List {
		all[fmt.Sprintf("annotation %d", i)] = plain(a.Expr)
	}
	return all
}

func TestPanelsAskForWhatThereIs(t *testing.T) {
	t.Parallel()
	c, d := newCatalogue(t), readDashboard(t)
	queries := d.queries()
	if len(queries) < 30 {
		t.Fatalf("got %d queries", len(queries))
	}
	everything := strings.Join(slices.Collect(maps.Values(queries)), "\n")
	for where, query := range queries {
		for _, problem := range c.check(query) {
			t.Errorf("%s: %s", where, problem)
		}
	}
	definition := regexp.MustCompile(`^label_values\((\w+), (\w+)\)$`)
	for _, v := range d.Templating.List {
		if v.Definition == "" {
			continue
		}
		match := definition.FindStringSubmatch(v.Definition)
		if match == nil {
			t.Fatalf("variable %s: %q", v.Name, v.Definition)
		}
		if _, ok := c[match[1]][match[2]]; !ok {
			t.Errorf("variable %s: %s has no label %s", v.Name, match[1], match[2])
		}
	}
	// What is measured is shown.
	for name := range c {
		base := regexp.MustCompile(`_(bucket|sum|count)$`).ReplaceAllString(name, "")
		if strings.HasPrefix(name, "certpurge_") && name != "certpurge_last_done_timestamp_seconds" &&
			!strings.Contains(everything, base) {
			t.Errorf("no panel shows %s", name)
		}
	}
}

func TestPanelsHaveTheirPlaces(t *testing.T) {
	t.Parallel()
	d := readDashboard(t)
	taken, ids := map[[2]int]string{}, map[int]string{}
	for _, p := range d.Panels {
		if other, ok := ids[p.ID]; ok || p.ID == 0 || p.Title == "" {
			t.Errorf("%q has the id %d, as %q", p.Title, p.ID, other)
		}
		ids[p.ID] = p.Title
		if p.GridPos.X+p.GridPos.W > 24 || p.GridPos.W < 1 || p.GridPos.H < 1 {
			t.Errorf("%q is outside of the page: %+v", p.Title, p.GridPos)
		}
		for x := range p.GridPos.W {
			for y := range p.GridPos.H {
				place := [2]int{p.GridPos.X + x, p.GridPos.Y + y}
				if other, ok := taken[place]; ok {
					t.Fatalf("%q lies on %q", p.Title, other)
				}
				taken[place] = p.Title
			}
		}
		if p.Type == "row" {
			continue
		}
		if len(p.Targets) == 0 {
			t.Errorf("%q asks for nothing", p.Title)
		}
		for _, target := range p.Targets {
			if target.Datasource.UID != "${datasource}" || p.Datasource.UID != "${datasource}" {
				t.Errorf("%q does not follow the choice of the data source", p.Title)
			}
			// A label in a legend that the query takes away is shown as nothing.
			for _, match := range regexp.MustCompile(`\{\{(\w+)\}\}`).FindAllStringSubmatch(target.LegendFormat, -1) {
				if strings.Contains(target.Expr, "sum") && !regexp.MustCompile(`by \([^)]*\b`+match[1]+
					`\b`).MatchString(target.Expr) {
					t.Errorf("%q %s: the legend names %s, which the query drops", p.Title, target.RefID, match[1])
				}
			}
		}
	}
}

// TestProvisioningNamesWhatThereIs compares Grafana's provisioning with the files beside it.
func TestProvisioningNamesWhatThereIs(t *testing.T) {
	t.Parallel()
	var sources struct {
		Datasources []struct{ UID, Type, URL string }
	}
	readYAML(t, "grafana/provisioning/datasources/prometheus.yml", &sources)
	text, err := os.ReadFile(filepath.Join(dashboards, "certpurge.json"))
	if err != nil {
		t.Fatal(err)
	}
	if len(sources.Datasources) != 1 || sources.Datasources[0].Type != "prometheus" ||
		!strings.Contains(string(text), `"value": "`+sources.Datasources[0].UID+`"`) {
		t.Errorf("the dashboard does not begin with one of %+v", sources.Datasources)
	}
	var providers struct {
		Providers []struct {
			Type    string
			Options struct{ Path string }
		}
	}
	readYAML(t, "grafana/provisioning/dashboards/certpurge.yml", &providers)
	if len(providers.Providers) != 1 || providers.Providers[0].Type != "file" ||
		filepath.Base(providers.Providers[0].Options.Path) != filepath.Base(dashboards) {
		t.Errorf("got %+v", providers.Providers)
	}
}
