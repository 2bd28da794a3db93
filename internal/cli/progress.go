package cli

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"golang.org/x/term"
)

// Progress shows how far a command is: on a terminal one line that is drawn again and again, elsewhere lines. It is
// safe for concurrent use.
type Progress struct {
	mu       sync.Mutex
	out      io.Writer
	terminal bool
	width    func() int
	drawn    int // characters of the line that is on the terminal
	last     time.Time
}

// NewProgress shows progress on the standard error stream.
func NewProgress(s Streams) *Progress {
	p := &Progress{out: s.Err, width: func() int { return 80 }, last: time.Now()}
	if f, ok := file(s.Err); ok && IsTerminal(f) && !slices.Contains(s.Environ, "TERM=dumb") {
		p.terminal = true
		p.width = func() int {
			width, _, err := term.GetSize(int(f.Fd()))
			if err != nil || width < 1 {
				return 80
			}
			return width
		}
	}
	return p
}

// Interval is how often progress is to be shown: on a terminal it is drawn, elsewhere lines add up.
func (p *Progress) Interval() time.Duration {
	if p.terminal {
		return 200 * time.Millisecond
	}
	return 10 * time.Second
}

// ShowSometimes shows a text, as far as it fits, unless another one was shown within the interval. Callers take turns.
func (p *Progress) ShowSometimes(text string) {
	if time.Since(p.last) < p.Interval() {
		return
	}
	p.last = time.Now()
	p.Show(func(width int) string {
		if width > 0 && len(text) > width {
			return text[:width]
		}
		return text
	})
}

// Notice writes a line that stays.
func (p *Progress) Notice(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clear()
	_, _ = fmt.Fprintln(p.out, text) // a lost line of progress is no failure
}

// Show draws the line that text makes for a width in characters; without a terminal, the width is 0 for any, and the
// line stays.
func (p *Progress) Show(text func(width int) string) {
	if !p.terminal {
		p.Notice(text(0))
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	line := text(p.width() - 1) // in the last column, some terminals begin a new line
	p.clear()
	_, _ = fmt.Fprint(p.out, line)
	p.drawn = utf8.RuneCountInString(line)
}

// Clear takes the drawn line away.
func (p *Progress) Clear() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clear()
}

// clear uses no control sequence that a simple terminal would print.
func (p *Progress) clear() {
	if p.drawn > 0 {
		_, _ = fmt.Fprint(p.out, "\r"+strings.Repeat(" ", min(p.drawn, p.width()-1))+"\r")
		p.drawn = 0
	}
}

// IsTerminal reports whether what is written ends up on a terminal.
func IsTerminal(w io.Writer) bool {
	f, ok := file(w)
	return ok && term.IsTerminal(int(f.Fd()))
}

// Width is the number of columns of a terminal; 0 for a stream that is none.
func Width(w io.Writer) int {
	f, ok := file(w)
	if !ok {
		return 0
	}
	width, _, err := term.GetSize(int(f.Fd()))
	if err != nil {
		return 0
	}
	return width
}

// file is the file behind what Execute gives to commands.
func file(w io.Writer) (*os.File, bool) {
	if out, ok := w.(*output); ok {
		w = out.Unwrap()
	}
	f, ok := w.(*os.File)
	return f, ok
}
