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

// mariadbPackage is the package's name; older releases append the version of the server.
const mariadbPackage = "mariadb-server-core"

// unpackPackages downloads the two packages with all that they depend on and the machine lacks, unpacks them aside, and
// puts the finished tree into place.
func (in installer) unpackPackages(ctx context.Context) error {
	parent := filepath.Dir(in.unpacked)
	if err := os.MkdirAll(parent, 0o700); err != nil {
		return err
	}
	staging, err := os.MkdirTemp(parent, "unpacking-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(staging)

	debs, err := in.download(ctx, staging)
	if err != nil {
		return err
	}
	tree := filepath.Join(staging, "tree")
	for _, deb := range debs {
		if _, err := in.run(ctx, "dpkg", "--extract", deb, tree); err != nil {
			return err
		}
	}
	return in.put(tree)
}

// put makes tree the unpacked one. Another process may do the same at the same time; either tree will do.
func (in installer) put(tree string) error {
	if err := os.RemoveAll(in.unpacked); err != nil {
		return err
	}
	err := os.Rename(tree, in.unpacked)
	if _, found := in.programs(); found == nil {
		return nil
	}
	return err
}

// download returns the paths of the packages. The machine's own package lists are tried first; where there are none (a
// fresh container) or they have grown stale, lists of our own are fetched, which needs no root either.
func (in installer) download(ctx context.Context, staging string) ([]string, error) {
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
	machineErr := apt.download(ctx)
	if machineErr != nil {
		apt.options = append(apt.options, "-o", "Dir::State::lists="+lists)
		if err := apt.update(ctx); err != nil {
			return nil, errors.Join(machineErr, err)
		}
		if err := apt.download(ctx); err != nil {
			return nil, err
		}
	}
	return filepath.Glob(filepath.Join(archives, "*.deb"))
}

// apt calls apt's commands with the same options.
type apt struct {
	run     func(ctx context.Context, name string, args ...string) (string, error)
	options []string
}

func (a apt) update(ctx context.Context) error {
	_, err := a.run(ctx, "apt-get", append(slices.Clone(a.options), "-qq", "update")...)
	return err
}

// download fetches the packages and what they depend on. --download-only is what keeps the machine as it is.
func (a apt) download(ctx context.Context) error {
	core, err := a.mariadbPackage(ctx)
	if err != nil {
		return err
	}
	_, err = a.run(ctx, "apt-get", append(slices.Clone(a.options),
		"-qq", "--yes", "--download-only", "--no-install-recommends", "install", core, "redis-server")...)
	return err
}

// mariadbPackage is the plain name where there is one, else the newest with a version (Ubuntu 22.04:
// mariadb-server-core-10.6).
func (a apt) mariadbPackage(ctx context.Context) (string, error) {
	output, err := a.run(ctx, "apt-cache", append(slices.Clone(a.options), "pkgnames", mariadbPackage)...)
	if err != nil {
		return "", err
	}
	names := strings.Fields(output)
	switch {
	case slices.Contains(names, mariadbPackage):
		return mariadbPackage, nil
	case len(names) > 0:
		return slices.Max(names), nil
	}
	return "", fmt.Errorf("finding the package %s: no package list names it", mariadbPackage)
}
