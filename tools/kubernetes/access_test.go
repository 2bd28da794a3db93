package kubernetes_test

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	authorization "k8s.io/api/authorization/v1"
	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	rbac "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// noTokens: none of the pods asks the API server anything, so none gets a token for it. The server adds it to a pod as a
// volume.
func noTokens(t *testing.T, pods []*core.Pod) {
	t.Helper()
	for _, pod := range pods {
		for _, volume := range pod.Spec.Volumes {
			if strings.HasPrefix(volume.Name, "kube-api-access-") {
				t.Errorf("%s gets a token of the API server", pod.Name)
			}
		}
	}
}

// rights are what a service account may do in its namespace, as it would be told itself.
func (o *operator) rights(account string) []authorization.ResourceRule {
	o.t.Helper()
	config := rest.CopyConfig(cluster)
	config.Impersonate = rest.ImpersonationConfig{
		UserName: "system:serviceaccount:" + o.namespace + ":" + account,
		Groups:   []string{"system:serviceaccounts", "system:serviceaccounts:" + o.namespace, "system:authenticated"},
	}
	review := &authorization.SelfSubjectRulesReview{
		Spec: authorization.SelfSubjectRulesReviewSpec{Namespace: o.namespace},
	}
	got, err := kubernetes.NewForConfigOrDie(config).AuthorizationV1().SelfSubjectRulesReviews().Create(o.t.Context(),
		review, meta.CreateOptions{})
	if err != nil {
		o.t.Fatal(err)
	}
	if got.Status.Incomplete {
		o.t.Errorf("the rights of %s are incomplete: %s", account, got.Status.EvaluationError)
	}
	return got.Status.ResourceRules
}

// noRights: the accounts may do what each account may, which is to ask what it may do.
func (o *operator) noRights(all []object) {
	o.t.Helper()
	accounts := ofKind(all, "ServiceAccount")
	if len(accounts) == 0 {
		o.t.Error("there is no service account")
	}
	for _, account := range accounts {
		if got, want := o.rights(account.GetName()), o.rights("default"); !reflect.DeepEqual(got, want) {
			o.t.Errorf("%s may do %v, want %v", account.GetName(), got, want)
		}
	}
}

// TestRightsAreSeen: noRights fails for an account with a right.
func TestRightsAreSeen(t *testing.T) {
	t.Parallel()
	o := newOperator(t)
	role := &rbac.Role{
		ObjectMeta: meta.ObjectMeta{Name: "any"},
		Rules:      []rbac.PolicyRule{{APIGroups: []string{""}, Resources: []string{"secrets"}, Verbs: []string{"get"}}},
	}
	if _, err := o.client.RbacV1().Roles(o.namespace).Create(t.Context(), role, meta.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	binding := &rbac.RoleBinding{
		ObjectMeta: meta.ObjectMeta{Name: "any"},
		RoleRef:    rbac.RoleRef{APIGroup: rbac.GroupName, Kind: "Role", Name: "any"},
		Subjects:   []rbac.Subject{{Kind: rbac.ServiceAccountKind, Name: "any", Namespace: o.namespace}},
	}
	if _, err := o.client.RbacV1().RoleBindings(o.namespace).Create(t.Context(), binding,
		meta.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if reflect.DeepEqual(o.rights("any"), o.rights("default")) {
		t.Error("the rights of an account with a role are those of one without")
	}
}

// isolated: network policies decide about what reaches each pod, and about what each pod of certpurge reaches.
func isolated(t *testing.T, all []object, pods []*core.Pod) {
	t.Helper()
	for _, pod := range pods {
		var types []networking.PolicyType
		for _, one := range ofKind(all, "NetworkPolicy") {
			var policy networking.NetworkPolicy
			convert(t, one.Object, &policy)
			chosen, err := meta.LabelSelectorAsSelector(&policy.Spec.PodSelector)
			if err != nil {
				t.Fatal(err)
			}
			if chosen.Matches(labels.Set(pod.Labels)) {
				types = append(types, policy.Spec.PolicyTypes...)
			}
		}
		if !slices.Contains(types, networking.PolicyTypeIngress) ||
			pod.Name != "certpurge-redis" && !slices.Contains(types, networking.PolicyTypeEgress) {
			t.Errorf("policies decide only about %v of %s", types, pod.Name)
		}
	}
}

// asWritten compares the network policies that the server has stored with those that were applied.
func asWritten(t *testing.T, all, stored []object) {
	t.Helper()
	written, kept := ofKind(all, "NetworkPolicy"), ofKind(stored, "NetworkPolicy")
	if len(written) != len(kept) {
		t.Errorf("%d of %d network policies are stored", len(kept), len(written))
		return
	}
	for i := range written {
		var want, got networking.NetworkPolicy
		convert(t, written[i].Object, &want)
		convert(t, kept[i].Object, &got)
		if !equality.Semantic.DeepEqual(got.Spec, want.Spec) {
			t.Errorf("%s: the server stored %v, want %v", want.Name, got.Spec, want.Spec)
		}
	}
}
