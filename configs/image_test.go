package configs_test

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestImages reads what the last stage of the Dockerfile and the stage demo copy, and as whom they run.
func TestImages(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	stages := strings.Split(string(text), "\nFROM ")
	for name, want := range map[string][]string{
		"scratch": {
			"/etc/ssl/certs/ca-certificates.crt", "/etc/ssl/certs/ca-certificates.crt",
			"/out/worker", "/out/enqueuer", "/usr/local/bin/",
			"/state", "/var/lib/certpurge",
			"configs/worker.yaml", "configs/enqueuer.yaml", "/etc/certpurge/examples/",
		},
		"scratch AS demo": {"/out/demo", "/usr/local/bin/"},
	} {
		at := slices.IndexFunc(stages, func(stage string) bool { return strings.HasPrefix(stage, name+"\n") })
		if at < 0 || name == "scratch" && at != len(stages)-1 {
			t.Fatalf("FROM %s is no stage, or not the right one", name)
		}
		var copied []string
		for _, line := range regexp.MustCompile(`(?m)^COPY (.*)$`).FindAllStringSubmatch(stages[at], -1) {
			for word := range strings.FieldsSeq(line[1]) {
				if !strings.HasPrefix(word, "--") {
					copied = append(copied, word)
				}
			}
		}
		if !slices.Equal(copied, want) {
			t.Errorf("FROM %s: the image holds %q, want %q", name, copied, want)
		}
		if !strings.Contains(stages[at], "\nUSER 65532:65532\n") ||
			regexp.MustCompile(`(?m)^(RUN|ADD) `).MatchString(stages[at]) {
			t.Errorf("FROM %s: it is not for user 65532, or runs something:\n%s", name, stages[at])
		}
	}
}
