package config

import (
	"reflect"
	"strings"
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

// Keys returns every key of the two files: the worker's in their order, then those that only the enqueuer has.
func Keys() []Key {
	keys := describeKeys(reflect.ValueOf(new(DefaultWorker())).Elem(), "")
	at := map[string]int{}
	for i := range keys {
		keys[i].Worker = true
		at[keys[i].Path] = i
	}
	for _, key := range describeKeys(reflect.ValueOf(new(DefaultEnqueuer())).Elem(), "") {
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

// describeKeys describes the keys of the section v, which holds the defaults, and those of the entries of its lists.
func describeKeys(v reflect.Value, path string) []Key {
	var all []Key
	for _, k := range keysOf(v, path) {
		rules := k.field.Tag.Get("validate")
		described := Key{
			Path: k.path, Kind: kinds[k.field.Type].name, Default: defaultText(k.value), Variable: k.variable(),
			Rule: describeRules(rules), Section: k.section.Name(), Field: k.field.Name,
		}
		if described.Default == "" && k.value.Kind() == reflect.String && sharedValidator().Var("", rules) == nil {
			described.Default = `""`
		}
		entry := newEntry(k.field.Type)
		if entry.IsValid() {
			described.Entry = entry.Type().Name()
		}
		all = append(all, described)
		if entry.IsValid() {
			all = append(all, describeKeys(entry, k.path+"[]")...)
		}
	}
	return all
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
	default:
		return describe(value)
	}
}

// key is one key of a configuration, with the value that it sets.
type key struct {
	path    string
	section reflect.Type
	field   reflect.StructField
	value   reflect.Value
}

// keysOf returns the keys of the section v and of the sections in it, in their order. A list of sections is one key.
func keysOf(v reflect.Value, path string) []key {
	var keys []key
	for field, value := range v.Fields() {
		k := key{path: join(path, keyName(field)), section: v.Type(), field: field, value: value}
		if isSection(field.Type) {
			keys = append(keys, keysOf(value, k.path)...)
		} else {
			keys = append(keys, k)
		}
	}
	return keys
}

// variable returns the environment variable of a key, which is named after its path; "" for lists of sections.
func (k key) variable() string {
	if strings.Contains(k.path, "[") || newEntry(k.field.Type).IsValid() {
		return ""
	}
	return prefix + strings.ToUpper(strings.ReplaceAll(k.path, ".", "_"))
}

// isSection reports whether fields of the type are sections, with keys of their own.
func isSection(t reflect.Type) bool {
	return t.Kind() == reflect.Struct && t != reflect.TypeFor[Secret]()
}

// newEntry returns what an entry of a list of sections starts from; the zero Value for all other types.
func newEntry(list reflect.Type) reflect.Value {
	switch list {
	case reflect.TypeFor[[]Location]():
		return reflect.ValueOf(new(DefaultLocation())).Elem()
	case reflect.TypeFor[[]Token]():
		return reflect.ValueOf(new(DefaultToken())).Elem()
	default:
		return reflect.Value{}
	}
}

// keyName is the name of a field in the file.
func keyName(field reflect.StructField) string { return field.Tag.Get("yaml") }

func join(section, key string) string {
	if section == "" {
		return key
	}
	return section + "." + key
}
