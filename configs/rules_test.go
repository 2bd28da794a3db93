package configs_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/certpurge/certpurge/internal/config"
)

// alert is one of the alert rules.
type alert struct {
	Alert, Expr, For    string
	Labels, Annotations map[string]string
}

func readYAML(t *testing.T, path string, into any) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(text, into); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

func alerts(t *testing.T) []alert {
	t.Helper()
	var file struct {
		Groups []struct{ Rules []alert }
	}
	readYAML(t, "prometheus/certpurge.rules.yml", &file)
	var all []alert
	for _, g := range file.Groups {
		all = append(all, g.Rules...)
	}
	if len(all) < 20 {
		t.Fatalf("got %d alerts", len(all))
	}
	return all
}

const books = "../docs/operations"

// page is the name of an alert's runbook.
func (a alert) page() string {
	name := strings.TrimPrefix(a.Alert, "Certpurge")
	return strings.ToLower(regexp.MustCompile(`(.)([A-Z])`).ReplaceAllString(name, "$1-$2")) + ".md"
}

func TestAlertsAskForWhatThereIs(t *testing.T) {
	t.Parallel()
	c := newCatalogue(t)
	for _, a := range alerts(t) {
		for _, problem := range c.check(a.Expr) {
			t.Errorf("%s: %s", a.Alert, problem)
		}
		if !strings.HasPrefix(a.Alert, "Certpurge") ||
			!slices.Contains([]string{"critical", "warning", "info"}, a.Labels["severity"]) {
			t.Errorf("%s: severity %q", a.Alert, a.Labels["severity"])
		}
		for _, key := range []string{"summary", "description"} {
			if text := a.Annotations[key]; len(text) < 20 || !strings.HasSuffix(text, ".") && !strings.Contains(text, "}}") {
				t.Errorf("%s: %s %q is no sentence", a.Alert, key, text)
			}
		}
	}
}

func TestEveryAlertHasARunbookAndEveryRunbookAnAlert(t *testing.T) {
	t.Parallel()
	index, err := os.ReadFile(filepath.Join(books, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	wanted := map[string]bool{"README.md": true}
	for _, a := range alerts(t) {
		page := a.page()
		wanted[page] = true
		if got, want := a.Annotations["runbook_url"],
			"https://github.com/certpurge/certpurge/blob/main/docs/operations/"+page; got != want {
			t.Errorf("%s: got runbook %q, want %q", a.Alert, got, want)
		}
		text, err := os.ReadFile(filepath.Join(books, page))
		if err != nil {
			t.Errorf("%s: %v", a.Alert, err)
			continue
		}
		parts := []string{"# " + a.Alert + "\n", "\n## Check\n", "\n## Fix\n", "\n## Resolved when\n"}
		for i, part := range parts {
			at := strings.Index(string(text), part)
			if at < 0 || i == 0 && at > 0 {
				t.Errorf("%s lacks %q", page, part)
			}
		}
		if !strings.Contains(string(index), "| ["+a.Alert+"]("+page+") | "+a.Labels["severity"]+" |") {
			t.Errorf("the index lacks %s, or its severity", a.Alert)
		}
	}
	files, err := os.ReadDir(books)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if !wanted[f.Name()] {
			t.Errorf("%s belongs to no alert", f.Name())
		}
	}
}

// TestRunbooksLeadSomewhere follows the links between the pages, and from them to files of the project.
func TestRunbooksLeadSomewhere(t *testing.T) {
	t.Parallel()
	link := regexp.MustCompile(`\]\(([^)#]+)[^)]*\)`)
	pages, err := filepath.Glob(filepath.Join(books, "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, page := range pages {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, match := range link.FindAllStringSubmatch(string(text), -1) {
			if strings.Contains(match[1], "://") {
				continue
			}
			if _, err := os.Stat(filepath.Join(filepath.Dir(page), match[1])); err != nil {
				t.Errorf("%s: %v", page, err)
			}
		}
	}
}

// TestEveryAlertIsTestedBothWays looks into the tests that make rules runs.
func TestEveryAlertIsTestedBothWays(t *testing.T) {
	t.Parallel()
	var file struct {
		Tests []struct {
			Checks []struct {
				Expr    string
				Samples []struct{ Labels string } `yaml:"exp_samples"`
			} `yaml:"promql_expr_test"`
		}
	}
	readYAML(t, "prometheus/certpurge.rules.test.yml", &file)
	fires, rests := map[string]string{}, map[string]bool{}
	name := regexp.MustCompile(`^ALERTS\{alertname="([A-Za-z]+)", alertstate="firing"\}$`)
	for _, test := range file.Tests {
		for _, check := range test.Checks {
			match := name.FindStringSubmatch(check.Expr)
			if match == nil {
				t.Errorf("%q asks for no alert", check.Expr)
				continue
			}
			for _, s := range check.Samples {
				fires[match[1]] = s.Labels
			}
			rests[match[1]] = rests[match[1]] || len(check.Samples) == 0
		}
	}
	label := regexp.MustCompile(`\$labels\.([a-z]+)`)
	for _, a := range alerts(t) {
		if fires[a.Alert] == "" || !rests[a.Alert] {
			t.Errorf("%s: tested firing: %v, not firing: %v", a.Alert, fires[a.Alert] != "", rests[a.Alert])
		}
		for _, text := range a.Annotations {
			for _, match := range label.FindAllStringSubmatch(text, -1) {
				if !strings.Contains(fires[a.Alert], " "+match[1]+`="`) {
					t.Errorf("%s: its text names the label %s, which it does not have when it fires in the tests", a.Alert, match[1])
				}
			}
		}
	}
}

// TestScrapedIsWhatTheProcessesAreNotifiedToServe sets what prometheus.yml asks for, and compares the ports.
func TestScrapedIsWhatTheProcessesAreNotifiedToServe(t *testing.T) {
	t.Parallel()
	var file struct {
		Jobs []struct {
			Name string `yaml:"job_name"`
			DNS  []struct {
				Names []string
				Port  int
			} `yaml:"dns_sd_configs"`
			Static []struct{ Targets []string } `yaml:"static_configs"`
		} `yaml:"scrape_configs"`
	}
	readYAML(t, "prometheus/prometheus.yml", &file)
	text, err := os.ReadFile("prometheus/prometheus.yml")
	if err != nil {
		t.Fatal(err)
	}
	environ := append(regexp.MustCompile(`CERTPURGE_[A-Z_]+=[^ \n]+`).FindAllString(string(text), -1),
		"CERTPURGE_MYSQL_DSN=u:p@tcp(h)/certpurge")
	worker, err := config.LoadWorker("worker.yaml", environ)
	if err != nil {
		t.Fatal(err)
	}
	enqueuer, err := config.LoadEnqueuer("enqueuer.yaml", environ)
	if err != nil {
		t.Fatal(err)
	}
	served := map[string]config.Admin{"worker": worker.Admin, "enqueuer": enqueuer.Admin, "watch": enqueuer.Admin}
	for _, job := range file.Jobs {
		name, ours := strings.CutPrefix(job.Name, "certpurge-")
		admin, known := served[name]
		var targets []string
		for _, d := range job.DNS {
			for _, host := range d.Names {
				targets = append(targets, host+":"+strconv.Itoa(d.Port))
			}
		}
		for _, s := range job.Static {
			targets = append(targets, s.Targets...)
		}
		if !ours || !known || len(targets) != 1 || !strings.HasPrefix(targets[0], name+":") {
			t.Errorf("got the job %+v", job)
			continue
		}
		if port := strings.TrimPrefix(targets[0], name); admin.ProbesListen != port || !admin.MetricsOpen {
			t.Errorf("%s serves at %q, open: %v; it is scraped at %s", name, admin.ProbesListen, admin.MetricsOpen, port)
		}
		delete(served, name)
	}
	if len(served) > 0 {
		t.Errorf("not scraped: %v", served)
	}
}
