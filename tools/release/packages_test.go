package release_test

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/blakesmith/ar"
	"github.com/sassoftware/go-rpmutils"
)

// packaged is what a deb or an rpm of the small repository must install.
var packaged = []string{
	"/etc/certpurge/enqueuer.yaml", "/etc/certpurge/worker.yaml",
	"/usr/bin/certpurge-enqueuer", "/usr/bin/certpurge-worker",
	"/usr/lib/systemd/system/certpurge-worker.service",
	"/usr/share/bash-completion/completions/certpurge-enqueuer",
	"/usr/share/bash-completion/completions/certpurge-worker",
	"/usr/share/doc/certpurge/CHANGELOG.md", "/usr/share/doc/certpurge/CONTRIBUTING.md",
	"/usr/share/doc/certpurge/LICENSE", "/usr/share/doc/certpurge/README.md", "/usr/share/doc/certpurge/SECURITY.md",
	"/usr/share/doc/certpurge/configs/enqueuer.yaml",
	"/usr/share/doc/certpurge/configs/systemd/certpurge-worker.service",
	"/usr/share/doc/certpurge/configs/worker.yaml", "/usr/share/doc/certpurge/docs/README.md",
	"/usr/share/man/man1/certpurge-enqueuer.1", "/usr/share/man/man1/certpurge-worker.1",
}

// commit is the time of the small repository's commit.
var commit = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// isPackaged compares the files of a package, with their modes and times, with those that must be there.
func isPackaged(t *testing.T, files map[string]int64, times []time.Time) {
	t.Helper()
	var names []string
	for name, mode := range files {
		names = append(names, name)
		want := int64(0o644)
		if strings.HasPrefix(name, "/usr/bin/") {
			want = 0o755
		}
		if mode&0o7777 != want {
			t.Errorf("%s has mode %o, want %o", name, mode&0o7777, want)
		}
	}
	if slices.Sort(names); !slices.Equal(names, packaged) {
		t.Errorf("got the files\n%s\nwant\n%s", strings.Join(names, "\n"), strings.Join(packaged, "\n"))
	}
	if slices.ContainsFunc(times, func(at time.Time) bool { return !at.Equal(commit) }) {
		t.Errorf("got the times %v, want that of the commit", times)
	}
}

func isDeb(t *testing.T, path string) {
	t.Helper()
	f, err := os.Open(path) //nolint:gosec // made by this test
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	control, installed, times := map[string]string{}, map[string]int64{}, []time.Time(nil)
	for members := ar.NewReader(f); ; {
		member, err := members.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasSuffix(member.Name, ".tar.gz") {
			continue
		}
		unzipped, err := gzip.NewReader(members)
		if err != nil {
			t.Fatal(err)
		}
		for entries := tar.NewReader(unzipped); ; {
			entry, err := entries.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			text, err := io.ReadAll(entries)
			if err != nil {
				t.Fatal(err)
			}
			times = append(times, entry.ModTime)
			switch name := strings.TrimPrefix(entry.Name, "."); {
			case strings.HasPrefix(member.Name, "control"):
				control[strings.TrimPrefix(name, "/")] = string(text)
			case entry.Typeflag == tar.TypeReg:
				installed[name] = entry.Mode
			}
		}
	}
	isPackaged(t, installed, times)
	if got, want := control["conffiles"], strings.Join(packaged[:2], "\n")+"\n"; got != want {
		t.Errorf("got the configuration files %q, want %q", got, want)
	}
	for _, line := range []string{"Package: certpurge\n", "Version: 1.2.3\n", "Architecture: amd64\n"} {
		if !strings.Contains(control["control"], line) {
			t.Errorf("no %q in\n%s", line, control["control"])
		}
	}
	if strings.Contains(control["postinst"], "start") || !strings.Contains(control["prerm"], "disable --now") {
		t.Errorf("got the scripts\n%s\n%s", control["postinst"], control["prerm"])
	}
}

func isRPM(t *testing.T, path string) {
	t.Helper()
	f, err := os.Open(path) //nolint:gosec // made by this test
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	p, err := rpmutils.ReadRpm(f)
	if err != nil {
		t.Fatal(err)
	}
	nevra, err := p.Header.GetNEVRA()
	if err != nil || nevra.String() != "certpurge-0:1.2.3-1.x86_64.rpm" {
		t.Errorf("got %v, %v", nevra, err)
	}
	infos, err := p.Header.GetFiles()
	if err != nil {
		t.Fatal(err)
	}
	installed, times, kept := map[string]int64{}, []time.Time(nil), []string(nil)
	for _, info := range infos {
		times = append(times, time.Unix(int64(info.Mtime()), 0))
		if info.Mode()&0o170000 == 0o100000 {
			installed[info.Name()] = int64(info.Mode())
		}
		if info.Flags()&rpmutils.RPMFILE_CONFIG != 0 && info.Flags()&rpmutils.RPMFILE_NOREPLACE != 0 {
			kept = append(kept, info.Name())
		}
	}
	isPackaged(t, installed, times)
	if slices.Sort(kept); !slices.Equal(kept, packaged[:2]) {
		t.Errorf("got the configuration files %v", kept)
	}
}
