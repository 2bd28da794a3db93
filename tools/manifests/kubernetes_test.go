package manifests_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	apps "k8s.io/api/apps/v1"
	autoscaling "k8s.io/api/autoscaling/v2"
	batch "k8s.io/api/batch/v1"
	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	policy "k8s.io/api/policy/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/util/validation"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

// drain is queue.drain_timeout and serve.drain_timeout, in all settings.
const drain = 20 * time.Second

// objects are what would be applied to a cluster.
type objects []runtime.Object

// decode reads one object strictly: an unknown or misspelt field is an error.
func decode(t *testing.T, text []byte) runtime.Object {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		core.AddToScheme, apps.AddToScheme, batch.AddToScheme, policy.AddToScheme, networking.AddToScheme,
		autoscaling.AddToScheme, monitoring.AddToScheme,
	} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	var kind meta.TypeMeta
	if err := yaml.Unmarshal(text, &kind); err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	if kind.APIVersion == "keda.sh/v1alpha1" { // `make kubernetes-test` gives it to KEDA's own definition
		object := &unstructured.Unstructured{}
		if err := yaml.UnmarshalStrict(text, &object.Object); err != nil {
			t.Fatalf("%v in\n%s", err, text)
		}
		return object
	}
	object, _, err := serializer.NewCodecFactory(scheme, serializer.EnableStrict).UniversalDeserializer().Decode(text, nil,
		nil)
	if err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	return object
}

// build does what kubectl apply -k does before it talks to a cluster.
func build(t *testing.T, directory string) objects {
	t.Helper()
	result, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), directory)
	if err != nil {
		t.Fatalf("%s: %v", directory, err)
	}
	var all objects
	for _, resource := range result.Resources() {
		text, err := resource.AsYAML()
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, decode(t, text))
	}
	return all
}

func of[T runtime.Object](all objects) []T {
	var some []T
	for _, object := range all {
		if o, ok := object.(T); ok {
			some = append(some, o)
		}
	}
	return some
}

// pod is a template with the name of what makes pods of it.
type pod struct {
	name     string
	template core.PodTemplateSpec
	selector *meta.LabelSelector // nil for a pod that ends by itself
}

func (all objects) pods() []pod {
	var pods []pod
	for _, d := range of[*apps.Deployment](all) {
		pods = append(pods, pod{d.Name, d.Spec.Template, d.Spec.Selector})
	}
	for _, s := range of[*apps.StatefulSet](all) {
		pods = append(pods, pod{s.Name, s.Spec.Template, s.Spec.Selector})
	}
	for _, j := range of[*batch.Job](all) {
		pods = append(pods, pod{j.Name, j.Spec.Template, nil})
	}
	for _, c := range of[*batch.CronJob](all) {
		pods = append(pods, pod{c.Name, c.Spec.JobTemplate.Spec.Template, nil})
	}
	return pods
}

// checkSecrets makes sure that each pod gets the secrets that it needs, those of a component too, and no others.
func checkSecrets(t *testing.T, p pod, more map[string][]string) {
	t.Helper()
	want := map[string][]string{
		"certpurge-worker":   {"mysql-dsn-worker", "redis-url-worker"},
		"certpurge-enqueuer": {"jwt-secret", "mysql-dsn-enqueuer", "redis-url-enqueuer"},
		"certpurge-watch":    {"mysql-dsn-enqueuer", "redis-url-enqueuer"},

		"certpurge-backfill":  {"mysql-dsn-enqueuer", "redis-url-enqueuer"},
		"certpurge-inventory": {"mysql-dsn-worker", "redis-url-worker"},
	}[p.name]
	want = slices.Sorted(slices.Values(append(want, more[p.name]...)))
	var got []string
	for _, volume := range p.template.Spec.Volumes {
		if volume.Secret == nil || volume.Secret.SecretName == p.name {
			continue
		}
		if len(volume.Secret.Items) == 0 {
			t.Errorf("%s: gets all of the secret %s", p.name, volume.Secret.SecretName)
		}
		for _, item := range volume.Secret.Items {
			got = append(got, item.Key)
		}
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("%s: gets the secrets %v, want %v", p.name, got, want)
	}
}

func TestKubernetes(t *testing.T) {
	t.Parallel()
	for directory, want := range map[string][]string{
		"base": {"certpurge-enqueuer", "certpurge-migrate", "certpurge-worker"},
		"overlays/production": {
			"certpurge-enqueuer", "certpurge-inventory", "certpurge-migrate", "certpurge-redis", "certpurge-watch",
			"certpurge-worker",
		},
	} {
		t.Run(directory, func(t *testing.T) {
			t.Parallel()
			all := build(t, filepath.Join(root, "configs/kubernetes", directory))
			var names []string
			for _, p := range all.pods() {
				names = append(names, p.name)
				checkSecurity(t, p)
				checkSecrets(t, p, nil)
			}
			slices.Sort(names)
			if !slices.Equal(names, want) {
				t.Errorf("got %v, want %v", names, want)
			}
			checkPods(t, all)
			checkSelectors(t, all)
			for _, hpa := range of[*autoscaling.HorizontalPodAutoscaler](all) {
				for _, d := range of[*apps.Deployment](all) {
					if d.Name == hpa.Spec.ScaleTargetRef.Name && d.Spec.Replicas != nil {
						t.Errorf("%s has a number of replicas, and an autoscaler", d.Name)
					}
				}
			}
		})
	}
}

// checkPods looks at what pods name: probes, ports, settings, secrets, and how long they may take to stop.
func checkPods(t *testing.T, all objects) {
	t.Helper()
	claims := map[string]bool{}
	for _, c := range of[*core.PersistentVolumeClaim](all) {
		claims[c.Name] = true
	}
	settings := map[string]*core.ConfigMap{}
	for _, c := range of[*core.ConfigMap](all) {
		settings[c.Name] = c
	}
	accounts := map[string]bool{"": true, "default": true}
	for _, a := range of[*core.ServiceAccount](all) {
		accounts[a.Name] = true
	}
	for _, p := range all.pods() {
		spec := p.template.Spec
		if spec.EnableServiceLinks == nil || *spec.EnableServiceLinks { // their variables would look like settings
			t.Errorf("%s has service links", p.name)
		}
		if !accounts[spec.ServiceAccountName] {
			t.Errorf("%s has the account %q, which is not there", p.name, spec.ServiceAccountName)
		}
		for _, volume := range spec.Volumes {
			if volume.ConfigMap != nil && !strings.HasPrefix(volume.ConfigMap.Name, "certpurge-settings") &&
				settings[volume.ConfigMap.Name] == nil {
				t.Errorf("%s mounts %s, which is not there", p.name, volume.ConfigMap.Name)
			}
			if claim := volume.PersistentVolumeClaim; claim != nil && !claims[claim.ClaimName] {
				t.Errorf("%s mounts the claim %s, which is not there", p.name, claim.ClaimName)
			}
			if volume.Secret != nil && *volume.Secret.DefaultMode != 0o440 {
				t.Errorf("%s mounts %s with mode %o", p.name, volume.Secret.SecretName, *volume.Secret.DefaultMode)
			}
		}
		for _, c := range slices.Concat(spec.InitContainers, spec.Containers) {
			checkImage(t, p.name, c.Image)
		}
		for _, c := range spec.Containers {
			if len(c.Command) > 0 && c.Command[0] != "worker" && c.Command[0] != "enqueuer" {
				t.Errorf("%s runs %v", p.name, c.Command)
			}
			for _, probe := range []*core.Probe{c.ReadinessProbe, c.LivenessProbe} {
				if probe != nil && probe.HTTPGet != nil && !hasPort(c, probe.HTTPGet.Port.StrVal) {
					t.Errorf("%s is probed at port %s, which it has not", p.name, probe.HTTPGet.Port.StrVal)
				}
			}
			if p.selector == nil || len(c.Command) == 0 {
				continue
			}
			if !slices.ContainsFunc(c.Env, func(e core.EnvVar) bool { return e.Name == "CERTPURGE_CONFIG" }) {
				t.Errorf("%s: a command of kubectl exec does not find the settings", p.name)
			}
			if c.ReadinessProbe == nil || c.LivenessProbe == nil {
				t.Errorf("%s has not both probes", p.name)
			}
			if grace := time.Duration(*spec.TerminationGracePeriodSeconds) * time.Second; grace < drain+10*time.Second {
				t.Errorf("%s is killed while it drains: %v", p.name, grace)
			}
		}
	}
}

func hasPort(c core.Container, name string) bool {
	return slices.ContainsFunc(c.Ports, func(p core.ContainerPort) bool { return p.Name == name })
}

// checkSecurity holds pods to what Kubernetes calls restricted.
func checkSecurity(t *testing.T, p pod) {
	t.Helper()
	spec := p.template.Spec
	if s := spec.SecurityContext; s == nil || s.RunAsNonRoot == nil || !*s.RunAsNonRoot || s.SeccompProfile == nil {
		t.Errorf("%s: the pod is not restricted", p.name)
	}
	for _, c := range spec.Containers {
		s := c.SecurityContext
		if s == nil || s.AllowPrivilegeEscalation == nil || *s.AllowPrivilegeEscalation || s.ReadOnlyRootFilesystem == nil ||
			!*s.ReadOnlyRootFilesystem ||
			s.Capabilities == nil || !slices.Equal(s.Capabilities.Drop, []core.Capability{"ALL"}) {
			t.Errorf("%s: the container %s is not restricted", p.name, c.Name)
		}
		if c.Resources.Requests.Memory().IsZero() || c.Resources.Limits.Memory().IsZero() ||
			c.Resources.Requests.Cpu().IsZero() {
			t.Errorf("%s: the container %s does not say what it needs", p.name, c.Name)
		}
	}
}

// checkSelectors looks at everything that chooses pods: it must choose some.
func checkSelectors(t *testing.T, all objects) {
	t.Helper()
	pods := all.pods()
	chooses := func(what string, selector *meta.LabelSelector, port string) {
		t.Helper()
		choice, err := meta.LabelSelectorAsSelector(selector)
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		chosen := 0
		for _, p := range pods {
			if !choice.Matches(labels.Set(p.template.Labels)) {
				continue
			}
			chosen++
			if port != "" && !slices.ContainsFunc(p.template.Spec.Containers,
				func(c core.Container) bool { return hasPort(c, port) }) {
				t.Errorf("%s wants port %s of %s, which has none", what, port, p.name)
			}
		}
		if chosen == 0 {
			t.Errorf("%s chooses nothing", what)
		}
	}
	for _, p := range pods {
		if p.selector != nil {
			chooses(p.name, p.selector, "")
		}
		for key, value := range p.template.Labels {
			if problems := append(validation.IsQualifiedName(key), validation.IsValidLabelValue(value)...); len(problems) > 0 {
				t.Errorf("%s: label %s=%s: %v", p.name, key, value, problems)
			}
		}
	}
	for _, s := range of[*core.Service](all) {
		for _, port := range s.Spec.Ports {
			chooses("service "+s.Name, &meta.LabelSelector{MatchLabels: s.Spec.Selector}, port.TargetPort.StrVal)
		}
	}
	for _, b := range of[*policy.PodDisruptionBudget](all) {
		chooses("budget "+b.Name, b.Spec.Selector, "")
	}
	for _, n := range of[*networking.NetworkPolicy](all) {
		chooses("network policy "+n.Name, &n.Spec.PodSelector, "")
	}
	for _, m := range of[*monitoring.PodMonitor](all) {
		chooses("pod monitor "+m.Name, &m.Spec.Selector, *m.Spec.PodMetricsEndpoints[0].Port)
	}
}

// TestEveryComponentStandsAlone: each may be used without the others.
func TestEveryComponentStandsAlone(t *testing.T) {
	t.Parallel()
	base := len(build(t, filepath.Join(root, "configs/kubernetes/base")))
	for _, component := range components(t) {
		all := build(t, overlay(t, "", component))
		if len(all) <= base {
			t.Errorf("%s adds nothing", component)
		}
		for _, p := range all.pods() {
			checkSecurity(t, p)
			checkSecrets(t, p, map[string]map[string][]string{
				"webhook": {"certpurge-enqueuer": {"notify-secret"}},
			}[component])
		}
		checkPods(t, all)
		if component == "monitoring" { // it chooses the watcher, too, which may be missing
			all = slices.DeleteFunc(all, func(o runtime.Object) bool {
				m, ok := o.(*monitoring.PodMonitor)
				return ok && m.Name == "certpurge-watch"
			})
		}
		checkSelectors(t, all)
	}
}

func components(t *testing.T) []string {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(root, "configs/kubernetes/components"))
	if err != nil || len(entries) < 6 {
		t.Fatalf("got %d components, %v", len(entries), err)
	}
	var names []string
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	return names
}

// overlay makes one of the base and some components, for this test. More is appended to its kustomization.
func overlay(t *testing.T, more string, components ...string) (directory string) {
	t.Helper()
	beside := filepath.Join(root, "configs/kubernetes") // where kustomize wants it
	directory, err := os.MkdirTemp(beside, ".test-")    //nolint:usetesting // as above
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(directory) })
	text := more + "resources: [../base]\nimages: [{name: certpurge, newName: registry.example.org/certpurge, newTag: v0.1.0}]\n" +
		"components: [../components/" + strings.Join(components, ", ../components/") + "]\n"
	if err := os.WriteFile(filepath.Join(directory, "kustomization.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return directory
}
