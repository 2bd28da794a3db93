package config

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"

	"github.com/go-playground/validator/v10"
)

// sharedValidator returns the validator with our rules, which names fields as the file does and reads secrets.
var sharedValidator = sync.OnceValue(func() *validator.Validate {
	v := validator.New(validator.WithRequiredStructEnabled())
	v.RegisterTagNameFunc(keyName)
	v.RegisterCustomTypeFunc(func(field reflect.Value) any {
		secret, _ := reflect.TypeAssert[Secret](field) // Registered for this type alone.
		return secret.Reveal()
	}, Secret{})
	for name, r := range rules {
		if r.holds == nil {
			continue
		}
		err := v.RegisterValidation(name, func(field validator.FieldLevel) bool {
			return r.holds(field.Field(), field.Param())
		})
		if err != nil {
			panic(fmt.Sprintf("registering rule %s: %v", name, err)) // A name the validator reserves: seen by any test.
		}
	}
	return v
})

// reportBroken reports the broken rules of the keys of section, a pointer to a struct.
func (l *loader) reportBroken(section any) {
	err := sharedValidator().Struct(section)
	if broken, ok := errors.AsType[validator.ValidationErrors](err); ok {
		for _, field := range broken {
			// The namespace starts with the name of the struct: Worker.gcs.max_tries.
			_, path, _ := strings.Cut(field.Namespace(), ".")
			l.reportRule(path, brokenRule(field))
		}
	}
}

func brokenRule(field validator.FieldError) string {
	r := rules[field.Tag()]
	sentence := "must " + r.must(field.Param())
	if value := describe(field.Value()); value != "" && !r.silent {
		sentence += ", is " + value
	}
	return sentence
}
