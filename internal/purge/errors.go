package purge

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"strings"
	"time"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// Class says what a failure means for the request. The adapter that meets an error sets it, the domain carries it, and
// the edge of the queue translates it.
type Class int

// The classes of failures. The zero value is no class; ClassOf never returns it.
const (
	Transient       Class = iota + 1 // passes by itself: 5xx, resets, timeouts, deadlocks, answers that are not understood
	Throttled                        // the service wants fewer requests
	Retained                         // a date protects an object; Error.Until says which
	SoftDeleting                     // deleted, but restorable until Error.Until, which the configuration does not accept
	Held                             // a hold protects an object until an operator releases it
	NoPermission                     // the service account may not do it
	Unrecognised                     // a reference from which no artifact can be named
	SharedDirectory                  // a directory that a row of another user names, too
	NotOrphan                        // a directory of an OrphanSet has a link, is too young, or is below no location
	TooManyObjects                   // a directory that lists more than the configured bound
	FilesMissing                     // a directory that a reference names is empty, and nothing was ever erased there
	Misconfigured                    // wrong bucket, missing grant: every user would meet it
	Unavailable                      // a database of ours cannot be reached: every user meets it, and it passes
	Stopped                          // the worker is stopping; nothing is wrong
)

// Error is a failure with its class. Its text is fit for logs and the ledger: numeric ids, bucket names and status
// codes, no object names, URLs or user names.
type Error struct {
	Class Class
	Until time.Time // for Retained and SoftDeleting
	Text  string
	Cause error // for errors.Is and errors.As; never printed, it may carry a URL
}

// Error returns the text.
func (e *Error) Error() string { return e.Text }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Cause }

// Printable drops what is no text from what comes from outside, and cuts it to at most 300 bytes: logs, the ledger and
// terminals must bear it.
func Printable(s string) string {
	const longest = 300
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) || r == unicode.ReplacementChar {
			return -1
		}
		return r
	}, s)
	if len(s) > longest {
		s = strings.ToValidUTF8(s[:longest], "") + "…"
	}
	return s
}

// Stack is the stack of a goroutine that recovers from a panic, for the log: at most 16 KiB.
func Stack() string {
	const longest = 16 << 10
	stack := debug.Stack()
	return string(stack[:min(len(stack), longest)])
}

// EscapedJSON writes JSON in which every character that a terminal would obey, or not show, is an escape: encoders let
// DEL, C1 controls and the characters that change the direction of writing through. Each Write has whole characters.
type EscapedJSON struct{ W io.Writer }

// Write implements io.Writer.
func (e EscapedJSON) Write(p []byte) (int, error) {
	escaped := make([]byte, 0, len(p)+16)
	for _, r := range string(p) {
		switch {
		case r == '\n' || r == '\t' || unicode.IsPrint(r):
			escaped = utf8.AppendRune(escaped, r)
		case r > 0xFFFF:
			high, low := utf16.EncodeRune(r)
			escaped = fmt.Appendf(escaped, `\u%04x\u%04x`, high, low)
		default:
			escaped = fmt.Appendf(escaped, `\u%04x`, r)
		}
	}
	if _, err := e.W.Write(escaped); err != nil {
		return 0, err //nolint:wrapcheck // as the writer says it
	}
	return len(p), nil
}

// ClassOf returns the class of an error: that of the outermost *Error in its tree, Transient for any other error.
// A cancelled or expired context means that the outcome is unknown, which is Transient too.
func ClassOf(err error) Class {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Class
	}
	return Transient
}

// ErrStopped is what a purge returns that ended early because the worker is stopping.
var ErrStopped = &Error{Class: Stopped, Text: "the worker is stopping"}

type stopKey struct{}

// WithStop returns a context that carries a stop signal: once stop is closed, a purge begins no further call that
// changes something, but lets those in flight end.
func WithStop(ctx context.Context, stop <-chan struct{}) context.Context {
	return context.WithValue(ctx, stopKey{}, stop)
}

// StopSignal returns the stop signal that ctx carries, for those who wait; nil, which is never ready, if it carries
// none.
func StopSignal(ctx context.Context) <-chan struct{} {
	stop, _ := ctx.Value(stopKey{}).(<-chan struct{})
	return stop
}

// Stopping returns ErrStopped after the stop signal and the context's error after its end.
func Stopping(ctx context.Context) error {
	select {
	case <-StopSignal(ctx):
		return ErrStopped
	default:
	}
	if ctx.Err() != nil {
		return &Error{Class: Transient, Text: "the attempt ran out of time", Cause: context.Cause(ctx)}
	}
	return nil
}
