package sandboxtest

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#+ (.+)$`)
	// dropped is what the anchor of a heading does not have.
	dropped = regexp.MustCompile(`[^\p{L}\p{N} _-]`)
)

// CheckLinks looks into pages for links to files and headings of this repository, and fails the test for each that
// leads nowhere. It returns how many there were. What is outside of the repository is not asked.
func CheckLinks(tb testing.TB, files ...string) (found int) {
	tb.Helper()
	for _, file := range files {
		for _, match := range link.FindAllStringSubmatch(fence.ReplaceAllString(read(tb, file), ""), -1) {
			target, anchor, _ := strings.Cut(match[1], "#")
			if strings.Contains(target, "://") || strings.HasPrefix(target, "mailto:") {
				continue
			}
			found++
			path := file
			if target != "" {
				path = filepath.Join(filepath.Dir(file), target)
			}
			if _, err := os.Stat(path); err != nil {
				tb.Errorf("%s: %s leads nowhere", file, match[1])
				continue
			}
			if anchor != "" && !hasAnchor(read(tb, path), anchor) {
				tb.Errorf("%s: %s: no such heading", file, match[1])
			}
		}
	}
	return found
}

func read(tb testing.TB, file string) string {
	tb.Helper()
	text, err := os.ReadFile(file) //nolint:gosec // pages of the project
	if err != nil {
		tb.Fatal(err)
	}
	return string(text)
}

// hasAnchor forms the anchors of headings as GitHub does.
func hasAnchor(page, anchor string) bool {
	for _, match := range heading.FindAllStringSubmatch(fence.ReplaceAllString(page, ""), -1) {
		if strings.ReplaceAll(dropped.ReplaceAllString(strings.ToLower(match[1]), ""), " ", "-") == anchor {
			return true
		}
	}
	return false
}
