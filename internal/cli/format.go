package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/certpurge/certpurge/internal/config"
	"github.com/certpurge/certpurge/internal/purge"
)

// Format is what the flag -o of a command says.
type Format string

// FormatFlag adds the flag -o. Without formats they are text, the default, and json.
func FormatFlag(cmd *cobra.Command, formats ...string) *Format {
	if len(formats) == 0 {
		formats = []string{"text", "json"}
	}
	chosen := Format(formats[0])
	cmd.Flags().VarP(&formatValue{&chosen, formats}, "output", "o", "output format: "+strings.Join(formats, " or "))
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(formats, cobra.ShellCompDirectiveNoFileComp))
	return &chosen
}

// Words are the texts of a closed set of words.
func Words[T ~string](all []T) []string {
	words := make([]string, len(all))
	for i, word := range all {
		words[i] = string(word)
	}
	return words
}

// formatValue implements pflag.Value.
type formatValue struct {
	chosen  *Format
	formats []string
}

func (f *formatValue) Set(s string) error {
	if !slices.Contains(f.formats, s) {
		return fmt.Errorf("expected %s", strings.Join(f.formats, " or "))
	}
	*f.chosen = Format(s)
	return nil
}

func (f *formatValue) String() string    { return string(*f.chosen) }
func (f *formatValue) Type() string      { return "FORMAT" }
func (f *formatValue) Formats() []string { return f.formats }

// PrintJSON writes one object on one line, as a terminal may show it.
func PrintJSON(w io.Writer, v any) error {
	if err := json.NewEncoder(purge.EscapedJSON{W: w}).Encode(v); err != nil {
		return fmt.Errorf("writing the answer: %w", err)
	}
	return nil
}

// DurationFlag adds a flag of a duration that may be given in days, too: 30d, 1d12h, 90s.
func DurationFlag(flags *pflag.FlagSet, d *time.Duration, name string, value time.Duration, usage string) {
	*d = value
	flags.Var((*durationValue)(d), name, usage)
}

// durationValue implements pflag.Value.
type durationValue time.Duration

func (d *durationValue) Set(s string) error {
	v, err := config.ParseDuration(s)
	*d = durationValue(v)
	return err
}

func (d *durationValue) String() string { return config.FormatDuration(time.Duration(*d)) }
func (d *durationValue) Type() string   { return "DURATION" }
