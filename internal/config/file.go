package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"reflect"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"
)

// maxFileSize is far above any real configuration; it stops a wrong path such as /dev/zero.
const maxFileSize = 1 << 20

// readFile reads the YAML file at path into cfg and reports whether it could be read as one mapping.
func (l *loader) readFile(cfg configuration, path string) bool {
	content, err := readLimited(path)
	if err != nil {
		l.reportAt("", "configuration file "+err.Error())
		return false
	}
	decoder := yaml.NewDecoder(bytes.NewReader(content))
	var document yaml.Node
	if err := decoder.Decode(&document); errors.Is(err, io.EOF) {
		return true // Empty, or only comments: all defaults.
	} else if err != nil {
		l.reportAt(syntaxError(path, err))
		return false
	}
	if err := decoder.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		l.reportAt(path, "holds more than one YAML document; keep the first and remove the \"---\" after it")
		return false
	}
	f, root := fileReader{loader: l, path: path}, document.Content[0]
	if root.Kind != yaml.MappingNode && !isNull(root) {
		l.reportAt(f.at(root), `must be a mapping of keys such as "mysql:", is `+describeNode(root))
		return false
	}
	f.readSection(root, "", reflect.ValueOf(cfg).Elem())
	return true
}

// readLimited returns the content of a file that an operator named. Its errors start with the path.
func readLimited(path string) ([]byte, error) {
	var content []byte
	file, err := os.Open(path) //nolint:gosec // The operator names the file.
	if err == nil {
		defer func() { _ = file.Close() }() // Only read from.
		content, err = io.ReadAll(io.LimitReader(file, maxFileSize+1))
	}
	if pathError, ok := errors.AsType[*fs.PathError](err); ok {
		err = pathError.Err // The path would stand twice.
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%s does not exist", path)
	case err != nil:
		return nil, fmt.Errorf("%s cannot be read: %w", path, err)
	case len(content) > maxFileSize:
		return nil, fmt.Errorf("%s is larger than 1 MiB", path)
	}
	return content, nil
}

// yamlQuotation is a piece of the file in an error of the YAML library, such as the name after a "*", with which a
// password may start.
var yamlQuotation = regexp.MustCompile("['\"`].*['\"`]")

// syntaxError splits an error of the YAML library into its place in the file and a sentence without pieces of the file.
func syntaxError(path string, err error) (origin, sentence string) {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	if rest, found := strings.CutPrefix(text, "line "); found {
		line, sentence, _ := strings.Cut(rest, ": ")
		path, text = path+":"+line, sentence
	}
	return path, "is not valid YAML: " + yamlQuotation.ReplaceAllString(text, "(…)")
}

// fileReader walks the nodes of one file along the fields of the structs; the library parses the file and decodes the
// values. Its KnownFields is not enough: those errors carry Go types and pieces of values (which may be secrets), but
// neither the path of the key nor the known ones.
type fileReader struct {
	*loader
	path string
}

// at is the place of node in the file.
func (f fileReader) at(node *yaml.Node) string {
	return fmt.Sprintf("%s:%d", f.path, node.Line)
}

// readSection reads a mapping into the struct v.
func (f fileReader) readSection(node *yaml.Node, path string, v reflect.Value) {
	if isNull(node) {
		return // A section all of whose keys are commented out.
	}
	if node.Kind != yaml.MappingNode {
		f.reportUnread(path, "must be a section (a mapping of keys), is "+describeNode(node))
		return
	}
	fields := map[string]reflect.Value{}
	var names []string
	for field, value := range v.Fields() {
		fields[keyName(field)] = value
		names = append(names, keyName(field))
	}
	seen := map[string]*yaml.Node{}
	for i := 0; i+1 < len(node.Content); i += 2 {
		key, value := node.Content[i], node.Content[i+1]
		field, known := fields[key.Value]
		if key.Kind != yaml.ScalarNode || !known {
			f.reportAt(f.at(key), unknownKey(key, path, names))
			continue
		}
		keyPath := join(path, key.Value)
		if first := seen[key.Value]; first != nil {
			f.reportAt(f.at(key), fmt.Sprintf("%s: is set twice, first in line %d", keyPath, first.Line))
			continue
		}
		seen[key.Value] = key
		f.origins[keyPath] = f.at(key)
		f.readValue(value, keyPath, field)
	}
}

// readValue reads what stands after a key, or one entry of a list, into v.
func (f fileReader) readValue(node *yaml.Node, path string, v reflect.Value) {
	switch {
	case node.Kind == yaml.AliasNode:
		f.reportUnread(path, "is a YAML alias, which is not supported; write the value out")
	case isSection(v.Type()):
		f.readSection(node, path, v)
	case isNull(node):
		f.reportUnread(path, `has no value; write "" or [] for an empty one, or remove the line`)
	case v.Kind() == reflect.Slice && node.Kind == yaml.SequenceNode:
		f.readList(node, path, v)
	case !setNode(v, node):
		f.reportUnread(path, mustBe(v, describeNode(node)))
	}
}

// readList reads a sequence into the slice v, whose previous entries it replaces.
func (f fileReader) readList(node *yaml.Node, path string, v reflect.Value) {
	list := reflect.MakeSlice(v.Type(), len(node.Content), len(node.Content))
	for i, node := range node.Content {
		entry, entryPath := list.Index(i), fmt.Sprintf("%s[%d]", path, i)
		if defaults := newEntry(v.Type()); defaults.IsValid() {
			entry.Set(defaults)
		}
		f.origins[entryPath] = f.at(node)
		f.readValue(node, entryPath, entry)
	}
	v.Set(list)
}

// unknownKey is the sentence about a key that no field has. A key that does not look like one is not repeated: where
// the blank after a colon is missing, it holds the value.
func unknownKey(key *yaml.Node, section string, known []string) string {
	sentence := "unknown key"
	if key.Kind == yaml.ScalarNode && keyLike.MatchString(key.Value) {
		sentence += fmt.Sprintf(" %q", key.Value)
	}
	if section != "" {
		sentence += " in " + section
	}
	return sentence + "; known keys: " + strings.Join(known, ", ")
}

var keyLike = regexp.MustCompile(`^[A-Za-z0-9_.<-]{1,64}$`)
