package cli_test

import (
	"cmp"
	"fmt"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"github.com/certpurge/certpurge/internal/cli"
)

func TestProgressIsShownOnceAnInterval(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var shown strings.Builder
		p := cli.NewProgress(cli.Streams{Err: &shown})
		p.Show(-1, "too early")
		<-time.After(10 * time.Second)
		p.Show(-1, "listed 1,000 objects")
		p.Show(-1, "too early again")
		<-time.After(10 * time.Second)
		p.Show(0.25, "12 submitted", "5/s")
		p.Line(0.5, "on request")
		if got, want := shown.String(), "listed 1,000 objects\n25%: 12 submitted, 5/s\n50%: on request\n"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

// TestProgressFitsTheTerminal draws on a terminal, and reads what arrives there.
func TestProgressFitsTheTerminal(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		columns uint16
		part    float64
		want    string
	}{
		"wide":          {100, 0.25, "12,345 submitted, 6,000 done, 5m0s left  25% █████░░░░░░░░░░░░░░░"},
		"60 columns":    {60, 0.25, "12,345 submitted, 6,000 done, 5m0s left  25% ███░░░░░░░░░░"},
		"40 columns":    {40, 0.25, "12,345 submitted  25% ████░░░░░░░░░░░░"},
		"20 columns":    {20, 0.25, "12,3  25% ██░░░░░░"},
		"no size":       {0, 0.25, "12,345 submitted, 6,000 done, 5m0s left  25% █████░░░░░░░░░░░░░░░"},
		"all done":      {100, 1, "12,345 submitted, 6,000 done, 5m0s left  99% ███████████████████░"},
		"unknown part":  {100, -1, "| 12,345 submitted, 6,000 done, 5m0s left"},
		"unknown, thin": {30, -1, "| 12,345 submitt"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			user, screen := newTerminal(t, tc.columns)
			synctest.Test(t, func(*testing.T) {
				p := cli.NewProgress(cli.Streams{Err: screen})
				<-time.After(time.Second)
				p.Show(tc.part, "12,345 submitted", "6,000 done", "5m0s left")
				p.Notice("a notice")
			})
			text := readUntil(t, user, "a notice")
			drawn := strings.Split(text, "\r")
			if last := len(drawn) - 1; drawn[last] != "a notice" || strings.TrimSpace(drawn[last-1]) != "" {
				t.Fatalf("got %q; want a notice behind a line that was cleared", text)
			}
			line := drawn[len(drawn)-3]
			if strings.TrimSpace(line) != tc.want || len([]rune(line)) > cmp.Or(int(tc.columns), 80) {
				t.Errorf("got %q, %d columns; want %q", line, len([]rune(line)), tc.want)
			}
		})
	}
}

// newTerminal returns both ends of a pseudo terminal: what a user sees, and what a program writes to.
func newTerminal(t *testing.T, columns uint16) (user, screen *os.File) {
	t.Helper()
	user, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = user.Close() })
	fd := int(user.Fd())
	number, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: columns}); err != nil {
		t.Fatal(err)
	}
	screen, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = screen.Close() })
	return user, screen
}

// readUntil reads from a terminal up to a text.
func readUntil(t *testing.T, from *os.File, end string) string {
	t.Helper()
	var all []byte
	for buffer := make([]byte, 1<<10); !strings.Contains(string(all), end); {
		n, err := from.Read(buffer)
		if err != nil {
			t.Fatalf("%v after %q", err, all)
		}
		all = append(all, buffer[:n]...)
	}
	text, _, _ := strings.Cut(string(all), end)
	return text + end
}
