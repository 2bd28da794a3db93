package cli_test

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/certpurge/certpurge/internal/cli"
	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/queue/presence"
)

func TestEscapeQuotesOnlyWhatATerminalWouldObey(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"": "", "Zertifikat Köln.pdf": "Zertifikat Köln.pdf", `a "quoted" \ name`: `a "quoted" \ name`,
		"a\x1b]0;x\x07": `"a\x1b]0;x\a"`, "two\nlines": `"two\nlines"`, "tab\t": `"tab\t"`, "\u202efdp": `"\u202efdp"`,
		"\u009b31m": `"\u009b31m"`,
		"\xff":      `"\xff"`, "\u2028": `"\u2028"`,
	} {
		if got := cli.Escape(text); got != want {
			t.Errorf("%q: got %s, want %s", text, got, want)
		}
	}
}

func TestPrintfEscapesEveryText(t *testing.T) {
	t.Parallel()
	const evil, want = "e\x1b[2J\n", `"e\x1b[2J\n"`
	var out bytes.Buffer
	cli.Printf(&out, "%s|%v|%s|%d|%v\n", evil, errors.New(evil), purge.Reason(evil), purge.UserID(42), time.Second)
	if got := out.String(); got != want+"|"+want+"|"+want+"|42|1s\n" {
		t.Errorf("got %q", got)
	}
	out.Reset()
	cli.Printf(&out, "%s", presence.Worker{Host: evil})
	if bytes.ContainsAny(out.Bytes(), "\x1b\n") {
		t.Errorf("got %q", out.String())
	}
}
