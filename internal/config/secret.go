package config

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"reflect"
	"strings"
)

// redacted is what every way of printing shows of a secret that is set.
const redacted = "REDACTED"

// Secret is a string that does not show itself: every verb of fmt, slog, JSON, YAML and text print REDACTED, or nothing
// where it is empty. Only [Secret.Reveal] gives the value.
type Secret struct {
	// A pointer, because fmt cannot call the methods of a Secret in an unexported field of another struct, and would
	// print a string held by value.
	value *string
}

// NewSecret returns value as a secret.
func NewSecret(value string) Secret {
	if value == "" {
		return Secret{}
	}
	return Secret{value: &value}
}

// Reveal returns the value. Call it where the value is used, and keep it out of errors and logs.
func (s Secret) Reveal() string {
	if s.value == nil {
		return ""
	}
	return *s.value
}

// IsZero reports whether the secret is empty.
func (s Secret) IsZero() bool { return s.value == nil }

// String returns REDACTED, or "" for an empty secret.
func (s Secret) String() string {
	if s.IsZero() {
		return ""
	}
	return redacted
}

// Format answers every verb the same way; without it %#v and %x would go around String.
func (s Secret) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, s.String())
}

// LogValue keeps the value out of slog.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText keeps the value out of JSON, YAML and other encodings through text.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText sets the value.
func (s *Secret) UnmarshalText(text []byte) error {
	*s = NewSecret(string(text))
	return nil
}

// secretFile is a secret that is given as the name of a file that holds it.
type secretFile struct {
	path   string // of the secret; that of the file name is the same with "_file"
	secret *Secret
	file   string
}

// secretFiles returns the secrets that are given as files: those whose key has a set one with "_file" beside it.
func secretFiles(keys []key) []secretFile {
	secrets := map[string]*Secret{}
	var given []secretFile
	for _, k := range keys { // A secret stands before its file.
		if secret, ok := reflect.TypeAssert[*Secret](k.value.Addr()); ok {
			secrets[k.path] = secret
		}
		path, _ := strings.CutSuffix(k.path, "_file")
		if secret := secrets[path]; path != k.path && secret != nil && k.value.String() != "" {
			given = append(given, secretFile{path: path, secret: secret, file: k.value.String()})
		}
	}
	return given
}

// readSecretFiles reads the secrets that are given as files.
func (l *loader) readSecretFiles() {
	for _, f := range secretFiles(l.keys) {
		if _, given := l.origins[f.path]; given && !f.secret.IsZero() {
			// Not a matter of precedence: which of the two was meant is not known, and the wrong one is another server.
			l.reportUnread(f.path, "is set together with "+f.path+"_file; keep one of them")
			continue
		}
		content, err := readLimited(f.file)
		if err != nil {
			l.report(f.path+"_file", err.Error())
			l.unread[f.path] = true
			continue
		}
		value := strings.TrimRight(string(content), "\r\n")
		l.origins[f.path] = f.file // Problems with the value point to where it came from.
		switch multiline := f.path == "admin.users"; {
		case value != "" && (multiline || !strings.ContainsAny(value, "\r\n")):
			*f.secret = NewSecret(value)
		case multiline:
			l.reportUnread(f.path, "must be the content of its file")
		default:
			l.reportUnread(f.path, "must be the one line of its file")
		}
	}
}

// RequestError shortens the error of an HTTP request to what went wrong. net/http puts the URL of the setting into it,
// which may hold a secret. If ctx has ended, RequestError returns the cause of that.
func RequestError(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if e, ok := errors.AsType[*url.Error](err); ok {
		return e.Err
	}
	return err
}
