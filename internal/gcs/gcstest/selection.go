package gcstest

import (
	"maps"
	"strings"
)

// selection is a parsed fields= parameter: the wanted keys and what is wanted below each. Nil is everything. A client
// that forgets to select a hold must not get it, or its tests would pass where production fails.
type selection map[string]selection

func (s selection) has(key string) bool {
	if s == nil {
		return true
	}
	_, ok := s[key]
	return ok
}

// parseSelection reads "a,b(c,d),e/f". A malformed expression selects what can be made of it.
func parseSelection(expression string) selection {
	if expression == "" || expression == "*" {
		return nil
	}
	selected := selection{}
	for expression != "" {
		var part string
		part, expression = cutField(expression)
		name, below := part, selection(nil)
		if i := strings.IndexAny(part, "(/"); i >= 0 {
			name, below = part[:i], parseSelection(strings.TrimSuffix(part[i+1:], ")"))
		}
		// items/name,items/size is the same as items(name,size).
		if known, ok := selected[name]; ok && known != nil && below != nil {
			maps.Copy(known, below)
			continue
		}
		selected[name] = below
	}
	return selected
}

// cutField splits at the first comma that is not inside parentheses.
func cutField(expression string) (first, rest string) {
	depth := 0
	for i, r := range expression {
		switch r {
		case '(':
			depth++
		case ')':
			depth--
		case ',':
			if depth == 0 {
				return expression[:i], expression[i+1:]
			}
		}
	}
	return expression, ""
}
