// Pin writes the digest of every image that Dockerfile, compose files and manifests name beside its tag: name:tag
// becomes name:tag@sha256:…, and an older digest is replaced by the one that the tag has today. It asks the registries,
// with the logins of docker. If one image cannot be looked up, nothing is written.
//
//	pin REPOSITORY
package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// unpinned lists the images that have no digest yet; lines of # are comments.
const unpinned = ".ci/unpinned-images"

// reference matches an image: what stands before it, name:tag, and the digest. Our own image has no tag in these files,
// or a variable in its place.
var reference = regexp.MustCompile(
	`(?m)(^ *image: |^FROM (?:--platform=\S+ )?|"REDIS_DOCKER_IMAGE": "|` +
		`^\| .CERTPURGE_REDIS_DOCKER_IMAGE. \| .)` +
		`([\w./-]+:[\w.-]+)(@sha256:[0-9a-f]{64})?`)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "pin:", err)
		os.Exit(1)
	}
}

func run() error {
	if len(os.Args) != 2 {
		return errors.New("want the directory of the repository")
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	paths, err := files(ctx, os.Args[1])
	if err != nil {
		return err
	}
	return pin(ctx, os.Args[1], paths, remote.WithAuthFromKeychain(authn.DefaultKeychain))
}

// files are those of the repository that may name images.
func files(ctx context.Context, root string) ([]string, error) {
	command := exec.CommandContext(ctx, "git", "-C", root, "ls-files", "--", //nolint:gosec // root is ours
		"Dockerfile", "*.yml", "*.yaml", "configs/tutor/README.md", "configs/tutor/tutorcertpurge")
	output, err := command.Output()
	return strings.Fields(string(output)), err
}

// images are the images that a text names, with their digests, if they have one.
func images(text string) map[string]string {
	found := map[string]string{}
	for _, match := range reference.FindAllStringSubmatch(text, -1) {
		found[match[2]] = match[3]
	}
	return found
}

func pin(ctx context.Context, root string, paths []string, options ...remote.Option) error {
	texts, digests := map[string]string{}, map[string]string{}
	for _, path := range paths {
		text, err := os.ReadFile(filepath.Join(root, path)) //nolint:gosec // a file of the repository
		if err != nil {
			return err
		}
		texts[path] = string(text)
		maps.Copy(digests, images(string(text)))
	}
	options = append(options, remote.WithContext(ctx))
	var problems []error
	for _, image := range slices.Sorted(maps.Keys(digests)) {
		tag, err := name.NewTag(image)
		if err != nil {
			return err
		}
		descriptor, err := remote.Get(tag, options...)
		if err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", image, err))
			continue
		}
		digests[image] = "@" + descriptor.Digest.String()
		fmt.Println(image + digests[image])
	}
	if err := errors.Join(problems...); err != nil {
		return err
	}
	for path, text := range texts {
		pinned := reference.ReplaceAllStringFunc(text, func(match string) string {
			parts := reference.FindStringSubmatch(match)
			return parts[1] + parts[2] + digests[parts[2]]
		})
		if err := replace(filepath.Join(root, path), text, pinned); err != nil {
			return err
		}
	}
	return clearList(filepath.Join(root, unpinned))
}

// clearList leaves the comments of the list of unpinned images.
func clearList(path string) error {
	text, err := os.ReadFile(path) //nolint:gosec // a file of the repository
	if err != nil {
		return err
	}
	var comments strings.Builder
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "#") {
			comments.WriteString(line)
		}
	}
	return replace(path, string(text), comments.String())
}

func replace(path, before, after string) error {
	if before == after {
		return nil
	}
	return os.WriteFile(path, []byte(after), 0o644) //nolint:gosec // a file of the repository, which keeps its mode
}
