package sandbox

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// The names of the packages; some releases append the version of the server.
const (
	mariadbPackage = "mariadb-server-core"
	mysqlPackage   = "mysql-server-core"
)

// unpackPackages downloads packages with all that they depend on and the machine lacks, unpacks them aside, and puts
// the finished tree into place.
func (in installer) unpackPackages(ctx context.Context, tree string, packages ...string) error {
	if err := os.MkdirAll(in.cache, 0o700); err != nil {
		return err
	}
	staging, err := os.MkdirTemp(in.cache, "unpacking-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(staging)

	debs, err := in.download(ctx, staging, packages)
	if err != nil {
		return err
	}
	unpacked := filepath.Join(staging, "tree")
	for _, deb := range debs {
		if _, err := in.run(ctx, "dpkg", "--extract", deb, unpacked); err != nil {
			return err
		}
	}
	return put(unpacked, filepath.Join(in.cache, tree))
}

// put makes unpacked the tree. Another process may do the same at the same time; either will do.
func put(unpacked, tree string) error {
	if err := os.RemoveAll(tree); err != nil {
		return err
	}
	if err := os.Rename(unpacked, tree); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	return nil
}

// download returns the paths of the packages. The machine's own package lists are tried first; where there are none (a
// fresh container) or they have grown stale, lists of our own are fetched, which needs no root either. What no list
// names, Debian's unstable may have; where the newest are wanted, it alone is asked.
func (in installer) download(ctx context.Context, staging string, packages []string) ([]string, error) {
	archives := filepath.Join(staging, "archives")
	lists := filepath.Join(staging, "lists")
	for _, dir := range []string{archives, lists} {
		// apt expects a directory for unfinished files.
		if err := os.MkdirAll(filepath.Join(dir, "partial"), 0o700); err != nil {
			return nil, err
		}
	}
	apt := apt{run: in.run, options: []string{
		"-o", "Dir::Cache=" + staging,
		"-o", "Dir::Cache::archives=" + archives,
		"-o", "Debug::NoLocking=1", // the locks guard what we do not touch, and only root may take them
		"-o", "APT::Sandbox::User=root", // as root, apt would download as a user who may not enter our directory
	}}
	err := errNoPackage
	if !in.newest {
		if err = apt.download(ctx, packages); err != nil {
			apt.options = append(apt.options, "-o", "Dir::State::lists="+lists)
			err = apt.updateAndDownload(ctx, err, packages)
		}
	}
	if errors.Is(err, errNoPackage) {
		unstable, sourceErr := apt.unstable(ctx, staging)
		if sourceErr != nil {
			return nil, errors.Join(err, sourceErr)
		}
		err = unstable.updateAndDownload(ctx, err, packages)
	}
	if err != nil {
		return nil, err
	}
	return filepath.Glob(filepath.Join(archives, "*.deb"))
}

// apt calls apt's commands with the same options.
type apt struct {
	run     func(ctx context.Context, name string, args ...string) (string, error)
	options []string
}

// updateAndDownload is download after fetching the lists. If there are none to be had, the error before counts too.
func (a apt) updateAndDownload(ctx context.Context, before error, packages []string) error {
	if _, err := a.run(ctx, "apt-get", append(slices.Clone(a.options), "-qq", "update")...); err != nil {
		return errors.Join(before, err)
	}
	return a.download(ctx, packages)
}

// download fetches the packages and what they depend on. --download-only is what keeps the machine as it is. The first
// package may have a version in its name.
func (a apt) download(ctx context.Context, packages []string) error {
	first, err := a.packageName(ctx, packages[0])
	if err != nil {
		return err
	}
	args := append(slices.Clone(a.options), "-qq", "--yes", "--download-only", "--no-install-recommends", "install", first)
	_, err = a.run(ctx, "apt-get", append(args, packages[1:]...)...)
	return err
}

var errNoPackage = errors.New("no package list names it")

// packageName is the plain name where there is one, else the newest with a version (Ubuntu 22.04:
// mariadb-server-core-10.6).
func (a apt) packageName(ctx context.Context, name string) (string, error) {
	output, err := a.run(ctx, "apt-cache", append(slices.Clone(a.options), "pkgnames", name)...)
	if err != nil {
		return "", err
	}
	names := strings.Fields(output)
	switch {
	case slices.Contains(names, name):
		return name, nil
	case len(names) > 0:
		return slices.Max(names), nil
	}
	return "", fmt.Errorf("finding the package %s: %w", name, errNoPackage)
}

// debianKeys sign the lists of all suites of Debian.
const debianKeys = "/usr/share/keyrings/debian-archive-keyring.gpg"

// unstable is apt for Debian's unstable on the mirror that the machine uses: for packages that no release has. Nothing
// of the machine counts as installed, because its C library is too old for them.
func (a apt) unstable(ctx context.Context, staging string) (apt, error) {
	output, err := a.run(ctx, "apt-get", append(slices.Clone(a.options), "indextargets",
		"--format", "$(REPO_URI) $(RELEASE)", "Created-By: Packages")...)
	if err != nil {
		return apt{}, err
	}
	mirror := ""
	for line := range strings.Lines(output) {
		uri, release, _ := strings.Cut(strings.TrimSpace(line), " ")
		if mirror == "" && !strings.HasSuffix(release, "-security") {
			mirror = uri
		}
	}
	if mirror == "" {
		return apt{}, errors.New("apt has no mirror to ask for Debian's unstable")
	}
	dir := filepath.Join(staging, "unstable")
	sources, installed, lists := filepath.Join(dir, "sources.list"), filepath.Join(dir, "status"),
		filepath.Join(dir, "lists")
	if err := errors.Join(
		os.MkdirAll(filepath.Join(lists, "partial"), 0o700),
		os.WriteFile(sources, fmt.Appendf(nil, "deb [signed-by=%s] %s unstable main\n", debianKeys, mirror), 0o600),
		os.WriteFile(installed, nil, 0o600),
	); err != nil {
		return apt{}, err
	}
	return apt{run: a.run, options: append(slices.Clone(a.options),
		"-o", "Dir::Etc::SourceList="+sources,
		"-o", "Dir::Etc::SourceParts=/dev/null",
		"-o", "Dir::Etc::PreferencesParts=/dev/null",
		"-o", "Dir::Etc::Preferences=/dev/null",
		"-o", "APT::Default-Release=",
		"-o", "Dir::State::lists="+lists,
		"-o", "Dir::State::status="+installed,
	)}, nil
}
