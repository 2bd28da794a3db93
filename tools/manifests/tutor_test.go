package manifests_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestTutor reads what the plugin has rendered: make manifests names the directory.
func TestTutor(t *testing.T) {
	t.Parallel()
	variants, err := filepath.Glob(filepath.Join(os.Getenv("CERTPURGE_TEST_TUTOR"), "*", "kubernetes.yaml"))
	if err != nil || len(variants) < 3 {
		t.Fatalf("got %d variants in CERTPURGE_TEST_TUTOR, %v; run make manifests", len(variants), err)
	}
	for _, file := range variants {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var all objects
		for document := range bytes.SplitSeq(text, []byte("\n---\n")) {
			all = append(all, decode(t, document))
		}
		checkPods(t, all)
		checkSelectors(t, all)
		project := load(t, filepath.Join(filepath.Dir(file), "compose.yaml"))
		if _, ok := project.Services["certpurge-worker"]; !ok {
			t.Errorf("%s: no worker", file)
		}
		for name, service := range project.Services {
			if strings.HasPrefix(name, "certpurge-") { // the others stand for Tutor's own
				checkImage(t, name, service.Image)
			}
		}
	}
}
