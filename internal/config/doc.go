// Package config reads the configuration of the two binaries: one YAML file each, environment variables over it,
// defaults under it.
//
// There is one order of precedence, for every key: default < file < environment. Unknown keys are refused rather than
// ignored, because an ignored key is a safety setting that somebody believes to be on. All that is wrong is reported at
// once, as sentences that name the key as it stands in the file and say where it was set; [Error] carries them, so that
// a main can tell a configuration that must be mended from a failure that may pass.
//
// Nothing here reads the process environment: the callers pass it in.
//
// Every key is described once, in the comment of its field. docs/configuration.md is made from those comments.
package config

//go:generate go run ./gen ../../docs/configuration.md
