package config

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// Error is a configuration that cannot be used. It holds all problems, so that they can be fixed in one go.
type Error struct {
	// Problems are whole sentences without a final stop. Each starts with the place where the value was set, if that is
	// known, and the key: "worker.yaml:12: gcs.max_in_flight: must be between 1 and 100, is 0". They hold no secret.
	Problems []string
}

func (e *Error) Error() string {
	if len(e.Problems) == 1 {
		return "invalid configuration: " + e.Problems[0]
	}
	return fmt.Sprintf("invalid configuration, %d problems:\n  %s", len(e.Problems), strings.Join(e.Problems, "\n  "))
}

// configuration is a pointer to one of the two structs.
type configuration interface {
	// checkTogether reports the broken rules that need more than one key to be seen. Keys may still hold values that
	// break rules of their own.
	checkTogether(report func(path, sentence string))
}

// load fills cfg, which holds the defaults, from the file and the environment, and checks the result. The rules about
// the optional paths do not hold; those about what is in them do.
func load(cfg configuration, path string, environ []string, optional ...string) error {
	l := &loader{
		keys: keysOf(reflect.ValueOf(cfg).Elem(), ""), optional: optional,
		origins: map[string]string{}, unread: map[string]bool{},
	}
	readable := path == "" || l.readFile(cfg, path)
	l.readEnvironment(environ)
	// Rules say nothing useful about a configuration whose file could not be read at all.
	if readable {
		l.readSecretFiles()
		l.reportBroken(cfg)
		cfg.checkTogether(l.reportRule)
	}
	if len(l.problems) > 0 {
		return &Error{Problems: l.problems}
	}
	return nil
}

// loader collects where each value was set, and all problems.
type loader struct {
	keys []key // of the configuration that is loaded
	// origins says where the value at a path was set: "worker.yaml:12" or the name of an environment variable.
	origins map[string]string
	// unread holds the paths whose value could not be read. The rules about them are not worth reporting.
	unread   map[string]bool
	optional []string
	problems []string
}

// report adds a problem of the value at path.
func (l *loader) report(path, sentence string) {
	l.reportAt(l.origin(path), path+": "+sentence)
}

// reportUnread adds a problem of the value at path which left that path at its default.
func (l *loader) reportUnread(path, sentence string) {
	l.report(path, sentence)
	l.unread[path] = true
}

// reportRule adds a broken rule, unless the value was never read.
func (l *loader) reportRule(path, sentence string) {
	if slices.Contains(l.optional, path) {
		return
	}
	for p := range ancestry(path) {
		if l.unread[p] {
			return
		}
	}
	l.report(path, sentence)
}

func (l *loader) reportAt(origin, sentence string) {
	if origin != "" {
		sentence = origin + ": " + sentence
	}
	if !slices.Contains(l.problems, sentence) {
		l.problems = append(l.problems, sentence)
	}
}

// origin returns where path was set; for a path that is missing, where its section was.
func (l *loader) origin(path string) string {
	for p := range ancestry(path) {
		if origin := l.origins[p]; origin != "" {
			return origin
		}
	}
	return ""
}

// ancestry yields path and what it is in: locations[0].bucket, locations[0], locations.
func ancestry(path string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for yield(path) {
			end := strings.LastIndexAny(path, ".[")
			if end < 0 {
				return
			}
			path = path[:end]
		}
	}
}
