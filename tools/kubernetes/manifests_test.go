package kubernetes_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
)

// shipped is configs/kubernetes of the working tree.
const shipped = "../../configs/kubernetes"

// build does what kubectl apply -k does before it talks to a cluster.
func build(t *testing.T, directory string) []object {
	t.Helper()
	result, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), directory)
	if err != nil {
		t.Fatalf("%s: %v", directory, err)
	}
	text, err := result.AsYaml()
	if err != nil {
		t.Fatal(err)
	}
	return documents(t, string(text))
}

// withComponent makes an overlay of the base and one component, for this test.
func withComponent(t *testing.T, component string) (directory string) {
	t.Helper()
	directory, err := os.MkdirTemp(shipped, ".test-") //nolint:usetesting // kustomize wants it beside the others
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(directory) })
	text := "resources: [../base]\ncomponents: [../components/" + component + "]\n"
	if err := os.WriteFile(filepath.Join(directory, "kustomization.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return directory
}

// TestKustomize applies the base, the base with each component, and the overlay.
func TestKustomize(t *testing.T) {
	t.Parallel()
	define(t)
	directories := map[string]string{
		"base": filepath.Join(shipped, "base"), "production": filepath.Join(shipped, "overlays/production"),
	}
	components, err := os.ReadDir(filepath.Join(shipped, "components"))
	if err != nil {
		t.Fatal(err)
	}
	for _, component := range components {
		directories[component.Name()] = withComponent(t, component.Name())
	}
	for name, directory := range directories {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := newOperator(t)
			all := build(t, directory)
			stored := o.apply(all)
			pods := o.admit(all)
			o.noWarnings()
			if len(pods) < 3 {
				t.Errorf("only %d pods were admitted", len(pods))
			}
			noTokens(t, pods)
			isolated(t, all, pods)
			asWritten(t, all, stored)
			o.noRights(all)
		})
	}
}

// TestTutor applies what the plugin has rendered: make kubernetes-test names the directory.
func TestTutor(t *testing.T) {
	t.Parallel()
	variants, err := filepath.Glob(filepath.Join(os.Getenv("CERTPURGE_TEST_TUTOR"), "*", "kubernetes.yaml"))
	if err != nil || len(variants) < 3 {
		t.Fatalf("got %d variants in CERTPURGE_TEST_TUTOR, %v; run make kubernetes-test", len(variants), err)
	}
	for _, file := range variants {
		t.Run(filepath.Base(filepath.Dir(file)), func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			o := newOperator(t)
			all := documents(t, string(text))
			o.apply(all)
			pods := o.admit(all)
			o.noWarnings()
			if len(pods) < 2 {
				t.Errorf("only %d pods were admitted", len(pods))
			}
			noTokens(t, pods)
			o.noRights(all)
		})
	}
}

// TestTheServerRefusesAndWarns: the other tests could not fail on a server that does neither.
func TestTheServerRefusesAndWarns(t *testing.T) {
	t.Parallel()
	o := newOperator(t)
	pod := &core.Pod{
		ObjectMeta: meta.ObjectMeta{Name: "any"},
		Spec:       core.PodSpec{Containers: []core.Container{{Name: "any", Image: "any"}}},
	}
	_, err := o.client.CoreV1().Pods(o.namespace).Create(t.Context(), pod, meta.CreateOptions{})
	if err == nil || !strings.Contains(err.Error(), `violates PodSecurity "restricted`) {
		t.Errorf("a pod that is not restricted: got %v", err)
	}
	misspelt := documents(t, "apiVersion: v1\nkind: Service\nmetadata: {name: any}\nspec: {port: [{port: 1}]}\n")[0]
	if _, err := o.applyOne(misspelt); err == nil || !strings.Contains(err.Error(), "field not declared") &&
		!strings.Contains(err.Error(), "unknown field") {
		t.Errorf("a misspelt field: got %v", err)
	}
	deployment := documents(t, `apiVersion: apps/v1
kind: Deployment
metadata: {name: any}
spec:
  selector: {matchLabels: {a: b}}
  template: {metadata: {labels: {a: b}}, spec: {containers: [{name: any, image: any}]}}
`)[0]
	if _, err := o.applyOne(deployment); err != nil || len(o.warnings) == 0 {
		t.Errorf("a deployment of pods that are not restricted: got %v and %d warnings", err, len(o.warnings))
	}
}
