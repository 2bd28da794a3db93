package config

import (
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/caarlos0/env/v11"
)

const (
	// prefix starts the name of every environment variable that is ours.
	prefix = "CERTPURGE_"

	// FileVariable names the configuration file, where no flag does. It is read by the mains; here it is only not unknown.
	FileVariable = prefix + "CONFIG"

	// testPrefix starts the variables by which the test environment tells the tests where its servers are.
	testPrefix = prefix + "TEST_"
)

// variableOf returns the environment variable of the key at path.
func variableOf(path string) string {
	return prefix + strings.ToUpper(strings.ReplaceAll(path, ".", "_"))
}

// readEnvironment lays the variables of environ over cfg. An empty variable counts as not set, as composing tools
// write one for whatever they have no value for.
func (l *loader) readEnvironment(cfg configuration, environ []string) {
	section := reflect.ValueOf(cfg).Elem()
	own, known := map[string]string{}, map[string]bool{}
	for _, key := range keysOf(section, "") {
		own[key.Variable] = key.Path
	}
	for _, key := range Keys() {
		known[key.Variable] = true
	}
	ours := ourVariables(environ)
	for _, name := range slices.Sorted(maps.Keys(ours)) {
		value := ours[name]
		path, isOwn := own[name]
		switch {
		case !known[name]:
			l.reportAt(name, unknownVariable(name, known))
		case !isOwn || value == "":
			// A variable of the other binary is no mistake: one environment often serves both.
		default:
			l.origins[path] = name
			delete(l.unread, path)
			l.readVariable(cfg, path, name, value)
		}
	}
}

// readVariable sets the one key at path. The library is given one variable at a time, because its errors do not tell
// which one they are about.
func (l *loader) readVariable(cfg configuration, path, name, value string) {
	err := env.ParseWithOptions(cfg, env.Options{
		Environment: map[string]string{name: value},
		Prefix:      prefix,
		FuncMap: map[reflect.Type]env.ParserFunc{
			reflect.TypeFor[string](): func(v string) (any, error) { return strings.TrimSpace(v), nil },
		},
	})
	if err != nil {
		l.reportUnread(path, "must be "+kindAt(reflect.ValueOf(cfg).Elem(), path).sample+", is "+describe(value))
	}
}

// kindAt returns the kind of the key at path, which has no list in it.
func kindAt(section reflect.Value, path string) kind {
	name, rest, nested := strings.Cut(path, ".")
	fields, _ := sectionFields(section)
	if nested {
		return kindAt(fields[name], rest)
	}
	return kindOf(fields[name].Type())
}

// ourVariables returns the variables that must name a key.
func ourVariables(environ []string) map[string]string {
	ours := map[string]string{}
	for _, entry := range environ {
		name, value, _ := strings.Cut(entry, "=")
		if strings.HasPrefix(name, prefix) && name != FileVariable && !strings.HasPrefix(name, testPrefix) &&
			!isServiceLink(name, value) {
			ours[name] = value
		}
	}
	return ours
}

var (
	serviceLink = regexp.MustCompile(`_SERVICE_(HOST|PORT(_[A-Z0-9_]+)?)$|_PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?$`)
	linkAddress = regexp.MustCompile(`^(tcp|udp|sctp)://`)
)

// isServiceLink reports whether Kubernetes made the variable: it gives every pod some for each service of the
// namespace, and a service may well be called certpurge.
func isServiceLink(name, value string) bool {
	return serviceLink.MatchString(name) || strings.HasSuffix(name, "_PORT") && linkAddress.MatchString(value)
}

// unknownVariable is the sentence about a variable that no key has. It lists those of the same section.
func unknownVariable(name string, known map[string]bool) string {
	section, _, _ := strings.Cut(strings.TrimPrefix(name, prefix), "_")
	var similar []string
	for _, candidate := range slices.Sorted(maps.Keys(known)) {
		if strings.HasPrefix(candidate, prefix+section+"_") {
			similar = append(similar, candidate)
		}
	}
	if len(similar) == 0 {
		return "names no configuration key; the variables are those of docs/configuration.md"
	}
	return "names no configuration key; known are " + strings.Join(similar, ", ")
}
