package config

import (
	"fmt"
	"io"
	"log/slog"
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

// MarshalText keeps the value out of JSON, YAML and whatever else encodes through text.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText sets the value.
func (s *Secret) UnmarshalText(text []byte) error {
	*s = NewSecret(string(text))
	return nil
}
