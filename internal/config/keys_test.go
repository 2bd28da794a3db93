package config_test

import (
	"reflect"
	"strings"
	"testing"

	"github.com/certpurge/certpurge/internal/config"
)

func TestVariablesAreNamedAfterTheirKeys(t *testing.T) {
	t.Parallel()
	named := map[string]bool{}
	for _, key := range config.Keys() {
		inList := key.Entry != "" || strings.Contains(key.Path, "[]")
		if (key.Variable == "") != inList {
			t.Errorf("%s: got variable %q, want one exactly for the keys outside of lists", key.Path, key.Variable)
		}
		if key.Variable == "" {
			continue
		}
		if named[key.Variable] {
			t.Errorf("%s names two keys", key.Variable)
		}
		named[key.Variable] = true
	}
	for _, variable := range []string{
		"CERTPURGE_EXTERNAL_LINKS", "CERTPURGE_GCS_DELETE_RATE_START",
		"CERTPURGE_MYSQL_TLS_CA_FILE",
	} {
		if !named[variable] {
			t.Errorf("%s names no key", variable)
		}
	}
}

func TestSectionsOfBothAreTheSame(t *testing.T) {
	t.Parallel()
	sameFields(t, "", reflect.TypeFor[config.Worker](), reflect.TypeFor[config.Enqueuer]())
}

// sameFields fails the test if a key of both is another in each. One may have keys that the other has not.
func sameFields(t *testing.T, section string, worker, enqueuer reflect.Type) {
	t.Helper()
	for field := range enqueuer.Fields() {
		same, ok := worker.FieldByName(field.Name)
		name := section + "." + field.Name
		switch {
		case !ok:
		case same.Tag != field.Tag || same.Type.Kind() != field.Type.Kind():
			t.Errorf("%s differs between the two; Keys and the shared environment rely on that", name)
		case same.Type == field.Type:
		case field.Type.Kind() == reflect.Struct:
			sameFields(t, name, same.Type, field.Type)
		default:
			t.Errorf("%s has another type in each of the two", name)
		}
	}
}

func TestKeysHoldTheDefaultsAsTheFileWouldHaveThem(t *testing.T) {
	t.Parallel()
	defaults := map[string]string{}
	for _, key := range config.Keys() {
		defaults[key.Path] = key.Default
	}
	for path, want := range map[string]string{
		"mysql.dsn": "", "redis.url": "redis://127.0.0.1:6379/0", "tasks.timeout": "3m", "gcs.endpoint": `""`,
		"gcs.max_in_flight": "64",
		"serve.hold":        "25s", "lms.excluded_states": "[PENDING, ABORTED]", "lms.clear_history": "true",
		"locations[].verify_dir": "cert", "locations[].bucket": "",
	} {
		if got := defaults[path]; got != want {
			t.Errorf("%s: got default %q, want %q", path, got, want)
		}
	}
}
