package kubernetes_test

import (
	"bytes"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestUpgrade applies the overlay of the latest commit with other manifests, and then today's as README.md says.
func TestUpgrade(t *testing.T) {
	t.Parallel()
	define(t)
	o := newOperator(t)
	before, now := build(t, filepath.Join(earlier(t), "configs/kubernetes/overlays/production")),
		build(t, filepath.Join(shipped, "overlays/production"))
	o.apply(before)
	background := meta.DeletePropagationBackground
	if err := o.client.BatchV1().Jobs(o.namespace).Delete(t.Context(), "certpurge-migrate",
		meta.DeleteOptions{PropagationPolicy: &background}); err != nil {
		t.Fatal(err)
	}
	stored := o.apply(now)
	o.noWarnings()
	o.admit(now)
	for i, again := range o.apply(now) {
		if i < len(stored) && again.GetResourceVersion() != stored[i].GetResourceVersion() {
			t.Errorf("%s changes when it is applied again", nameOf(again))
		}
	}
}

// earlier returns a directory with the manifests of the latest commit whose manifests are not those of the working tree.
func earlier(t *testing.T) string {
	t.Helper()
	for commit := range strings.FieldsSeq(git(t, "log", "--format=%H", "--", "configs/kubernetes")) {
		if git(t, "diff", "--name-only", commit, "--", "configs/kubernetes") == "" {
			continue
		}
		directory := t.TempDir()
		tar := exec.CommandContext(t.Context(), "tar", "-x", "-C", directory) //nolint:gosec // of this test
		tar.Stdin = strings.NewReader(git(t, "archive", commit, "configs/kubernetes"))
		if output, err := tar.CombinedOutput(); err != nil {
			t.Fatalf("tar: %v\n%s", err, output)
		}
		t.Logf("upgrading from %s", commit)
		return directory
	}
	t.Fatal("no commit has other manifests; this test needs the history of the repository")
	return ""
}

func git(t *testing.T, args ...string) string {
	t.Helper()
	command := exec.CommandContext(t.Context(), "git", args...) //nolint:gosec // of this test
	command.Dir = "../.."
	var said bytes.Buffer
	command.Stderr = &said
	output, err := command.Output()
	if err != nil {
		t.Fatalf("git %v: %v\n%s", args, err, said.Bytes())
	}
	return string(output)
}
