package manifests_test

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/types"
)

const root = "../.."

// load reads a compose file as docker compose does.
func load(t *testing.T, file string, profiles ...string) *types.Project {
	t.Helper()
	absolute, err := filepath.Abs(file)
	if err != nil {
		t.Fatal(err)
	}
	project, err := loader.LoadWithContext(t.Context(), types.ConfigDetails{
		WorkingDir: filepath.Dir(absolute), ConfigFiles: []types.ConfigFile{{Filename: absolute}},
		Environment: types.Mapping{},
	}, func(o *loader.Options) {
		o.SetProjectName("certpurge", true)
		o.Profiles = profiles
	})
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	return project
}

func TestComposeFile(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		profiles []string
		want     []string
	}{
		{nil, []string{"enqueuer", "migrate", "redis", "worker"}},
		{[]string{"demo"}, []string{"enqueuer", "migrate", "mysql", "redis", "site", "worker"}},
		{[]string{"monitoring"}, []string{"enqueuer", "grafana", "migrate", "prometheus", "redis", "worker"}},
		{[]string{"demo", "monitoring", "watch", "backfill"}, []string{
			"backfill", "enqueuer", "grafana", "migrate", "mysql", "prometheus", "redis", "site", "watch", "worker",
		}},
	} {
		project := load(t, root+"/docker-compose.yml", test.profiles...)
		if got := slices.Sorted(maps.Keys(project.Services)); !slices.Equal(got, test.want) {
			t.Errorf("profiles %v start %v, want %v", test.profiles, got, test.want)
		}
		for name, service := range project.Services {
			checkService(t, name, service)
		}
		for _, file := range project.Secrets {
			exists(t, file.File)
		}
		for _, file := range project.Configs {
			exists(t, file.File)
		}
	}
	for name, service := range load(t, root+"/internal/sandbox/docker-compose.yml").Services {
		checkImage(t, name, service.Image)
	}
}

func checkService(t *testing.T, name string, service types.ServiceConfig) {
	t.Helper()
	if service.Image == "" || strings.HasSuffix(service.Image, ":latest") || !strings.Contains(service.Image, ":") {
		t.Errorf("%s: image %q has no version", name, service.Image)
	}
	checkImage(t, name, service.Image)
	for _, volume := range service.Volumes {
		if volume.Type == types.VolumeTypeBind {
			exists(t, volume.Source)
		}
	}
	if !ownImage.MatchString(service.Image) {
		return
	}
	// One service builds each image: several would build the same at the same time.
	if want, ok := map[string]string{"site": "demo", "migrate": ""}[name]; ok != (service.Build != nil) ||
		ok && service.Build.Target != want {
		t.Errorf("%s builds %+v, want %t for the target %q of the Dockerfile", name, service.Build, ok, want)
	}
	if !service.ReadOnly || !slices.Equal(service.CapDrop, []string{"ALL"}) ||
		!slices.Contains(service.SecurityOpt, "no-new-privileges:true") {
		t.Errorf("%s has more rights than it needs", name)
	}
	if service.StopGracePeriod == nil || *service.StopGracePeriod < types.Duration(drain) {
		t.Errorf("%s is killed while it drains: %v", name, service.StopGracePeriod)
	}
}

func exists(t *testing.T, path string) {
	t.Helper()
	if _, err := os.Stat(path); err != nil {
		t.Error(err)
	}
}
