package config_test

import (
	"maps"
	"os"
	"reflect"
	"regexp"
	"slices"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/certpurge/certpurge/internal/config"
)

const (
	workerExample   = "../../configs/worker.yaml"
	enqueuerExample = "../../configs/enqueuer.yaml"
)

func TestExamplesLoadAndShowTheDefaults(t *testing.T) {
	t.Parallel()
	worker, err := config.LoadWorker(workerExample, []string{dsnVariable})
	if err != nil {
		t.Fatal(err)
	}
	wantWorker := config.DefaultWorker()
	wantWorker.MySQL.DSN = config.NewSecret(dsn)
	wantWorker.Locations = worker.Locations // No default.
	if !reflect.DeepEqual(worker, wantWorker) {
		t.Errorf("%s: got %+v, want the defaults %+v", workerExample, worker, wantWorker)
	}
	enqueuer, err := config.LoadEnqueuer(enqueuerExample, []string{dsnVariable})
	if err != nil {
		t.Fatal(err)
	}
	wantEnqueuer := config.DefaultEnqueuer()
	wantEnqueuer.MySQL.DSN = config.NewSecret(dsn)
	if !reflect.DeepEqual(enqueuer, wantEnqueuer) {
		t.Errorf("%s: got %+v, want the defaults %+v", enqueuerExample, enqueuer, wantEnqueuer)
	}
}

func TestExamplesNameEveryKey(t *testing.T) {
	t.Parallel()
	worker, enqueuer := map[string]bool{}, map[string]bool{}
	for _, key := range config.Keys() {
		if key.Worker {
			worker[key.Path] = true
		}
		if key.Enqueuer {
			enqueuer[key.Path] = true
		}
	}
	for file, want := range map[string]map[string]bool{workerExample: worker, enqueuerExample: enqueuer} {
		got := keysOfExample(t, file)
		if !maps.Equal(got, want) {
			t.Errorf("%s names\n  %q\nwant\n  %q", file, slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want)))
		}
	}
}

// keysOfExample returns the keys in the file, those included that are commented out.
func keysOfExample(t *testing.T, path string) map[string]bool {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	content = regexp.MustCompile(`(?m)^( +)# ([a-z0-9_]+: (?:\S+|\{.*\}))$`).ReplaceAll(content, []byte("$1$2"))
	// A list that is empty by default, with its entries in a comment below it.
	content = regexp.MustCompile(`(?m)^([a-z]+:) \[\]\n# ([a-z]+:)$`).ReplaceAll(content, []byte("$2"))
	content = regexp.MustCompile(`(?m)^# ( +\S.*)$`).ReplaceAll(content, []byte("$1"))
	var document yaml.Node
	if err := yaml.Unmarshal(content, &document); err != nil {
		t.Fatalf("%s with its commented keys: %v", path, err)
	}
	keys := map[string]bool{}
	collectKeys(document.Content[0], "", keys)
	return keys
}

func collectKeys(node *yaml.Node, path string, keys map[string]bool) {
	for i := 0; node.Kind == yaml.MappingNode && i < len(node.Content); i += 2 {
		keyPath, value := path+node.Content[i].Value, node.Content[i+1]
		switch value.Kind {
		case yaml.MappingNode:
			collectKeys(value, keyPath+".", keys)
		case yaml.SequenceNode:
			keys[keyPath] = true
			for _, entry := range value.Content {
				collectKeys(entry, keyPath+"[].", keys)
			}
		default:
			keys[keyPath] = true
		}
	}
}
