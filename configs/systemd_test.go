package configs_test

import (
	"bufio"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/certpurge/certpurge/internal/cli"
	"github.com/certpurge/certpurge/internal/config"
)

// TestSystemdUnits reads the units as systemd does (keys in sections) and checks what they say of our programs. The
// programs have no path, so that systemd finds them in /usr/local/bin and, from a package, in /usr/bin.
func TestSystemdUnits(t *testing.T) {
	t.Parallel()
	documented, err := os.ReadFile("../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	drains := map[string]time.Duration{
		"worker": config.DefaultWorker().Queue.DrainTimeout, "serve": config.DefaultEnqueuer().Serve.DrainTimeout, "watch": 0,
	}
	for name, drain := range drains {
		unit := readUnit(t, filepath.Join("systemd", "certpurge-"+name+".service"))
		program := "enqueuer " + name
		if name == "worker" {
			program = "worker"
		}
		if got := unit["Service.ExecStart"]; !slices.Equal(got, []string{"certpurge-" + program}) {
			t.Errorf("%s: it starts %v", name, got)
		}
		for _, line := range unit["Service.Environment"] {
			for pair := range strings.FieldsSeq(line) {
				key, value, _ := strings.Cut(pair, "=")
				if key != "CERTPURGE_CONFIG" && !strings.Contains(string(documented), "`"+key+"`") {
					t.Errorf("%s: there is no variable %s", name, key)
				}
				if file, secret := strings.CutPrefix(value, "%d/"); secret &&
					!slices.ContainsFunc(unit["Service.LoadCredential"], func(c string) bool {
						return strings.HasPrefix(c, file+":")
					}) {
					t.Errorf("%s: %s is no credential of the unit", name, file)
				}
			}
		}
		if got := unit["Service.RestartPreventExitStatus"]; !slices.Equal(got,
			[]string{strconv.Itoa(cli.ExitConfiguration)}) {
			t.Errorf("%s: it is started again but for exit codes %v", name, got)
		}
		patience, err := time.ParseDuration(unit["Service.TimeoutStopSec"][0])
		if err != nil || patience <= drain {
			t.Errorf("%s: it is killed after %v, %v; it may drain for %v", name, patience, err, drain)
		}
		for _, key := range []string{
			"NoNewPrivileges=yes", "ProtectSystem=strict", "User=certpurge",
			"CapabilityBoundingSet=",
		} {
			key, value, _ := strings.Cut(key, "=")
			if got := unit["Service."+key]; !slices.Equal(got, []string{value}) {
				t.Errorf("%s: got %s=%v, want %q", name, key, got, value)
			}
		}
	}
}

// readUnit returns the values of each key, as Section.Key.
func readUnit(t *testing.T, file string) map[string][]string {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	unit, section := map[string][]string{}, ""
	for lines := bufio.NewScanner(f); lines.Scan(); {
		line := strings.TrimSpace(lines.Text())
		switch key, value, found := strings.Cut(line, "="); {
		case line == "" || line[0] == '#':
		case line[0] == '[':
			section = strings.Trim(line, "[]")
		case !found:
			t.Errorf("%s: %q is no key and value", file, line)
		default:
			unit[section+"."+key] = append(unit[section+"."+key], value)
		}
	}
	return unit
}
