package config

import (
	"maps"
	"regexp"
	"slices"
	"strings"
)

const (
	// prefix starts the name of every environment variable of certpurge.
	prefix = "CERTPURGE_"

	// FileVariable names the configuration file, where no flag does. The mains read it; here it is only not unknown.
	FileVariable = prefix + "CONFIG"

	// testPrefix starts the variables by which the test environment passes the addresses of its servers to the tests.
	testPrefix = prefix + "TEST_"
)

// readEnvironment sets keys from the variables of environ. An empty variable counts as not set, because tools such as
// Compose write one where they have no value.
func (l *loader) readEnvironment(environ []string) {
	own, known := map[string]key{}, map[string]bool{}
	for _, k := range l.keys {
		own[k.variable()] = k
	}
	for _, k := range Keys() {
		known[k.Variable] = true
	}
	variables := ourVariables(environ)
	for _, name := range slices.Sorted(maps.Keys(variables)) {
		text := variables[name]
		k, isOwn := own[name]
		switch {
		case !known[name]:
			l.reportAt(name, unknownVariable(name, known))
		case !isOwn || text == "":
			// A variable of the other binary is no mistake: one environment often serves both.
		default:
			l.origins[k.path] = name
			delete(l.unread, k.path)
			if !setVariable(k.value, text) {
				l.reportUnread(k.path, mustBe(k.value, describe(text)))
			}
		}
	}
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

// isServiceLink reports whether Kubernetes made the variable: every pod gets some for each service of the namespace,
// and a service may well be called certpurge.
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
