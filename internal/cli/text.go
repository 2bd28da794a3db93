package cli

import (
	"fmt"
	"io"
	"os"
	"os/user"
	"reflect"
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
