package cli

import (
	"fmt"
	"io"
	"os"
	"os/user"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/certpurge/certpurge/internal/evidence"
)

// Escape returns a text as a terminal may show it: as it is, or, if it holds control characters, line breaks,
// characters that change the direction of writing or invalid UTF-8, quoted and escaped as in Go.
func Escape(text string) string {
	if strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) || r == unicode.ReplacementChar }) {
		return strconv.Quote(text)
	}
	return text
}

// EscapeLines is Escape for each line of a text.
func EscapeLines(text string) string {
	lines := strings.Split(text, "\n")
	for i := range lines {
		lines[i] = Escape(lines[i])
	}
	return strings.Join(lines, "\n")
}

// Printf is fmt.Fprintf with every text among the arguments escaped: also errors, and structures that describe
// themselves. A lost write is Execute's to report.
func Printf(w io.Writer, format string, args ...any) {
	escaped := make([]any, len(args))
	for i, arg := range args {
		escaped[i] = arg
		kind := reflect.ValueOf(arg).Kind()
		if describes, ok := arg.(fmt.Stringer); ok && (kind == reflect.Struct || kind == reflect.String) {
			escaped[i] = Escape(describes.String())
		} else if err, ok := arg.(error); ok {
			escaped[i] = Escape(err.Error())
		} else if kind == reflect.String {
			escaped[i] = Escape(reflect.ValueOf(arg).String())
		}
	}
	_, _ = fmt.Fprintf(w, format, escaped...)
}

// Operator names who runs the command, as account@host.
func Operator() string {
	account := fmt.Sprintf("uid %d", os.Getuid())
	if u, err := user.Current(); err == nil && u.Username != "" {
		account = u.Username
	}
	host, err := os.Hostname()
	if err != nil {
		host = "an unknown host"
	}
	return account + "@" + host
}

// EvidenceWriter says who writes evidence in this process.
func EvidenceWriter() evidence.Writer {
	return evidence.Writer{Worker: fmt.Sprintf("%s, pid %d", Operator(), os.Getpid()), Software: Version()}
}

// Painted is a word with the control sequences of its colour, which Printf must not escape.
type Painted []byte

// colours are the SGR codes of words that say how something is; every other word has the terminal's own colour, 39.
var colours = map[string]string{
	"done": "32", "ok": "32",
	"failed": "31", "refused": "31", "wrong": "31", "error": "31",
	"running": "33", "warning": "33", "never_requested": "33",
}

// Paint colours the name of a state where the output is a terminal that shows colours and NO_COLOR is not set
// (https://no-color.org). All words get as many bytes more, so columns stay aligned.
func (s Streams) Paint(word string) Painted {
	if !IsTerminal(s.Out) || !s.coloured() {
		return Painted(Escape(word))
	}
	colour := colours[word]
	if colour == "" {
		colour = "39"
	}
	return Painted("\x1b[" + colour + "m" + Escape(word) + "\x1b[0m")
}

func (s Streams) coloured() bool {
	return !slices.ContainsFunc(s.Environ, func(e string) bool {
		return e == "TERM=dumb" || strings.HasPrefix(e, "NO_COLOR=") && e != "NO_COLOR="
	})
}

// minFold is the width below which a text is not folded.
const minFold = 30

// Fold breaks a text into lines between words; with a width of less than minFold it keeps the text's own lines.
func Fold(text string, width int) (lines []string) {
	for paragraph := range strings.SplitSeq(text, "\n") {
		current := ""
		for word := range strings.FieldsSeq(paragraph) {
			switch {
			case current == "":
				current = word
			case width >= minFold && len(current)+1+len(word) > width:
				lines = append(lines, current)
				current = word
			default:
				current += " " + word
			}
		}
		lines = append(lines, current)
	}
	return lines
}
