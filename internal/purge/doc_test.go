package purge_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode"

	"github.com/certpurge/certpurge/internal/purge"
)

// TestThePathOfARequestExists reads the path of one request from doc.go and finds each function in its file.
func TestThePathOfARequestExists(t *testing.T) {
	t.Parallel()
	doc, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	steps := regexp.MustCompile(`(?m)^//\t(\S+\.go) +(\w+) `).FindAllStringSubmatch(string(doc), -1)
	if len(steps) < 10 {
		t.Errorf("doc.go names %d steps, want the whole path", len(steps))
	}
	for _, step := range steps {
		source, err := os.ReadFile(filepath.Join("../..", step[1]))
		if err != nil {
			t.Errorf("%v", err)
		}
		if !regexp.MustCompile(`(?m)^func (\([^)]*\) )?` + step[2] + `\(`).Match(source) {
			t.Errorf("%s has no function %s", step[1], step[2])
		}
	}
}

func TestReferencesPrintWithoutTheirContent(t *testing.T) {
	t.Parallel()
	ref := purge.Reference{
		Table: purge.History, RowID: 8, CertificateID: 7, DownloadUUID: idD, VerifyUUID: idV,
		DownloadURL: "https://secret.example",
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
		if got := fmt.Sprintf(verb, ref); strings.Contains(got, "secret") || strings.Contains(got, idD) ||
			!strings.Contains(got, "7") {
			t.Errorf("%s prints %s", verb, got)
		}
	}
}

func TestErrorsCarryTheirClass(t *testing.T) {
	t.Parallel()
	held := &purge.Error{Class: purge.Held, Text: "held", Cause: errors.New("https://storage.example/secret")}
	wrapped := fmt.Errorf("purging: %w", held)
	if got := purge.ClassOf(wrapped); got != purge.Held {
		t.Errorf("got class %d, want held", got)
	}
	if strings.Contains(wrapped.Error(), "secret") {
		t.Errorf("%q shows its cause", wrapped)
	}
	if got := purge.ClassOf(errors.New("anything")); got != purge.Transient {
		t.Errorf("got class %d, want transient", got)
	}
}

func TestEscapedJSON(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"plain, and Größe", "\u009b2J", "\u202emoc.live", "a\u007fb", "\U000e0001", "\u2028\u0000\n\t", "\U0001f600", "\xff",
	} {
		var out bytes.Buffer
		if err := json.NewEncoder(purge.EscapedJSON{W: &out}).Encode(text); err != nil {
			t.Fatal(err)
		}
		line := strings.TrimSuffix(out.String(), "\n")
		if i := strings.IndexFunc(line, func(r rune) bool { return !unicode.IsPrint(r) }); i >= 0 {
			t.Errorf("%q: got %q", text, line)
		}
		var back string
		if err := json.Unmarshal(out.Bytes(), &back); err != nil || back != strings.ToValidUTF8(text, "\ufffd") {
			t.Errorf("%q: got %q, %v", text, back, err)
		}
	}
}

func TestCallerKey(t *testing.T) {
	t.Parallel()
	for given, ok := range map[string]bool{
		"a": true, strings.Repeat("k", 255): true, "ticket-4711/x:y": true, "user:42": true,
		"": false, strings.Repeat("k", 256): false, "with space": false, "ümlaut": false, "a\n": false,
	} {
		key, err := purge.CallerKey("", given)
		if (err == nil) != ok || ok && (!strings.HasPrefix(key, "sha256:") || len(key) > 128 || key == purge.DefaultKey(42)) {
			t.Errorf("%q: got %q, %v", given, key, err)
		}
	}
	seen := map[string]bool{}
	for _, k := range [][2]string{{"", "a"}, {"", "b"}, {"token:x", "a"}, {"token:y", "a"}} {
		key, err := purge.CallerKey(k[0], k[1])
		if err != nil || seen[key] {
			t.Errorf("%q: got the key of another one, %v", k, err)
		}
		seen[key] = true
	}
}
