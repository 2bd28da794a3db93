package dataset_test

import (
	"bytes"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/certpurge/certpurge/internal/sandbox/demo/dataset"
)

// read gets an object from the emulator.
func (s stored) read(t *testing.T, bucket, name string) (content []byte, contentType string) {
	t.Helper()
	target := s.base + "b/" + bucket + "/o/" + url.PathEscape(name) + "?alt=media"
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, target, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	content, err = io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK {
		t.Fatalf("reading %s: got %s, %v", name, answer.Status, err)
	}
	return content, answer.Header.Get("Content-Type")
}

func TestFilesAreWhatTheirNamesSay(t *testing.T) {
	t.Parallel()
	s := store(t, dataset.New(1, 3))
	checks := map[string]func(t *testing.T, content []byte){
		"/Certificate.pdf": checkPDF,
		"/Certificate.pdf.sig": func(t *testing.T, content []byte) {
			t.Helper()
			if !bytes.HasPrefix(content, []byte("-----BEGIN PGP SIGNATURE-----\n")) ||
				!bytes.HasSuffix(content, []byte("\n-----END PGP SIGNATURE-----\n")) {
				t.Errorf("got no armor:\n%s", content)
			}
		},
		"/valid.html":  checkHTML,
		"/verify.html": checkHTML,
	}
	types := map[string]string{".pdf": "application/pdf", ".sig": "application/octet-stream", "html": "text/html"}
	id := regexp.MustCompile(`^(downloads|cert)/[0-9a-f]{32}(/[^/]+)$`)
	seen := map[string]int{}
	bucket := dataset.Buckets()[0]
	for g := range s.want.Erased {
		match := id.FindStringSubmatch(g.Name)
		if g.Bucket != bucket || match == nil || checks[match[2]] == nil || seen[match[2]] > 20 {
			continue
		}
		seen[match[2]]++
		content, contentType := s.read(t, bucket, g.Name)
		checks[match[2]](t, content)
		if want := types[g.Name[len(g.Name)-4:]]; contentType != want {
			t.Errorf("%s: got type %q, want %q", match[2], contentType, want)
		}
		if len(content) > 4<<10 {
			t.Errorf("%s: got %d bytes, want a small file", match[2], len(content))
		}
	}
	if len(seen) != len(checks) {
		t.Errorf("got files %v, want all of the four", seen)
	}
}

// checkPDF follows the cross-reference table, as a reader does.
func checkPDF(t *testing.T, content []byte) {
	t.Helper()
	text := string(content)
	tail := regexp.MustCompile(`startxref\n(\d+)\n%%EOF\n$`).FindStringSubmatch(text)
	if !strings.HasPrefix(text, "%PDF-1.4\n") || tail == nil {
		t.Fatalf("got no PDF:\n%s", text)
	}
	start, err := strconv.Atoi(tail[1])
	if err != nil || !strings.HasPrefix(text[start:], "xref\n0 6\n") {
		t.Fatalf("startxref %s does not lead to the table", tail[1])
	}
	entries := strings.SplitN(text[start+len("xref\n0 6\n"):], "\n", 7)
	for i, entry := range entries[1:6] {
		at, err := strconv.Atoi(entry[:10])
		if err != nil || len(entry) != 19 || !strings.HasPrefix(text[at:], strconv.Itoa(i+1)+" 0 obj\n") {
			t.Errorf("entry %d, %q, does not lead to its object", i+1, entry)
		}
	}
	stream := regexp.MustCompile(`(?s)/Length (\d+) >>\nstream\n(.*)endstream`).FindStringSubmatch(text)
	if stream == nil || strconv.Itoa(len(stream[2])) != stream[1] {
		t.Error("the page is not as long as it says")
	}
}

func checkHTML(t *testing.T, content []byte) {
	t.Helper()
	text := string(content)
	if !strings.HasPrefix(text, "<!DOCTYPE html>\n") || strings.Contains(text, "%!") || strings.Contains(text, " & ") {
		t.Errorf("got no page:\n%s", text)
	}
}
