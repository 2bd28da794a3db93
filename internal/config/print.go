package config

import (
	"fmt"
	"io"

	"go.yaml.in/yaml/v3"
)

// Print writes cfg, a [Worker] or an [Enqueuer], as the YAML file that says all of it. Secrets are shown as REDACTED,
// or left empty where a file holds them; with the secrets filled in, the output loads again as the same configuration.
func Print(w io.Writer, cfg any) error {
	switch c := cfg.(type) {
	case Worker:
		cfg = printable(&c)
	case *Worker:
		clone := *c
		cfg = printable(&clone)
	case Enqueuer:
		cfg = printable(&c)
	case *Enqueuer:
		clone := *c
		cfg = printable(&clone)
	default:
		return fmt.Errorf("printing configuration: %T is none", cfg)
	}
	encoder := yaml.NewEncoder(w)
	encoder.SetIndent(2)
	if err := encoder.Encode(cfg); err != nil {
		return fmt.Errorf("printing configuration: %w", err)
	}
	if err := encoder.Close(); err != nil {
		return fmt.Errorf("printing configuration: %w", err)
	}
	return nil
}

// printable empties the secrets that came from files: a file that sets both is refused.
func printable(cfg configuration) configuration {
	for _, f := range cfg.secretFiles() {
		if f.file != "" {
			*f.secret = Secret{}
		}
	}
	return cfg
}
