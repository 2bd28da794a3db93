//go:build browser

package certificate_test

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/certpurge/certpurge/internal/certificate"
	"github.com/certpurge/certpurge/internal/sandbox/browser"
	"github.com/certpurge/certpurge/internal/sandbox/sandboxtest"
)

// TestBrowserDownloadsTheDocument clicks on the file that the page holds, under the policy that servers send with it.
func TestBrowserDownloadsTheDocument(t *testing.T) {
	t.Parallel()
	c := made()
	page := htmlOf(t, c)
	want, err := c.Encode()
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Content-Security-Policy", certificate.ContentSecurityPolicy())
		_, _ = w.Write([]byte(page))
	}))
	t.Cleanup(server.Close)
	v, dir := browser.New(t, "", ""), t.TempDir()
	v.DownloadsTo(dir)
	v.Do("clicking", chromedp.Navigate(server.URL), chromedp.Click(chromedp.CSS("a[download]")))
	sandboxtest.Eventually(t, "the file is there", func() bool {
		got, err := os.ReadFile(filepath.Join(dir, c.FileName()))
		return err == nil && bytes.Equal(got, want)
	})
	v.Screenshot("certificate")
	for _, barrier := range v.Violations() {
		t.Errorf("axe-core: %s: %s: %q", barrier.ID, barrier.Help, barrier.Places)
	}
	v.Paper()
	text := browser.Ask(v, "reading", chromedp.Evaluate[string]("document.body.innerText"))
	links := browser.Ask(v, "counting the links that are shown",
		chromedp.Evaluate[int]("[...document.querySelectorAll('a')].filter(a => a.checkVisibility()).length"))
	if !strings.Contains(text, "The file erasure-42.json (") || links != 0 {
		t.Errorf("on paper: got %d links in %s", links, text)
	}
	for _, problem := range v.Problems() {
		if !strings.Contains(problem, "favicon") {
			t.Errorf("the console shows: %s", problem)
		}
	}
}
