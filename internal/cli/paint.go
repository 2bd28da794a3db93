package cli

import (
	"slices"
	"strings"
)

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
