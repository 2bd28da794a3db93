package notify_test

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/certpurge/certpurge/internal/config"
	"github.com/certpurge/certpurge/internal/notify"
)

// TestTheExampleOfThePageVerifies runs the receiver of docs/integrations.md on an event as it is sent.
func TestTheExampleOfThePageVerifies(t *testing.T) {
	t.Parallel()
	python, err := exec.LookPath("python3")
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skip("there is no python3 on this machine")
	}
	page, err := os.ReadFile("../../docs/integrations.md")
	if err != nil {
		t.Fatal(err)
	}
	example := regexp.MustCompile("(?s)```python\n(import base64.*?)```").FindSubmatch(page)
	if example == nil {
		t.Fatal("docs/integrations.md has no example that verifies")
	}
	w := newWorld(t)
	sender, err := notify.NewSender(config.Notify{
		URL: w.receiver.URL, Secret: config.NewSecret(secret), Timeout: time.Minute,
	}, "v0")
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		at     time.Time
		secret string
		suffix string // of the body, as the receiver reads it
		want   string
	}{
		"right":          {time.Now(), secret, "", "True"},
		"changed":        {time.Now(), secret, " ", "False"},
		"another secret": {time.Now(), "whsec_" + strings.Repeat("AAAA", 8), "", "False"},
		"an old one":     {time.Now().Add(-10 * time.Minute), secret, "", "False"},
	} {
		if answer := sender.Send(t.Context(), name, []byte(`{"data":{"title":"é"}}`), tc.at); !answer.Delivered {
			t.Fatalf("%s: got %+v", name, answer)
		}
		all := w.receiver.all()
		e := all[len(all)-1]
		script := fmt.Sprintf("%s\nprint(verify(%q, {'webhook-id': %q, 'webhook-timestamp': %q, 'webhook-signature': %q}, "+
			"bytes.fromhex('%x')))\n", example[1], tc.secret, e.Header.Get("webhook-id"), e.Header.Get("webhook-timestamp"),
			e.Header.Get("webhook-signature"), e.Body+tc.suffix)
		out, err := exec.CommandContext(t.Context(), python, "-c", script).CombinedOutput() //nolint:gosec // our own page
		if err != nil || strings.TrimSpace(string(out)) != tc.want {
			t.Errorf("%s: got %s, %v; want %s", name, out, err, tc.want)
		}
	}
}
