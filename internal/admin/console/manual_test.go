package console_test

import (
	"io/fs"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/certpurge/certpurge/docs"
)

// TestManualIsServed reads every page, and follows every link that stays in the manual.
func TestManualIsServed(t *testing.T) {
	t.Parallel()
	pages := busy().open(t, "/ops")
	links := regexp.MustCompile(`<a href="([^"]*)"`)
	bodies, wanted := map[string]string{}, map[string]string{}
	err := fs.WalkDir(docs.Pages, ".", func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		path := "/docs/" + strings.TrimSuffix(strings.TrimSuffix(file, ".md"), "README")
		status, body := get(t, pages, path)
		if status != http.StatusOK || !strings.Contains(body, "<h1") || strings.Contains(body, "<title> –") {
			t.Errorf("%s: got %d", path, status)
		}
		bodies["/ops"+path] = body
		article := body[strings.Index(body, "<article"):strings.Index(body, "</article>")]
		for _, match := range links.FindAllStringSubmatch(article, -1) {
			switch link := match[1]; {
			case strings.HasPrefix(link, "#"):
				wanted["/ops"+path+link] = file
			case strings.HasPrefix(link, "/ops/docs/"):
				wanted[link] = file
			case !strings.Contains(link, "://"):
				t.Errorf("%s links to %s", file, link)
			case strings.Contains(link, "/blob/main/docs/") && strings.HasSuffix(link, ".md") && !strings.Contains(link, "/decisions/"):
				t.Errorf("%s leaves the manual for %s", file, link)
			}
		}
		return nil
	})
	if err != nil || len(bodies) < 40 {
		t.Fatalf("got %d pages, %v", len(bodies), err)
	}
	for link, file := range wanted {
		path, fragment, _ := strings.Cut(link, "#")
		body, ok := bodies[path]
		if !ok || fragment != "" && !strings.Contains(body, `id="`+fragment+`"`) {
			t.Errorf("%s links to %s, which is not there", file, link)
		}
	}
	for _, nowhere := range []string{"/docs/operations/nothing", "/docs/docs.go", "/docs/..%2fgo", "/docs/operations"} {
		if status, _ := get(t, pages, nowhere); status != http.StatusNotFound {
			t.Errorf("%s: got %d", nowhere, status)
		}
	}
}
