package config

import (
	"fmt"
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
	name   string   // as the documentation calls it
	sample string   // what fits after "must be"
	tags   []string // the YAML tags of its values in the file
}

// texts are the tags of what can be taken as it is written: a bucket named 2024 needs no quotes.
var texts = []string{"!!str", "!!int", "!!float", "!!bool", "!!timestamp"}

// kinds are the kinds of all fields that are not sections.
var kinds = map[reflect.Type]kind{
	reflect.TypeFor[string]():  {name: "text", sample: "a text", tags: texts},
	reflect.TypeFor[Secret]():  {name: "secret text", sample: "a text", tags: texts},
	reflect.TypeFor[bool]():    {name: "true or false", sample: "true or false", tags: []string{"!!bool", "!!str"}},
	reflect.TypeFor[int]():     {name: "whole number", sample: "a whole number", tags: []string{"!!int"}},
	reflect.TypeFor[float64](): {name: "number", sample: "a number", tags: []string{"!!int", "!!float"}},
	// A bare number would leave its unit to guesswork.
	reflect.TypeFor[time.Duration](): {
		name: "duration", sample: `a duration such as "30s", "5m" or "7d"`, tags: []string{"!!str"},
	},
	reflect.TypeFor[[]string]():   {name: "list of texts", sample: "a list of texts"},
	reflect.TypeFor[[]Location](): {name: "list of locations", sample: "a list of locations"},
	reflect.TypeFor[[]Token]():    {name: "list of tokens", sample: "a list of tokens"},
}

// mustBe is the sentence about a value that is not of the kind of v. It does not show what may be a secret.
func mustBe(v reflect.Value, is string) string {
	sentence := "must be " + kinds[v.Type()].sample
	if v.Type() != reflect.TypeFor[Secret]() {
		sentence += ", is " + is
	}
	return sentence
}

// setNode sets v, which is neither a section nor a list, to what stands in the file, if that is of its kind.
func setNode(v reflect.Value, node *yaml.Node) bool {
	if node.Kind != yaml.ScalarNode || !slices.Contains(kinds[v.Type()].tags, node.ShortTag()) {
		return false
	}
	if d, ok := reflect.TypeAssert[*time.Duration](v.Addr()); ok { // the library knows no days
		return parse(d, node.Value, ParseDuration) == nil
	}
	return node.Decode(v.Addr().Interface()) == nil
}

// setVariable sets v to the value of an environment variable, if that is of its kind. A secret is taken as it is.
func setVariable(v reflect.Value, text string) (ok bool) {
	var err error
	switch target := v.Addr().Interface().(type) {
	case *Secret:
		*target = NewSecret(text)
	case *string:
		*target = strings.TrimSpace(text)
	case *[]string:
		*target = strings.Split(text, ",")
		for i := range *target {
			(*target)[i] = strings.TrimSpace((*target)[i])
		}
	case *bool:
		err = parse(target, text, strconv.ParseBool)
	case *int:
		err = parse(target, text, strconv.Atoi)
	case *float64:
		err = parse(target, text, func(s string) (float64, error) { return strconv.ParseFloat(s, 64) })
	case *time.Duration:
		err = parse(target, text, ParseDuration)
	}
	return err == nil
}

// parse sets target unless the text cannot be parsed.
func parse[T any](target *T, text string, parser func(string) (T, error)) error {
	value, err := parser(text)
	if err == nil {
		*target = value
	}
	return err
}

func isNull(node *yaml.Node) bool {
	return node.Kind == yaml.ScalarNode && node.ShortTag() == "!!null"
}

// describeNode says what is in the file where something else was expected.
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
	case int, float64, bool:
		return fmt.Sprint(value)
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
	const maxRunes = 100
	if runes := []rune(s); len(runes) > maxRunes {
		return string(runes[:maxRunes]) + "…"
	}
	return s
}

var zeroUnits = regexp.MustCompile(`([hm])(0m)?0s$`)

// formatDuration writes 10m0s as 10m and 1h0m0s as 1h.
func formatDuration(d time.Duration) string { return zeroUnits.ReplaceAllString(d.String(), "$1") }
