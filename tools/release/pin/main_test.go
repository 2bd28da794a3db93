package main

import (
	"io"
	"log"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

const root = "../../.."

// standIn sends requests for every host to one registry on the loopback interface.
type standIn struct{ address string }

func (s standIn) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.URL.Scheme, r.URL.Host = "http", s.address
	return http.DefaultTransport.RoundTrip(r)
}

func newRegistry(t *testing.T) remote.Option {
	t.Helper()
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(server.Close)
	return remote.WithTransport(standIn{server.Listener.Addr().String()})
}

// push gives the tag a new index of images, and returns its digest.
func push(t *testing.T, image string, transport remote.Option) string {
	t.Helper()
	index, err := random.Index(10, 1, 2)
	if err != nil {
		t.Fatal(err)
	}
	tag, err := name.NewTag(image)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.WriteIndex(tag, index, transport); err != nil {
		t.Fatal(err)
	}
	digest, err := index.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return digest.String()
}

// copyFiles copies what pin may change into a directory, and returns it with the names of the files.
func copyFiles(t *testing.T) (dir string, paths []string) {
	t.Helper()
	dir = t.TempDir()
	paths, err := files(t.Context(), root)
	if err != nil {
		t.Fatal(err)
	}
	for path, text := range read(t, root, paths) {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, path)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, path), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir, paths
}

// read returns the texts of the files and of the list.
func read(t *testing.T, dir string, paths []string) map[string]string {
	t.Helper()
	texts := map[string]string{}
	for _, path := range append(slices.Clone(paths), unpinned) {
		text, err := os.ReadFile(filepath.Join(dir, path))
		if err != nil {
			t.Fatal(err)
		}
		texts[path] = string(text)
	}
	return texts
}

// all are the images of the texts.
func all(texts map[string]string) map[string]string {
	found := map[string]string{}
	for _, text := range texts {
		maps.Copy(found, images(text))
	}
	return found
}

func listed(list string) []string {
	var names []string
	for line := range strings.Lines(list) {
		if !strings.HasPrefix(line, "#") {
			names = append(names, strings.TrimSpace(line))
		}
	}
	return names
}

var digest = regexp.MustCompile(`@sha256:[0-9a-f]{64}`)

func TestPinFollowsTheTags(t *testing.T) {
	t.Parallel()
	transport := newRegistry(t)
	dir, paths := copyFiles(t)
	before := read(t, dir, paths)
	for range 2 { // the second time, the tags have moved
		want := map[string]string{}
		for image := range all(before) {
			want[image] = "@" + push(t, image, transport)
		}
		if err := pin(t.Context(), dir, paths, transport); err != nil {
			t.Fatal(err)
		}
		got := read(t, dir, paths)
		if found := all(got); !maps.Equal(found, want) {
			t.Errorf("got %v, want %v", found, want)
		}
		for _, path := range paths {
			if digest.ReplaceAllString(got[path], "") != digest.ReplaceAllString(before[path], "") {
				t.Errorf("%s has other changes than digests", path)
			}
		}
		if left := listed(got[unpinned]); len(left) > 0 || !strings.HasPrefix(got[unpinned], "#") {
			t.Errorf("%s is %q", unpinned, got[unpinned])
		}
		if err := pin(t.Context(), dir, paths, transport); err != nil {
			t.Fatal(err)
		}
		if !maps.Equal(read(t, dir, paths), got) {
			t.Error("a second run changed the files")
		}
	}
}

func TestPinWritesAllOrNothing(t *testing.T) {
	t.Parallel()
	transport := newRegistry(t)
	dir, paths := copyFiles(t)
	before := read(t, dir, paths)
	names := slices.Sorted(maps.Keys(all(before)))
	for _, image := range names[1:] {
		push(t, image, transport)
	}
	err := pin(t.Context(), dir, paths, transport)
	if err == nil || !strings.Contains(err.Error(), names[0]) {
		t.Errorf("got %v, want an error about %s", err, names[0])
	}
	if !maps.Equal(read(t, dir, paths), before) {
		t.Error("files were changed")
	}
}

// TestImages finds images that have neither a digest nor a line in the list, and lines without such an image.
func TestImages(t *testing.T) {
	t.Parallel()
	paths, err := files(t.Context(), root)
	if err != nil {
		t.Fatal(err)
	}
	texts := read(t, root, paths)
	without := map[string]bool{}
	for _, text := range texts {
		for image, digest := range images(text) {
			if digest == "" {
				without[image] = true
			}
		}
	}
	if got, want := slices.Sorted(maps.Keys(without)), listed(texts[unpinned]); !slices.Equal(got, want) {
		t.Errorf("without a digest are %v; %s lists %v", got, unpinned, want)
	}
	found := slices.Sorted(maps.Keys(all(texts)))
	for _, name := range []string{"docker.io/redis", "golang", "grafana/grafana", "mysql", "prom/prometheus", "redis"} {
		if !slices.ContainsFunc(found, func(image string) bool { return strings.HasPrefix(image, name+":") }) {
			t.Errorf("pin does not see the image %s", name)
		}
	}
}
