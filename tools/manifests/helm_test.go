package manifests_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/common/util"
	"helm.sh/helm/v4/pkg/chart/v2/lint"
	"helm.sh/helm/v4/pkg/chart/v2/lint/support"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"helm.sh/helm/v4/pkg/engine"
	"k8s.io/apimachinery/pkg/runtime"
)

const chart = root + "/configs/helm/certpurge"

// values of a chart, as in values.yaml.
type values = map[string]any

// enabled is the value that switches a part on.
func enabled() values { return values{"enabled": true} }

// settingsOf reads the settings of an overlay, as --set-file does.
func settingsOf(t *testing.T, directory string) values {
	t.Helper()
	all := values{}
	for _, program := range []string{"worker", "enqueuer"} {
		text, err := os.ReadFile(filepath.Join(root, "configs/kubernetes", directory, "settings", program+".yaml"))
		if err != nil {
			t.Fatal(err)
		}
		all[program] = string(text)
	}
	return all
}

// template does what helm template does.
func template(t *testing.T, given values) (objects, error) {
	t.Helper()
	loaded, err := loader.Load(chart)
	if err != nil {
		t.Fatal(err)
	}
	release := common.ReleaseOptions{Name: "certpurge", Namespace: "openedx", IsInstall: true, Revision: 1}
	all, err := util.ToRenderValues(loaded, given, release, common.DefaultCapabilities)
	if err != nil {
		return nil, err
	}
	files, err := engine.Render(loaded, all)
	if err != nil {
		return nil, err
	}
	var rendered objects
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if !strings.HasSuffix(name, ".yaml") {
			continue
		}
		for document := range strings.SplitSeq("\n"+files[name], "\n---\n") {
			if strings.TrimSpace(document) != "" {
				rendered = append(rendered, decode(t, []byte(document)))
			}
		}
	}
	return rendered, nil
}

// madeNames are names that depend on the content: of ConfigMaps in kustomize, and of the job in the chart.
var madeNames = regexp.MustCompile(`"(certpurge-(?:worker|enqueuer|migrate))-[0-9a-z]{10}"`)

// comparable are objects by kind and name, without what kustomize and Helm do each in its own way: the namespace, and
// how a change of the settings restarts pods.
func (all objects) comparable(t *testing.T) map[string]any {
	t.Helper()
	some := map[string]any{}
	for _, object := range all {
		text, err := json.Marshal(object)
		if err != nil {
			t.Fatal(err)
		}
		var fields struct {
			Kind     string
			Metadata struct{ Name string }
		}
		var content map[string]any
		text = madeNames.ReplaceAll(text, []byte(`"$1"`))
		if err := json.Unmarshal(text, &fields); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(text, &content); err != nil {
			t.Fatal(err)
		}
		if metadata, ok := content["metadata"].(map[string]any); ok {
			delete(metadata, "namespace")
		}
		if annotations, ok := field(content, "spec", "template", "metadata", "annotations").(map[string]any); ok {
			delete(annotations, "checksum/settings")
		}
		some[fields.Kind+"/"+fields.Metadata.Name] = content
	}
	return some
}

// field follows keys into maps; nil if there is none.
func field(content any, keys ...string) any {
	for _, key := range keys {
		inner, _ := content.(map[string]any)
		content = inner[key]
	}
	return content
}

// TestHelmMakesTheSameObjects compares the chart with what kustomize makes.
func TestHelmMakesTheSameObjects(t *testing.T) {
	t.Parallel()
	const scaled = `patches:
  - target: {kind: Deployment, name: certpurge-worker}
    patch: |
      - op: remove
        path: /spec/replicas
`
	for name, tc := range map[string]struct {
		overlay string
		values  values
	}{
		"base": {filepath.Join(root, "configs/kubernetes/base"), values{"settings": settingsOf(t, "base")}},
		"production": {filepath.Join(root, "configs/kubernetes/overlays/production"), values{
			"settings": settingsOf(t, "overlays/production"),
			"worker": values{"serviceAccountAnnotations": values{
				"iam.gke.io/gcp-service-account": "certpurge@example-project.iam.gserviceaccount.com",
			}},
			"podMonitors": enabled(), "autoscaling": enabled(), "inventory": enabled(), "watch": enabled(), "redis": enabled(),
		}},
		"the others": {overlay(t, scaled, "backfill", "keda", "watch", "webhook"), values{
			"settings": settingsOf(t, "base"), "watch": enabled(), "webhook": enabled(),
			"backfill": enabled(), "autoscaling": values{"enabled": true, "keda": true},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rendered, err := template(t, tc.values)
			if err != nil {
				t.Fatal(err)
			}
			got, want := rendered.comparable(t), build(t, tc.overlay).comparable(t)
			if len(rendered) != len(got) {
				t.Errorf("got %d objects with %d names", len(rendered), len(got))
			}
			for name := range want {
				compare(t, name, got[name], want[name])
			}
			for name := range got {
				if want[name] == nil {
					t.Errorf("%s is only in the chart", name)
				}
			}
		})
	}
}

// compare names the fields that differ.
func compare(t *testing.T, path string, got, want any) {
	t.Helper()
	g, gotMap := got.(map[string]any)
	w, wantMap := want.(map[string]any)
	if !gotMap || !wantMap {
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %v, want %v", path, got, want)
		}
		return
	}
	keys := maps.Clone(g)
	maps.Copy(keys, w)
	for key := range keys {
		compare(t, path+"."+key, g[key], w[key])
	}
}

// TestHelmValues looks at each value that TestHelmMakesTheSameObjects leaves as it is.
func TestHelmValues(t *testing.T) {
	t.Parallel()
	digest := "sha256:" + strings.Repeat("0", 64)
	settings := settingsOf(t, "base")
	for name, tc := range map[string]struct {
		values values
		want   string // in the JSON of the objects
		not    string
	}{
		"tag":           {values{"image": values{"tag": "v9"}}, `"image":"registry.example.org/certpurge:v9"`, ":v0.1.0"},
		"digest":        {values{"image": values{"digest": digest}}, `certpurge@` + digest, ":v0.1.0"},
		"pull policy":   {values{"image": values{"pullPolicy": "Always"}}, `"imagePullPolicy":"Always"`, ""},
		"secrets":       {values{"secrets": values{"running": "a", "migrate": "b"}}, `"secretName":"b"`, `"secretName":"certpurge`},
		"replicas":      {values{"worker": values{"replicas": 7}}, `"replicas":7`, ""},
		"no server":     {values{"serve": values{"enabled": false}}, "certpurge-worker", `["enqueuer","serve"]`},
		"no migration":  {values{"migrate": values{"enabled": false}}, "certpurge-worker", "certpurge-migrate"},
		"no policies":   {values{"networkPolicies": values{"enabled": false}}, "certpurge-worker", "NetworkPolicy"},
		"no budgets":    {values{"podDisruptionBudgets": values{"enabled": false}}, "certpurge-worker", "PodDisruption"},
		"callers":       {values{"networkPolicies": values{"callers": values{"app": "driver"}}}, `"app":"driver"`, ""},
		"prometheus":    {values{"networkPolicies": values{"prometheusNamespace": "metrics"}}, `"metrics"`, `"monitoring"`},
		"probes":        {values{"probes": values{"liveness": values{"periodSeconds": 77}}}, `"periodSeconds":77`, ""},
		"pods":          {values{"podSpec": values{"nodeSelector": values{"disk": "fast"}}}, `"nodeSelector":{"disk":"fast"}`, ""},
		"slices":        {values{"backfill": values{"enabled": true, "users": 2000000}}, "--max-users=2000000", ""},
		"a schedule":    {values{"inventory": values{"enabled": true, "schedule": "1 2 3 * *"}}, `"schedule":"1 2 3 * *"`, ""},
		"redis's image": {values{"redis": values{"enabled": true, "image": "docker.io/redis:7.4.5"}}, `redis:7.4.5"`, `"redis:7.4"`},
		"more workers":  {values{"autoscaling": values{"enabled": true, "maxReplicas": 9, "tasks": 50}}, `"maxReplicas":9`, `"replicas":7`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			given := maps.Clone(tc.values)
			given["settings"] = settings
			all, err := template(t, given)
			if err != nil {
				t.Fatal(err)
			}
			text, err := json.Marshal([]runtime.Object(all))
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(string(text), tc.want) || tc.not != "" && strings.Contains(string(text), tc.not) {
				t.Errorf("want %s and not %q in\n%s", tc.want, tc.not, text)
			}
			checkPods(t, all)
			checkSelectors(t, all)
			for _, p := range all.pods() {
				checkSecurity(t, p)
			}
		})
	}
}

// TestHelmRefuses wrong values: a misspelt one would change nothing.
func TestHelmRefuses(t *testing.T) {
	t.Parallel()
	for want, given := range map[string]values{
		"--set-file settings.worker=worker.yaml": {"settings": values{"enqueuer": "x"}},
		"additional properties 'replica'":        {"settings": settingsOf(t, "base"), "worker": values{"replica": 3}},
		"/image/digest":                          {"settings": settingsOf(t, "base"), "image": values{"digest": "latest"}},
	} {
		if _, err := template(t, given); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: got %v, want %q", given, err, want)
		}
	}
}

// TestHelmRestartsPodsAndJob: settings that change restart the pods of their program, and only them; another image is
// another job.
func TestHelmRestartsPodsAndJob(t *testing.T) {
	t.Parallel()
	names := func(given values) string {
		all, err := template(t, given)
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, p := range all.pods() {
			names = append(names, p.name+" "+p.template.Annotations["checksum/settings"])
		}
		slices.Sort(names)
		return strings.Join(names, "\n")
	}
	settings := settingsOf(t, "base")
	before := names(values{"settings": settings})
	changed := maps.Clone(settings)
	changed["worker"] = fmt.Sprintf("%s# changed\n", changed["worker"])
	lines, after := strings.Split(before, "\n"), strings.Split(names(values{"settings": changed}), "\n")
	if len(lines) != 3 || lines[0] != after[0] || lines[1] != after[1] || lines[2] == after[2] {
		t.Errorf("other settings of the worker: got %q, before %q", after, lines)
	}
	after = strings.Split(names(values{"settings": settings, "image": values{"tag": "v9"}}), "\n")
	if lines[0] != after[0] || lines[1] == after[1] || lines[2] != after[2] {
		t.Errorf("another image: got %q, before %q", after, lines)
	}
}

// TestHelmLint does what helm lint --strict does.
func TestHelmLint(t *testing.T) {
	t.Parallel()
	for _, given := range []values{
		{"settings": settingsOf(t, "base")},
		{
			"settings": settingsOf(t, "base"), "podMonitors": enabled(), "autoscaling": enabled(), "inventory": enabled(),
			"backfill": enabled(), "watch": enabled(), "redis": enabled(),
		},
	} {
		for _, message := range lint.RunAll(chart, given, "openedx").Messages {
			if message.Severity > support.InfoSev {
				t.Error(message)
			}
		}
	}
}
