package config

import (
	"errors"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// kind is a type of values as an operator sees it.
type kind struct {
	name   string // as the documentation calls it
	sample string // what fits after "must be"
}

// kindOf tells the kind of a field that is not a section.
func kindOf(t reflect.Type) kind {
	switch t {
	case reflect.TypeFor[Secret]():
		return kind{name: "secret text", sample: "a text"}
	case reflect.TypeFor[time.Duration]():
		return kind{name: "duration", sample: `a duration such as "30s" or "5m"`}
	case reflect.TypeFor[[]string]():
		return kind{name: "list of texts", sample: "a list of texts"}
	}
	if defaults, ok := entryDefaults[t]; ok {
		name := "list of " + strings.ToLower(reflect.TypeOf(defaults()).Name()) + "s"
		return kind{name: name, sample: "a " + name}
	}
	switch t.Kind() {
	case reflect.Int:
		return kind{name: "whole number", sample: "a whole number"}
	case reflect.Float64:
		return kind{name: "number", sample: "a number"}
	case reflect.Bool:
		return kind{name: "true or false", sample: "true or false"}
	default:
		return kind{name: "text", sample: "a text"}
	}
}

// isSection reports whether fields of the type are sections, with keys of their own.
func isSection(t reflect.Type) bool {
	return t.Kind() == reflect.Struct && t != reflect.TypeFor[Secret]()
}

func isList(t reflect.Type) bool { return t.Kind() == reflect.Slice }

// setScalar sets v, which is neither a section nor a list, from node. The error is a sentence without a subject.
func setScalar(node *yaml.Node, v reflect.Value) error {
	if node.Kind == yaml.ScalarNode && trySetScalar(node, v) {
		return nil
	}
	sentence := "must be " + kindOf(v.Type()).sample
	if v.Type() != reflect.TypeFor[Secret]() {
		sentence += ", is " + describeNode(node)
	}
	return errors.New(sentence)
}

// trySetScalar sets v and reports true, or leaves it as it is.
func trySetScalar(node *yaml.Node, v reflect.Value) bool {
	switch target := v.Addr().Interface().(type) {
	case *Secret:
		return set(target, NewSecret(node.Value), isText(node))
	case *string:
		return set(target, node.Value, isText(node))
	case *bool:
		return node.Decode(target) == nil
	case *int:
		return node.ShortTag() == "!!int" && node.Decode(target) == nil
	case *float64:
		return (node.ShortTag() == "!!int" || node.ShortTag() == "!!float") && node.Decode(target) == nil
	case *time.Duration:
		duration, err := time.ParseDuration(node.Value)
		// A bare number would leave its unit to guesswork.
		return set(target, duration, err == nil && node.ShortTag() == "!!str")
	default:
		return false
	}
}

func set[T any](target *T, value T, ok bool) bool {
	if ok {
		*target = value
	}
	return ok
}

// isText reports whether a scalar can be taken as it is written. A bucket named 2024 needs no quotes.
func isText(node *yaml.Node) bool {
	return slices.Contains([]string{"!!str", "!!int", "!!float", "!!bool", "!!timestamp"}, node.ShortTag())
}

// describeNode tells what stands in the file where something else was expected.
func describeNode(node *yaml.Node) string {
	switch {
	case node.Kind == yaml.MappingNode:
		return "a section"
	case node.Kind == yaml.SequenceNode:
		return "a list"
	case node.ShortTag() == "!!str" && node.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle) != 0:
		return "the text " + describe(node.Value)
	case node.ShortTag() == "!!int" || node.ShortTag() == "!!float":
		return shorten(node.Value)
	default:
		return describe(node.Value)
	}
}

// describe shows a value in a sentence, or "" for one that is better not shown.
func describe(value any) string {
	switch value := value.(type) {
	case int:
		return strconv.Itoa(value)
	case float64:
		return strconv.FormatFloat(value, 'g', -1, 64)
	case time.Duration:
		return formatDuration(value)
	case string:
		if value == "" {
			return "empty"
		}
		return strconv.Quote(shorten(userinfo.ReplaceAllString(value, "//"+redacted+"@")))
	default:
		return ""
	}
}

// userinfo is the user and password of a URL.
var userinfo = regexp.MustCompile(`//[^/]*@`)

func shorten(s string) string {
	const most = 100
	if runes := []rune(s); len(runes) > most {
		return string(runes[:most]) + "…"
	}
	return s
}

// formatDuration writes 10m0s as 10m.
func formatDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
