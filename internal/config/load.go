package config

import (
	"slices"
	"strings"
)

// configuration is a pointer to one of the two structs, the parts of loading that differ between them.
type configuration interface {
	// secretFiles returns the secrets that may be given as the name of a file.
	secretFiles() []secretFile
	// checkTogether reports the broken rules that need more than one key to be seen. Keys may still hold values that
	// break rules of their own.
	checkTogether(report func(path, sentence string))
}

func (w *Worker) secretFiles() []secretFile { return sharedSecretFiles(&w.MySQL, &w.Redis, &w.Admin) }

func (e *Enqueuer) secretFiles() []secretFile {
	return append(sharedSecretFiles(&e.MySQL, &e.Redis, &e.Admin),
		secretFile{path: "jwt.hs256_secret", secret: &e.JWT.HS256Secret, file: e.JWT.HS256SecretFile})
}

// load fills cfg, which holds the defaults, from the file and the environment, and checks the result. The rules about
// the optional paths, but not those about what is in them, do not hold.
func load(cfg configuration, path string, environ []string, optional ...string) error {
	l := &loader{origins: map[string]string{}, unread: map[string]bool{}, optional: optional}
	readable := path == "" || l.readFile(cfg, path)
	l.readEnvironment(cfg, environ)
	// Rules say nothing useful about a configuration whose file could not be read at all.
	if readable {
		l.readSecretFiles(cfg.secretFiles())
		l.validate(cfg)
	}
	if len(l.problems) > 0 {
		return &Error{Problems: l.problems}
	}
	return nil
}

// loader remembers what was set where, and what is wrong.
type loader struct {
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

// reportRule adds a broken rule, unless the value it is about was never read.
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
		for {
			if !yield(path) {
				return
			}
			end := strings.LastIndexAny(path, ".[")
			if end < 0 {
				return
			}
			path = path[:end]
		}
	}
}
