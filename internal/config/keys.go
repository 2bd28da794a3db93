package config

import (
	"reflect"
	"strings"
	"time"
)

// Key describes one key of the configuration files, for the documentation and for the environment.
type Key struct {
	// Path is the key with its sections, as problems name it: "gcs.max_in_flight", "locations[].bucket".
	Path string
	// Kind says in words what values it takes.
	Kind string
	// Default is the default as it would stand in the file, or "" where the operator must give a value.
	Default string
	// Variable is the environment variable that overrides it, or "" for keys that only the file has.
	Variable string
	// Rule says in words what must hold for its value, or "".
	Rule string
	// Worker and Enqueuer say which files have the key.
	Worker, Enqueuer bool
	// Section and Field are the names of the Go struct and its field, whose comment describes the key.
	Section, Field string
}

// Keys returns every key of the two files, in the order of the worker's.
func Keys() []Key {
	keys := keysOf(reflect.ValueOf(DefaultWorker()), "")
	enqueuer := map[string]bool{}
	for _, key := range keysOf(reflect.ValueOf(DefaultEnqueuer()), "") {
		enqueuer[key.Path] = true
	}
	for i := range keys {
		keys[i].Worker = true
		keys[i].Enqueuer = enqueuer[keys[i].Path] // Sections are shared whole: the enqueuer has no key of its own.
	}
	return keys
}

// keysOf returns the keys of the section v, which holds the defaults.
func keysOf(v reflect.Value, path string) []Key {
	var keys []Key
	for field, value := range v.Fields() {
		keyPath := join(path, keyName(field))
		switch {
		case isSection(field.Type):
			keys = append(keys, keysOf(value, keyPath)...)
		case field.Type == reflect.TypeFor[[]Location]():
			keys = append(keys, newKey(keyPath, v.Type(), field, value))
			keys = append(keys, keysOf(reflect.ValueOf(DefaultLocation()), keyPath+"[]")...)
		default:
			keys = append(keys, newKey(keyPath, v.Type(), field, value))
		}
	}
	return keys
}

func newKey(path string, section reflect.Type, field reflect.StructField, value reflect.Value) Key {
	key := Key{
		Path:    path,
		Kind:    kindOf(field.Type).name,
		Default: defaultText(value),
		Rule:    describeRules(field.Tag.Get("validate")),
		Section: section.Name(),
		Field:   field.Name,
	}
	if key.Default == "" && value.Kind() == reflect.String && sharedValidator().Var("", field.Tag.Get("validate")) == nil {
		key.Default = `""`
	}
	if name := field.Tag.Get("env"); name != "" && name != "-" {
		key.Variable = variableOf(path)
	}
	return key
}

// defaultText writes a default as it would stand in the file.
func defaultText(value reflect.Value) string {
	switch value := value.Interface().(type) {
	case Secret:
		return value.Reveal() // Only the defaults come here; they are public.
	case string:
		return value
	case []string:
		return "[" + strings.Join(value, ", ") + "]"
	case []Location:
		return ""
	case bool:
		if value {
			return "true"
		}
		return "false"
	case int, time.Duration:
		return describe(value)
	default:
		return ""
	}
}

// keyName is the name of a field in the file.
func keyName(field reflect.StructField) string { return field.Tag.Get("yaml") }

// sectionFields returns the fields of the section v by key, and the keys in their order.
func sectionFields(v reflect.Value) (fields map[string]reflect.Value, names []string) {
	fields = map[string]reflect.Value{}
	for field, value := range v.Fields() {
		fields[keyName(field)] = value
		names = append(names, keyName(field))
	}
	return fields, names
}

func join(section, key string) string {
	if section == "" {
		return key
	}
	return section + "." + key
}
