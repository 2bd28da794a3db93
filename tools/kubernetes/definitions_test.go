package kubernetes_test

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/dynamic"
)

// definitions are files of modules, from the module proxy: what an installation of each project applies to a cluster.
var definitions = map[string]string{
	"github.com/prometheus-operator/prometheus-operator@v0.92.1": "example/prometheus-operator-crd/monitoring.coreos.com_podmonitors.yaml",
	"github.com/kedacore/keda/v2@v2.21.0":                        "config/crd/bases/keda.sh_scaledobjects.yaml",
}

var defineOnce sync.Once

// define makes the kinds known that components use, and Kubernetes does not have.
func define(t *testing.T) {
	t.Helper()
	defineOnce.Do(func() {
		client := dynamic.NewForConfigOrDie(cluster).Resource(schema.GroupVersionResource{
			Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions",
		})
		for module, path := range definitions {
			text, err := os.ReadFile(filepath.Join(download(t, module), path))
			if err != nil {
				t.Fatal(err)
			}
			for _, definition := range documents(t, string(text)) {
				if _, err := client.Create(t.Context(), definition, meta.CreateOptions{}); err != nil {
					t.Fatal(err)
				}
				waitEstablished(t, client, definition.GetName())
			}
		}
	})
}

func waitEstablished(t *testing.T, client dynamic.ResourceInterface, name string) {
	t.Helper()
	err := wait.PollUntilContextTimeout(t.Context(), 100*time.Millisecond, startLimit, true,
		func(ctx context.Context) (bool, error) {
			got, err := client.Get(ctx, name, meta.GetOptions{})
			if err != nil {
				return false, err
			}
			conditions, _, _ := unstructured.NestedSlice(got.Object, "status", "conditions") // null at first
			for _, condition := range conditions {
				if c, ok := condition.(map[string]any); ok && c["type"] == "Established" && c["status"] == "True" {
					return true, nil
				}
			}
			return false, nil
		})
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

// download returns the directory of a module, whose content Go has compared with the checksum database.
func download(t *testing.T, module string) string {
	t.Helper()
	command := exec.CommandContext(t.Context(), "go", "mod", "download", "-json", module) //nolint:gosec // one of definitions
	command.Dir = t.TempDir()                                                             // outside of any module
	var said bytes.Buffer
	command.Stderr = &said
	output, err := command.Output()
	var downloaded struct{ Dir string }
	if jsonErr := json.Unmarshal(output, &downloaded); err != nil || jsonErr != nil || downloaded.Dir == "" {
		t.Fatalf("go mod download %s: %v, %v\n%s%s", module, err, jsonErr, output, said.Bytes())
	}
	return downloaded.Dir
}
