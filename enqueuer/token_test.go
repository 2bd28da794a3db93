package main

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/certpurge/certpurge/internal/cli"
	"github.com/certpurge/certpurge/internal/config"
	"github.com/certpurge/certpurge/internal/httpapi/auth"
)

// runAlone executes a command that needs neither configuration nor servers.
func runAlone(t *testing.T, want int, args ...string) (stdout, stderr string) {
	t.Helper()
	var out, errOut bytes.Buffer
	root := newCommand(cli.Streams{Out: &out, Err: &errOut})
	if got := cli.Run(t.Context(), root, args, &errOut); got != want {
		t.Errorf("enqueuer %s: got exit code %d, want %d; it says:\n%s%s", strings.Join(args, " "), got, want, out.String(),
			errOut.String())
	}
	return out.String(), errOut.String()
}

func TestTokenAndItsEntryFitTogether(t *testing.T) {
	t.Parallel()
	out, _ := runAlone(t, cli.ExitOK, "token", "null", "--rights", "enqueue,read", "--rate", "7", "--burst", "9")
	// The whole output is the file, but for the line of the token.
	lines := strings.Split(out, "\n")
	token := lines[1]
	if len(token) != 43 {
		t.Fatalf("got the token %q, want 32 bytes in base64url", token)
	}
	path := filepath.Join(t.TempDir(), "enqueuer.yaml")
	if err := os.WriteFile(path, []byte(strings.Join(lines[2:], "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := config.LoadEnqueuer(path, []string{"CERTPURGE_MYSQL_DSN=u:p@tcp(h:1)/certpurge"})
	if err != nil {
		t.Fatal(err)
	}
	a, err := auth.New(auth.Config{JWT: cfg.JWT, Tokens: cfg.Tokens})
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://certpurge/", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	caller, err := a.Authenticate(r)
	if err != nil || caller.Name != "null" || caller.Rights.String() != "enqueue,read" {
		t.Errorf("got %+v, %v, want the caller of the entry", caller, err)
	}
	if cfg.Tokens[0].Rate != 7 || cfg.Tokens[0].Burst != 9 {
		t.Errorf("got %+v, want the rate of the command line", cfg.Tokens[0])
	}
	if again, _ := runAlone(t, cli.ExitOK, "token", "portal", "--rights", "read"); strings.Contains(again, token) {
		t.Error("got the same token twice")
	}
}

func TestTokenAsJSON(t *testing.T) {
	t.Parallel()
	out, _ := runAlone(t, cli.ExitOK, "token", "ci", "--rights", "requeue", "-o", "json")
	var got struct {
		Token string         `json:"token"`
		Entry map[string]any `json:"entry"`
	}
	if err := json.Unmarshal([]byte(out), &got); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if len(got.Token) != 43 || got.Entry["name"] != "ci" || got.Entry["rate"] != 100.0 ||
		len(got.Entry["sha256"].(string)) != 64 { //nolint:errcheck,forcetypeassert // A panic is a failure.
		t.Errorf("got %s", out)
	}
}

func TestTokensThatCannotBeConfigured(t *testing.T) {
	t.Parallel()
	for want, args := range map[string][]string{
		`name: must be 1 to 32 of a-z, 0-9 and -, is "Portal"`:            {"Portal", "--rights", "read"},
		`rights[1]: must be one of enqueue, read, requeue, is "delete"`:   {"portal", "--rights", "read,delete"},
		`--rights is missing: expected some of enqueue, read and requeue`: {"portal"},
		`rate: must be between 1 and 10000, is 0`:                         {"portal", "--rights", "read", "--rate", "0"},
		`accepts 1 arg(s), received 0`:                                    {"--rights", "read"},
	} {
		out, stderr := runAlone(t, cli.ExitUsage, append([]string{"token"}, args...)...)
		if !strings.Contains(stderr, want) || out != "" {
			t.Errorf("%q: got %q and %q, want %q", args, out, stderr, want)
		}
	}
}
