package main

import (
	"bytes"
	"cmp"
	_ "embed"
	"fmt"
	"strings"

	"github.com/certpurge/certpurge/internal/config"
)

//go:embed preamble.md
var preamble string

// render returns the page about the configuration, whose sources are in dir.
func render(dir string) ([]byte, error) {
	found, err := readComments(dir)
	if err != nil {
		return nil, err
	}
	page := bytes.NewBufferString(preamble)
	keys := config.Keys()
	writeOverview(page, keys)
	previous := ""
	for _, key := range keys {
		section, _, _ := strings.Cut(strings.ReplaceAll(key.Path, "[]", ""), ".")
		if section != previous && (key.Entry != "" || section != key.Path) { // not a key of no section
			if err := writeSection(page, found, section, key); err != nil {
				return nil, err
			}
			previous = section
		}
		if key.Entry != "" {
			continue // Its section says it all.
		}
		if err := writeKey(page, found, key); err != nil {
			return nil, err
		}
	}
	return page.Bytes(), nil
}

// writeOverview writes one line a key, to find a name.
func writeOverview(page *bytes.Buffer, keys []config.Key) {
	page.WriteString("\n## All keys\n\n| key | default | environment variable | used by |\n| --- | --- | --- | --- |\n")
	for _, key := range keys {
		fmt.Fprintf(page, "| %s | %s | %s | %s |\n", code(key.Path), defaults(key), code(key.Variable), usedBy(key))
	}
}

// writeSection writes the heading of a section and the comment of its struct.
func writeSection(page *bytes.Buffer, found comments, section string, first config.Key) error {
	name, title := cmp.Or(first.Entry, first.Section), section
	about, err := found.about(name, title)
	if err != nil {
		return err
	}
	fmt.Fprintf(page, "\n## %s\n\n%s\n", title, about)
	if first.Entry != "" {
		rule := first.Rule
		if rule != "" {
			rule += "; "
		}
		fmt.Fprintf(page, "\n%s; %s%s.\n", first.Kind, rule, usedBy(first))
	}
	return nil
}

// writeKey writes the facts of a key in one line, and its comment.
func writeKey(page *bytes.Buffer, found comments, key config.Key) error {
	name := key.Path[strings.LastIndex(key.Path, ".")+1:]
	about, err := found.about(key.Section+"."+key.Field, name)
	if err != nil {
		return err
	}
	facts := []string{key.Kind}
	if key.Default == "" {
		facts = append(facts, "no default")
	} else {
		facts = append(facts, "default "+defaults(key))
	}
	if key.Variable != "" {
		facts = append(facts, code(key.Variable))
	}
	facts = append(facts, usedBy(key))
	if key.Rule != "" {
		facts = append(facts, key.Rule)
	}
	fmt.Fprintf(page, "\n### %s\n\n%s\n\n%s\n", code(key.Path), strings.Join(facts, " · "), about)
	return nil
}

func usedBy(key config.Key) string {
	switch {
	case !key.Worker:
		return "enqueuer"
	case key.Enqueuer:
		return "worker, enqueuer"
	default:
		return "worker"
	}
}

// defaults shows the default, and that of the enqueuer if it is another.
func defaults(key config.Key) string {
	if key.EnqueuerDefault != "" {
		return code(key.Default) + " (enqueuer: " + code(key.EnqueuerDefault) + ")"
	}
	return code(key.Default)
}

func code(s string) string {
	if s == "" {
		return ""
	}
	return "`" + s + "`"
}
