package configs_test

import (
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/certpurge/certpurge/configs"
	"github.com/certpurge/certpurge/internal/sandbox/sandboxtest"
)

func TestMain(m *testing.M) { os.Exit(sandboxtest.Main(m)) }

// stack is what the tests look at of docker-compose.yml. Whether it is a compose file at all is for `make manifests` to
// say.
type stack struct {
	Services map[string]service
	Configs  map[string]struct{ File string }
	Secrets  map[string]struct{ File string }
}

type service struct {
	Image       string
	Command     []string
	Profiles    []string
	Environment map[string]string
	Configs     []struct{ Source, Target string }
	Secrets     []string
	Healthcheck struct{ Test []string }
	DependsOn   map[string]struct{ Condition string } `yaml:"depends_on"`
	Deploy      struct{ Replicas int }
	Ports       []string
}

// ours are the images that are made from the Dockerfile.
var ours = []string{
	"${COMPOSE_CERTPURGE_IMAGE:-certpurge:local}",
	"${COMPOSE_CERTPURGE_DEMO_IMAGE:-certpurge-demo:local}",
}

const ownSettings = "${COMPOSE_CERTPURGE_SETTINGS:-./configs/compose}"

func readStack(t *testing.T) stack {
	t.Helper()
	text, err := os.ReadFile("../docker-compose.yml")
	if err != nil {
		t.Fatal(err)
	}
	var s stack
	if err := yaml.Unmarshal(text, &s); err != nil {
		t.Fatal(err)
	}
	return s
}

// path is where a file of the stack is in this repository.
func (s stack) path(file string) string {
	return filepath.Join("..", strings.Replace(file, ownSettings, "./configs/compose", 1))
}

func TestStackHasEverything(t *testing.T) {
	t.Parallel()
	want := []string{
		"backfill", "enqueuer", "grafana", "migrate", "mysql", "prometheus", "redis", "site", "watch", "worker",
	}
	s := readStack(t)
	if got := slices.Sorted(maps.Keys(s.Services)); !slices.Equal(got, want) {
		t.Errorf("got services %v, want %v", got, want)
	}
	for name, service := range s.Services {
		if ends := name == "migrate" || name == "backfill"; len(service.Healthcheck.Test) == 0 && !ends {
			t.Errorf("%s has no health check", name)
		}
		for _, port := range service.Ports {
			if !strings.HasPrefix(port, "127.0.0.1:") {
				t.Errorf("%s is open to the network: %s", name, port)
			}
		}
		for other := range service.DependsOn {
			if _, ok := s.Services[other]; !ok {
				t.Errorf("%s waits for %s, which is not there", name, other)
			}
		}
	}
	if got := s.Services["worker"].Deploy.Replicas; got != 2 {
		t.Errorf("got %d workers", got)
	}
}

// TestStackGivesSecretsToThoseWhoNeedThem: the LMS's secret is for the server only, and no account of MySQL or Redis is
// shared.
func TestStackGivesSecretsToThoseWhoNeedThem(t *testing.T) {
	t.Parallel()
	s := readStack(t)
	for name, want := range map[string][]string{
		"migrate":  {"mysql_migrate_dsn"},
		"worker":   {"mysql_worker_dsn", "redis_worker_url", "admin_users"},
		"enqueuer": {"mysql_enqueuer_dsn", "redis_enqueuer_url", "admin_users", "jwt_secret"},
		"watch":    {"mysql_enqueuer_dsn", "redis_enqueuer_url", "admin_users"},
		"backfill": {"mysql_enqueuer_dsn", "redis_enqueuer_url"},
		"redis":    {"redis_users"},
	} {
		if got := s.Services[name].Secrets; !slices.Equal(got, want) {
			t.Errorf("%s: got secrets %v, want %v", name, got, want)
		}
	}
}

// TestTheStacksAccountsOfRedis: they are those of users.acl, with the passwords that the programs have.
func TestTheStacksAccountsOfRedis(t *testing.T) {
	t.Parallel()
	s := readStack(t)
	read := func(secret string) string {
		text, err := os.ReadFile(s.path(s.Secrets[secret].File))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	var want []string
	for line := range strings.Lines(configs.RedisUsers) {
		if !strings.HasPrefix(line, "user replica ") && !strings.HasPrefix(line, "user sentinel ") {
			want = append(want, strings.Replace(line, ">change-me-", ">certpurge-demo-", 1))
		}
	}
	if got := read("redis_users"); got != strings.Join(want, "") {
		t.Errorf("got the accounts\n%s\nwant\n%s", got, strings.Join(want, ""))
	}
	for _, program := range []string{"worker", "enqueuer"} {
		name := "certpurge_" + program
		address, err := url.Parse(read("redis_" + program + "_url"))
		if err != nil {
			t.Fatal(err)
		}
		password, _ := address.User.Password()
		if address.User.Username() != name || !strings.Contains(strings.Join(want, ""), "user "+name+" on >"+password+" ") {
			t.Errorf("%s: users.acl does not know %s with its password", program, address.User.Username())
		}
	}
}

func TestStackNamesFilesThatExist(t *testing.T) {
	t.Parallel()
	s := readStack(t)
	for _, all := range []map[string]struct{ File string }{s.Configs, s.Secrets} {
		for name, entry := range all {
			text, err := os.ReadFile(s.path(entry.File))
			if err != nil || len(text) == 0 {
				t.Errorf("%s: %d bytes, %v", name, len(text), err)
			}
		}
	}
	for name, service := range s.Services {
		for _, secret := range service.Secrets {
			if _, ok := s.Secrets[secret]; !ok {
				t.Errorf("%s has a secret %s, which is nowhere", name, secret)
			}
		}
		if !slices.Contains(ours, service.Image) {
			continue
		}
		// Everything that ours reads is mounted: as a secret, or as a config.
		mounted := map[string]bool{}
		for _, secret := range service.Secrets {
			mounted["/run/secrets/"+secret] = true
		}
		for _, config := range service.Configs {
			mounted[config.Target] = true
		}
		used := strings.Join(append(slices.Collect(maps.Values(service.Environment)), service.Command...), " ")
		for _, path := range regexp.MustCompile(`/(run/secrets|etc)/[\w./]+`).FindAllString(used, -1) {
			if !mounted[path] {
				t.Errorf("%s reads %s, which is not mounted", name, path)
			}
		}
	}
}
