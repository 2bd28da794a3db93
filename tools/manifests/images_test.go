package manifests_test

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	ownImage = regexp.MustCompile(`(^|/)certpurge(-demo)?[:@]`)
	pinned   = regexp.MustCompile(`:[\w.-]+@sha256:[0-9a-f]{64}$`)
)

// checkImage makes sure that `make pin` knows the image: it has a digest, or is listed as having none yet. Our own is
// built, and pinned, by the operator.
func checkImage(t *testing.T, name, image string) {
	t.Helper()
	if ownImage.MatchString(image) || pinned.MatchString(image) {
		return
	}
	list, err := os.ReadFile(root + "/.ci/unpinned-images")
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(strings.Split(string(list), "\n"), image) {
		t.Errorf("%s: the image %q has no digest; run make pin, or list it in .ci/unpinned-images", name, image)
	}
}
