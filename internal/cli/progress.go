package cli

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// How often progress is drawn on a terminal, and written elsewhere, where lines add up.
const (
	drawInterval = 200 * time.Millisecond
	lineInterval = 10 * time.Second
)

// The parts of a drawn line, in columns: a bar, and what a terminal needs beside facts.
const (
	barWidth = 20
	barRoom  = 16 // for a short bar and its percentage; the bar shrinks where facts are long
)

// Progress shows how far a command is: on a terminal a bar that is drawn again and again, elsewhere lines. It is safe
// for concurrent use.
type Progress struct {
	mu       sync.Mutex
	out      io.Writer
	terminal *os.File // nil without one
	bar      *progressbar.ProgressBar
	known    bool // of bar: how much there is to do
	last     time.Time
}

// NewProgress shows progress on the standard error stream.
func NewProgress(s Streams) *Progress {
	p := &Progress{out: s.Err, last: time.Now()}
	if f, ok := file(s.Err); ok && IsTerminal(f) && !slices.Contains(s.Environ, "TERM=dumb") {
		p.terminal = f
	}
	return p
}

// Show shows which part of the work is done, from 0 to 1 or negative while unknown, and facts about it, the most
// important ones first: a terminal that is too narrow lacks the last ones. It does nothing if something was shown a
// moment ago.
func (p *Progress) Show(part float64, facts ...string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	interval := lineInterval
	if p.terminal != nil {
		interval = drawInterval
	}
	if time.Since(p.last) < interval {
		return
	}
	p.last = time.Now()
	if p.terminal == nil {
		p.write(progressLine(part, facts))
		return
	}
	text := fit(facts, cmp.Or(Width(p.terminal), 80)-barRoom) // some terminals do not say how wide they are
	if known := part >= 0; p.bar == nil || known != p.known {
		p.clear()
		p.bar, p.known = newBar(p.terminal, known, text), known
	}
	_ = p.bar.Set(min(int(part*barSteps), barSteps-1)) // a bar at its end is not drawn any more
	p.bar.Describe(text)
}

// barSteps is how many steps a bar has.
const barSteps = 1_000

func newBar(out io.Writer, known bool, text string) *progressbar.ProgressBar {
	steps := -1 // a spinner
	if known {
		steps = barSteps
	}
	return progressbar.NewOptions(steps,
		progressbar.OptionSetWriter(out),
		progressbar.OptionSetDescription(text),
		progressbar.OptionSetWidth(barWidth),
		progressbar.OptionSetPredictTime(false),
		progressbar.OptionSetElapsedTime(false),
		progressbar.OptionSetSpinnerChangeInterval(0), // it moves with each Show, and needs no goroutine
		progressbar.OptionSetTheme(progressbar.Theme{Saucer: "█", SaucerPadding: "░"}),
	)
}

// fit joins the first facts that fit into a number of columns, or a part of the first one.
func fit(facts []string, width int) string {
	text := strings.Join(facts, ", ")
	for len(facts) > 1 && len(text) > width {
		facts = facts[:len(facts)-1]
		text = strings.Join(facts, ", ")
	}
	return text[:max(0, min(len(text), width))]
}

// Line writes what Show shows as a line that stays.
func (p *Progress) Line(part float64, facts ...string) { p.Notice(progressLine(part, facts)) }

func progressLine(part float64, facts []string) string {
	text := strings.Join(facts, ", ")
	if part >= 0 {
		text = fmt.Sprintf("%.0f%%: %s", 100*part, text)
	}
	return text
}

// Notice writes a line that stays.
func (p *Progress) Notice(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.write(text)
}

func (p *Progress) write(text string) {
	p.clear()
	_, _ = fmt.Fprintln(p.out, text) // a lost line of progress is no failure
}

// Clear removes the bar.
func (p *Progress) Clear() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clear()
}

func (p *Progress) clear() {
	if p.bar != nil {
		_ = p.bar.Clear() // as in write
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
