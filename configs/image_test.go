package configs_test

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestTheImageHoldsTwoPrograms reads what the last stage of the Dockerfile copies, and as whom it runs.
func TestTheImageHoldsTwoPrograms(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	stage := string(text[strings.LastIndex(string(text), "\nFROM ")+1:])
	var copied []string
	for _, line := range regexp.MustCompile(`(?m)^COPY (.*)$`).FindAllStringSubmatch(stage, -1) {
		for word := range strings.FieldsSeq(line[1]) {
			if !strings.HasPrefix(word, "--") {
				copied = append(copied, word)
			}
		}
	}
	want := []string{
		"/etc/ssl/certs/ca-certificates.crt", "/etc/ssl/certs/ca-certificates.crt",
		"/out/worker", "/out/enqueuer", "/usr/local/bin/",
		"configs/worker.yaml", "configs/enqueuer.yaml", "/etc/certpurge/examples/",
	}
	if !slices.Equal(copied, want) {
		t.Errorf("the image holds %q, want %q", copied, want)
	}
	if !strings.HasPrefix(stage, "FROM scratch\n") || !strings.Contains(stage, "\nUSER 65532:65532\n") ||
		regexp.MustCompile(`(?m)^(RUN|ADD) `).MatchString(stage) {
		t.Errorf("it is not from scratch, or not for user 65532:\n%s", stage)
	}
}
