package sandbox

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Tree is a directory with unpacked packages.
type Tree struct{ Root string }

// Unpack does for other programs what Install does for the servers of StartServers: it unpacks packages, with all that
// they depend on and the machine lacks, into a directory below the user's cache directory, unless they are there.
func Unpack(ctx context.Context, out io.Writer, name string, packages ...string) (Tree, error) {
	locator, err := defaultLocator()
	if err != nil {
		return Tree{}, err
	}
	return installer{locator: locator, run: runCommand, out: out}.unpackTree(ctx, name, packages)
}

// UnpackNewest is Unpack with the packages of Debian's unstable and all that they depend on, even if the machine has
// them: the tree is a file system that needs nothing of the machine. The scripts of the packages do not run.
func UnpackNewest(ctx context.Context, out io.Writer, name string, packages ...string) (Tree, error) {
	locator, err := defaultLocator()
	if err != nil {
		return Tree{}, err
	}
	return installer{locator: locator, run: runCommand, out: out, newest: true}.unpackTree(ctx, name, packages)
}

func (in installer) unpackTree(ctx context.Context, name string, packages []string) (Tree, error) {
	if in.cache == "" {
		return Tree{}, errNoCache
	}
	root := filepath.Join(in.cache, name)
	if _, err := os.Stat(root); err == nil {
		return Tree{root}, nil
	}
	if err := in.canUnpack(); err != nil {
		return Tree{}, err
	}
	fmt.Fprintf(in.out, "unpacking private copies of %s into %s\n", strings.Join(packages, ", "), root)
	if err := in.unpackPackages(ctx, name, packages...); err != nil {
		return Tree{}, err
	}
	return Tree{root}, nil
}

// Command runs a program of the tree with the libraries of the tree. The program is a path.
func (t Tree) Command(program string, args ...string) *exec.Cmd {
	return t.program(program).command(args...)
}

func (t Tree) program(path string) program {
	return program{
		path:      path,
		libraries: libraries(t.Root, ""),
		loader:    strings.Join(libraries(t.Root, "ld-linux*.so.*"), ""),
		base:      filepath.Join(t.Root, "usr"),
	}
}
