package config

import (
	"reflect"
	"strconv"
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
	// EnqueuerDefault is that of the enqueuer, where both have the key and it differs; else "".
	EnqueuerDefault string
	// Variable is the environment variable that overrides it, or "" for keys that only the file has.
	Variable string
	// Rule says in words what must hold for its value, or "".
	Rule string
	// Worker and Enqueuer say which files have the key.
	Worker, Enqueuer bool
	// Section and Field are the names of the Go struct and its field, whose comment describes the key.
	Section, Field string
	// Entry is the name of the Go struct of the entries, for a key that is a list of sections; else "".
	Entry string
}

// entryDefaults are the lists of sections, with what an entry of each starts from.
var entryDefaults = map[reflect.Type]func() any{
	reflect.TypeFor[[]Location](): func() any { return DefaultLocation() },
	reflect.TypeFor[[]Token]():    func() any { return DefaultToken() },
}

// Keys returns every key of the two files: the worker's in their order, then those that only the enqueuer has.
func Keys() []Key {
	keys := keysOf(reflect.ValueOf(DefaultWorker()), "")
	at := map[string]int{}
	for i := range keys {
		keys[i].Worker = true
		at[keys[i].Path] = i
	}
	for _, key := range keysOf(reflect.ValueOf(DefaultEnqueuer()), "") {
		key.Enqueuer = true
		i, shared := at[key.Path]
		if !shared {
			keys = append(keys, key)
			continue
		}
		keys[i].Enqueuer = true
		if key.Default != keys[i].Default {
			keys[i].EnqueuerDefault = key.Default
		}
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
		case entryDefaults[field.Type] != nil:
			entry := reflect.ValueOf(entryDefaults[field.Type]())
			key := newKey(keyPath, v.Type(), field, value)
			key.Entry = entry.Type().Name()
			keys = append(append(keys, key), keysOf(entry, keyPath+"[]")...)
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
	case float64:
		return strconv.FormatFloat(value, 'g', -1, 64)
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
