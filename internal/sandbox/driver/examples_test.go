package driver_test

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/certpurge/certpurge/internal/sandbox/sandboxtest"
)

// curls returns the commands of a page that call the server, as a reader would copy them.
func curls(t *testing.T, page string) (all []string) {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	whole := strings.ReplaceAll(string(text), "\\\n", " ")
	for _, found := range regexp.MustCompile(`(?m)^\$ (.*\bcurl .*"\$API/.*)$`).FindAllStringSubmatch(whole, -1) {
		all = append(all, found[1])
	}
	return all
}

func TestTheExamplesWorkAsWritten(t *testing.T) {
	t.Parallel()
	examples := append(curls(t, "../../../docs/quickstart.md"), curls(t, "../../../docs/integrations.md")...)
	if len(examples) < 6 {
		t.Fatalf("got %q: where are the others?", examples)
	}
	w := newWorld(t)
	w.startWorker()
	jwt, err := w.env.Callers.JWT(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	for _, example := range examples {
		var got string
		var err error
		sandboxtest.Eventually(t, "an end of "+example, func() bool {
			cmd := exec.CommandContext(t.Context(), "bash", "-euo", "pipefail", "-c", example) //nolint:gosec // our own page
			cmd.Env = append(os.Environ(), "API="+w.url, "TOKEN="+w.env.Callers.Token, "JWT="+jwt)
			var output []byte
			output, err = cmd.CombinedOutput()
			got = strings.TrimSpace(string(output))
			return got != "503" && !strings.Contains(got, `"code":"no_evidence"`) // the worker is not there yet
		})
		switch {
		case err != nil || strings.Contains(got, `"code":`):
			t.Errorf("%s\n%v\n%s", example, err, got)
		case strings.Contains(example, "%{http_code}") && got != "204" && got != "409" &&
			got[:min(2, len(got))] != "42": // by the user's kind
			t.Errorf("%s\ngot %q, want the status of an end", example, got)
		case got == "":
			t.Errorf("%s\nprinted nothing", example)
		}
	}
}
