package demo_test

import (
	"os/exec"
	"strings"
	"testing"
)

// TestDemoLinksNoClients: the check must not share code with what it checks.
func TestDemoLinksNoClients(t *testing.T) {
	t.Parallel()
	output, err := exec.CommandContext(t.Context(), "go", "list", "-deps", ".").Output()
	if err != nil {
		t.Fatalf("listing the packages: %v", err)
	}
	for name := range strings.FieldsSeq(string(output)) {
		for _, forbidden := range []string{
			"cloud.google.com/", "gorm.io/", "github.com/hibiken/", "github.com/redis/",
			"github.com/certpurge/certpurge/internal/mysql", "github.com/certpurge/certpurge/internal/queue", "testing",
		} {
			if strings.HasPrefix(name, forbidden) {
				t.Errorf("it links %s", name)
			}
		}
		if name == "github.com/certpurge/certpurge/internal/gcs" {
			t.Errorf("it links %s", name)
		}
	}
}
