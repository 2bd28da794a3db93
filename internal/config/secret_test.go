package config_test

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/certpurge/certpurge/internal/config"
)

// holder has secrets wherever printing might find another way in.
type holder struct {
	Exported config.Secret
	hidden   config.Secret
	Pointer  *config.Secret
	List     []config.Secret
	Map      map[string]config.Secret
}

func newHolder(value string) holder {
	s := config.NewSecret(value)
	return holder{Exported: s, hidden: s, Pointer: &s, List: []config.Secret{s}, Map: map[string]config.Secret{"k": s}}
}

func TestSecretIsNotPrintedByAnyVerb(t *testing.T) {
	t.Parallel()
	const value = "hunter2"
	s := config.NewSecret(value)
	for _, verb := range []string{
		"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t", "%b", "%c", "%U", "%e", "%10.3s",
		"%p",
	} {
		for _, printed := range []any{s, &s, []config.Secret{s}, newHolder(value), new(newHolder(value))} {
			got := fmt.Sprintf(verb, printed)
			if strings.Contains(got, value) || strings.Contains(strings.ToLower(got), fmt.Sprintf("%x", value)) {
				t.Errorf("%s of %T: got %q, which holds the secret", verb, printed, got)
			}
		}
		if got := fmt.Sprintf(verb, s); got != "REDACTED" && verb != "%p" {
			t.Errorf("%s: got %q, want REDACTED", verb, got)
		}
		if got := fmt.Sprintf(verb, config.Secret{}); got != "" && verb != "%p" {
			t.Errorf("%s of an empty secret: got %q, want nothing", verb, got)
		}
	}
}

func TestSecretIsNotEncoded(t *testing.T) {
	t.Parallel()
	encoders := map[string]func(any) ([]byte, error){
		"json": json.Marshal,
		"yaml": yaml.Marshal,
		"xml": func(v any) ([]byte, error) {
			type document struct{ Secret any }
			return xml.Marshal(document{v})
		},
		"slog text": func(v any) ([]byte, error) {
			var log bytes.Buffer
			slog.New(slog.NewTextHandler(&log, nil)).Info("m", slog.Any("secret", v))
			return log.Bytes(), nil
		},
		"slog json": func(v any) ([]byte, error) {
			var log bytes.Buffer
			slog.New(slog.NewJSONHandler(&log, nil)).Info("m", slog.Any("secret", v))
			return log.Bytes(), nil
		},
	}
	for name, encode := range encoders {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := encode(config.NewSecret("hunter2"))
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Contains(got, []byte("REDACTED")) || bytes.Contains(got, []byte("hunter2")) {
				t.Errorf("got %s, want REDACTED in it and not the secret", got)
			}
			if got, err = encode(config.Secret{}); err != nil || bytes.Contains(got, []byte("REDACTED")) {
				t.Errorf("empty secret: got %s, %v, want it to show that it is empty", got, err)
			}
			if name == "xml" {
				return // XML has no maps.
			}
			if got, err = encode(newHolder("hunter2")); err != nil || bytes.Contains(got, []byte("hunter2")) {
				t.Errorf("nested: got %s, %v, want no secret in it", got, err)
			}
		})
	}
}

func TestSecretIsRevealedOnRequest(t *testing.T) {
	t.Parallel()
	if got := config.NewSecret("hunter2").Reveal(); got != "hunter2" {
		t.Errorf("got %q, want hunter2", got)
	}
	if got := (config.Secret{}).Reveal(); got != "" {
		t.Errorf("empty: got %q, want nothing", got)
	}
	var s config.Secret
	if err := s.UnmarshalText([]byte("hunter2")); err != nil || s.Reveal() != "hunter2" || s.IsZero() {
		t.Errorf("from text: got %q, %v, want hunter2", s.Reveal(), err)
	}
}
