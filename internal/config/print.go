package config

import (
	"fmt"
	"io"
	"reflect"

	"go.yaml.in/yaml/v3"
)

// Print writes cfg, a [Worker] or an [Enqueuer], as a complete YAML file. Secrets are shown as REDACTED, or left empty
// where a file holds them; with the secrets filled in, the output loads again as the same configuration.
func Print(w io.Writer, cfg any) error {
	given := reflect.Indirect(reflect.ValueOf(cfg))
	clone := reflect.New(given.Type())
	clone.Elem().Set(given)
	if _, ok := reflect.TypeAssert[configuration](clone); !ok {
		return fmt.Errorf("printing configuration: %T is none", cfg)
	}
	for _, f := range secretFiles(keysOf(clone.Elem(), "")) {
		*f.secret = Secret{} // A file that sets both is refused.
	}
	encoder := yaml.NewEncoder(w)
	encoder.SetIndent(2)
	if err := encoder.Encode(clone.Interface()); err != nil {
		return fmt.Errorf("printing configuration: %w", err)
	}
	if err := encoder.Close(); err != nil {
		return fmt.Errorf("printing configuration: %w", err)
	}
	return nil
}
