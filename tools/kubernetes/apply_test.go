package kubernetes_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
	"sigs.k8s.io/yaml"
)

// object is one that the API server is given as it was written.
type object = *unstructured.Unstructured

// operator applies objects to a namespace of its test, and keeps the server's warnings.
type operator struct {
	t         *testing.T
	namespace string
	client    *kubernetes.Clientset
	dynamic   *dynamic.DynamicClient

	mu       sync.Mutex
	warnings []string
}

// HandleWarningHeaderWithContext keeps a warning, which kubectl would print.
func (o *operator) HandleWarningHeaderWithContext(_ context.Context, _ int, _, text string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.warnings = append(o.warnings, text)
}

// newOperator makes a namespace in which Kubernetes admits restricted pods only, and warns of what would make others.
func newOperator(t *testing.T) *operator {
	t.Helper()
	o := &operator{t: t}
	config := rest.CopyConfig(cluster)
	config.WarningHandlerWithContext = o
	o.client, o.dynamic = kubernetes.NewForConfigOrDie(config), dynamic.NewForConfigOrDie(config)
	namespace, err := o.client.CoreV1().Namespaces().Create(t.Context(), &core.Namespace{ObjectMeta: meta.ObjectMeta{
		GenerateName: "certpurge-",
		Labels: map[string]string{
			"pod-security.kubernetes.io/enforce": "restricted", "pod-security.kubernetes.io/warn": "restricted",
		},
	}}, meta.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	o.namespace = namespace.Name
	// A controller would make it.
	account := &core.ServiceAccount{ObjectMeta: meta.ObjectMeta{Name: "default"}}
	if _, err := o.client.CoreV1().ServiceAccounts(o.namespace).Create(t.Context(), account,
		meta.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	return o
}

// resource finds where objects of a kind are.
func (o *operator) resource(one object) dynamic.ResourceInterface {
	o.t.Helper()
	groups, err := restmapper.GetAPIGroupResources(discovery.NewDiscoveryClientForConfigOrDie(cluster))
	if err != nil {
		o.t.Fatal(err)
	}
	kind := one.GroupVersionKind()
	mapping, err := restmapper.NewDiscoveryRESTMapper(groups).RESTMapping(kind.GroupKind(), kind.Version)
	if err != nil {
		o.t.Fatal(err)
	}
	return o.dynamic.Resource(mapping.Resource).Namespace(o.namespace)
}

// apply does what kubectl apply --server-side does, and refuses unknown fields. It returns what the server made of it.
func (o *operator) apply(all []object) (stored []object) {
	o.t.Helper()
	for _, one := range all {
		if got, err := o.applyOne(one); err != nil {
			o.t.Errorf("applying %s: %v", nameOf(one), err)
		} else {
			stored = append(stored, got)
		}
	}
	return stored
}

func (o *operator) applyOne(one object) (object, error) {
	o.t.Helper()
	here := one.DeepCopy()
	here.SetNamespace(o.namespace)
	text, err := here.MarshalJSON()
	if err != nil {
		o.t.Fatal(err)
	}
	return o.resource(one).Patch(o.t.Context(), one.GetName(), types.ApplyPatchType, text,
		meta.PatchOptions{FieldManager: "kubectl", FieldValidation: meta.FieldValidationStrict})
}

// admit creates a pod of each template, as the controllers would, without keeping it.
func (o *operator) admit(all []object) (pods []*core.Pod) {
	o.t.Helper()
	for _, one := range all {
		template, ok := templateOf(o.t, one)
		if !ok {
			continue
		}
		pod := &core.Pod{ObjectMeta: template.ObjectMeta, Spec: template.Spec}
		pod.Name = one.GetName()
		pod.Spec.Volumes = append(pod.Spec.Volumes, claimed(o.t, one)...)
		got, err := o.client.CoreV1().Pods(o.namespace).Create(o.t.Context(), pod,
			meta.CreateOptions{DryRun: []string{meta.DryRunAll}})
		if err != nil {
			o.t.Errorf("a pod of %s: %v", nameOf(one), err)
			continue
		}
		pods = append(pods, got)
	}
	return pods
}

// claimed are the volumes that a StatefulSet's controller adds to its pods.
func claimed(t *testing.T, one object) (volumes []core.Volume) {
	t.Helper()
	if one.GetKind() != "StatefulSet" {
		return nil
	}
	var set apps.StatefulSet
	convert(t, one.Object, &set)
	for _, claim := range set.Spec.VolumeClaimTemplates {
		volumes = append(volumes, core.Volume{Name: claim.Name, VolumeSource: core.VolumeSource{
			PersistentVolumeClaim: &core.PersistentVolumeClaimVolumeSource{ClaimName: claim.Name + "-" + set.Name + "-0"},
		}})
	}
	return volumes
}

// templateOf is where workloads have the template of their pods.
func templateOf(t *testing.T, one object) (template core.PodTemplateSpec, ok bool) {
	t.Helper()
	path := []string{"spec", "template"}
	if one.GetKind() == "CronJob" {
		path = []string{"spec", "jobTemplate", "spec", "template"}
	}
	content, ok, _ := unstructured.NestedMap(one.Object, path...)
	if !ok {
		return template, false
	}
	convert(t, content, &template)
	return template, true
}

func convert(t *testing.T, content map[string]any, into any) {
	t.Helper()
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(content, into); err != nil {
		t.Fatal(err)
	}
}

// noWarnings fails for each warning so far.
func (o *operator) noWarnings() {
	o.t.Helper()
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, warning := range o.warnings {
		o.t.Errorf("the API server warns: %s", warning)
	}
	o.warnings = nil
}

func nameOf(one object) string { return fmt.Sprintf("%s/%s", one.GetKind(), one.GetName()) }

// documents reads the objects of a file of YAML.
func documents(t *testing.T, text string) []object {
	t.Helper()
	var all []object
	for document := range strings.SplitSeq("\n"+text, "\n---\n") {
		one := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(document), &one.Object); err != nil {
			t.Fatalf("%v in\n%s", err, document)
		}
		if len(one.Object) > 0 {
			all = append(all, one)
		}
	}
	return all
}

// ofKind are the objects of a kind.
func ofKind(all []object, kind string) []object {
	return slices.DeleteFunc(slices.Clone(all), func(one object) bool { return one.GetKind() != kind })
}
