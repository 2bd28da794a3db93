package config

import (
	"fmt"
	"strings"
)

// Error is a configuration that cannot be used. It holds all that is wrong, so that it can be mended in one go.
type Error struct {
	// Problems are whole sentences without a final stop, each starting with where the value was set, where that is known,
	// and the key: "worker.yaml:12: gcs.max_in_flight: must be between 1 and 100, is 0". No secret is in them.
	Problems []string
}

func (e *Error) Error() string {
	if len(e.Problems) == 1 {
		return "invalid configuration: " + e.Problems[0]
	}
	return fmt.Sprintf("invalid configuration, %d problems:\n  %s", len(e.Problems), strings.Join(e.Problems, "\n  "))
}
