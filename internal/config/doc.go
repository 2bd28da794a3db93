// Package config reads the configuration of the two binaries: one YAML file each, environment variables over it,
// defaults under it.
//
// The order of precedence is the same for every key: default < file < environment. Unknown keys are refused, because an
// operator would believe that the setting is on. All problems are reported at once, as sentences that name the key as
// it stands in the file and the place where it was set. [Error] carries them, so that a main can tell a wrong
// configuration from a failure that may pass.
//
// Each section is one struct. The package that obeys a section takes the struct as it is; it does not copy the fields
// into one of its own. internal/purge uses the standard library only, so its Policy is made here.
//
// Nothing here reads the process environment: the callers pass it in.
//
// Every key is described once, in the comment of its field; docs/configuration.md is made from those comments. The name
// of its environment variable is derived from its path.
package config

//go:generate go run ./gen ../../docs/configuration.md
