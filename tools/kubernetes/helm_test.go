package kubernetes_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/api/errors"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"
)

// release is an installation of the chart by Helm itself.
type release struct {
	*operator

	kubeconfig string
}

func newRelease(t *testing.T) release {
	t.Helper()
	r := release{newOperator(t), filepath.Join(t.TempDir(), "kubeconfig")}
	config := api.Config{
		Clusters: map[string]*api.Cluster{
			"test": {Server: cluster.Host, CertificateAuthority: cluster.CAFile},
		},
		AuthInfos:      map[string]*api.AuthInfo{"test": {Token: cluster.BearerToken}},
		Contexts:       map[string]*api.Context{"test": {Cluster: "test", AuthInfo: "test", Namespace: r.namespace}},
		CurrentContext: "test",
	}
	if err := clientcmd.WriteToFile(config, r.kubeconfig); err != nil {
		t.Fatal(err)
	}
	return r
}

// helm runs a command, which must say nothing on standard error: Helm prints the server's warnings there.
func (r release) helm(args ...string) (output string) {
	r.t.Helper()
	program := os.Getenv("CERTPURGE_TEST_HELM")
	if program == "" {
		r.t.Fatal("CERTPURGE_TEST_HELM: expected the path of helm; run make kubernetes-test")
	}
	command := exec.CommandContext(r.t.Context(), program, args...) //nolint:gosec // what the Makefile names
	command.Env = []string{"KUBECONFIG=" + r.kubeconfig, "HOME=" + r.t.TempDir()}
	var out, said bytes.Buffer
	command.Stdout, command.Stderr = &out, &said
	if err := command.Run(); err != nil || said.Len() > 0 {
		r.t.Errorf("helm %v: %v\n%s", args, err, said.Bytes())
	}
	return out.String()
}

func (r release) upgrade(more ...string) (notes string) {
	r.t.Helper()
	settings := filepath.Join(shipped, "overlays/production/settings")
	return r.helm(append([]string{
		"upgrade", "--install", "certpurge", "../../configs/helm/certpurge",
		"--set-file", "settings.worker=" + filepath.Join(settings, "worker.yaml"),
		"--set-file", "settings.enqueuer=" + filepath.Join(settings, "enqueuer.yaml"),
		"--set", "watch.enabled=true,redis.enabled=true,podMonitors.enabled=true,autoscaling.enabled=true",
		"--set", "inventory.enabled=true,backfill.enabled=true",
	}, more...)...)
}

// jobs are the names of the migrations.
func (r release) jobs() string {
	r.t.Helper()
	all, err := r.client.BatchV1().Jobs(r.namespace).List(r.t.Context(), meta.ListOptions{})
	if err != nil {
		r.t.Fatal(err)
	}
	var names []string
	for _, job := range all.Items {
		names = append(names, job.Name)
	}
	return strings.Join(names, " ")
}

// TestHelm installs, upgrades and removes the chart.
func TestHelm(t *testing.T) {
	t.Parallel()
	define(t)
	r := newRelease(t)
	if notes := r.upgrade(); !strings.Contains(notes, "http://certpurge-enqueuer."+r.namespace+":8080/") {
		t.Errorf("it prints %q", notes)
	}
	all := documents(t, r.helm("get", "manifest", "certpurge"))
	pods := r.admit(all)
	r.noWarnings()
	if len(pods) != 7 {
		t.Errorf("%d pods were admitted, want 7", len(pods))
	}
	noTokens(t, pods)
	isolated(t, all, pods)
	r.noRights(all)

	before := r.jobs()
	r.upgrade("--set", "image.tag=v9")
	if after := r.jobs(); after == before || strings.Contains(after, " ") {
		t.Errorf("another image leads to the jobs %s, before %s", after, before)
	}
	r.helm("uninstall", "certpurge")
	for _, one := range all {
		got, err := r.resource(one).Get(t.Context(), one.GetName(), meta.GetOptions{})
		// A claim waits for a controller that makes sure that no pod uses it.
		if !errors.IsNotFound(err) && (err != nil || got.GetDeletionTimestamp() == nil) {
			t.Errorf("%s after helm uninstall: got %v, want it to be gone", nameOf(one), err)
		}
	}
}
