package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/certpurge/certpurge/internal/cli"
	"github.com/certpurge/certpurge/internal/config"
	"github.com/certpurge/certpurge/internal/gcs/gcstest"
	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/sandbox/sandboxtest"
)

// check runs worker check and returns its lines.
func (s *site) check() (code int, lines []line) {
	s.t.Helper()
	code, out, errs := s.command("check", "-o", "json")
	if err := json.Unmarshal([]byte(out), &lines); err != nil {
		s.t.Fatalf("%v: %s%s", err, out, errs)
	}
	return code, lines
}

func TestCheckOfASiteThatIsReady(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.addUser()
	code, lines := s.check()
	if code != cli.ExitOK {
		t.Fatalf("got exit code %d: %+v", code, lines)
	}
	var names []string
	for _, l := range lines {
		names = append(names, l.Check)
		if l.State != lineOK && l.Check != "Redis settings" { // CI's own may have another policy
			t.Errorf("got %+v", l)
		}
	}
	want := []string{
		"configuration", "MySQL", "ledger version", "ledger writes", "LMS tables", "clearing links", "clearing history",
		"evidence", "rights", "MySQL clock", "owners", "Redis", "Redis settings", "credentials", "bucket certs",
		"Storage clock", "location main", "links",
	}
	if !slices.Equal(names, want) {
		t.Errorf("got %q\nwant %q", names, want)
	}
	for name, text := range map[string]string{
		"MySQL": s.accounts.Worker.Name + "@", "owners": "the first worker reads all certificates once",
		"credentials": "gcs.anonymous", "bucket certs": "nothing deleted can be restored",
		"links": "main: PDF 2/2, verification 2/2", "Storage clock": "agrees",
	} {
		i := slices.IndexFunc(lines, func(l line) bool { return l.Check == name })
		if i < 0 || !strings.Contains(lines[i].Text, text) {
			t.Errorf("%s: got %+v, want %q", name, lines[i], text)
		}
	}
	for _, table := range []string{"owner_walks", "requests", "evidence_documents", "directory_owners"} {
		var n int
		if err := s.db.Root.QueryRowContext(t.Context(),
			"SELECT COUNT(*) FROM "+s.db.Ledger+"."+table).Scan(&n); err != nil || n != 0 {
			t.Errorf("%s: got %d rows, %v", table, n, err)
		}
	}
}

// TestCheckAndWorkerAgree: what worker check calls wrong ends a worker at its start, for the same reason, or makes it
// wait.
func TestCheckAndWorkerAgree(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		change func(s *site)
		code   int
		check  string // that fails first
		next   string
		after  string // a later check that is skipped
	}{
		"a wrong password": {
			change: func(s *site) {
				s.cfg.MySQL.DSN = config.NewSecret(strings.Replace(s.cfg.MySQL.DSN.Reveal(), s.accounts.Worker.Password, "wrong",
					1))
			}, code: cli.ExitConfiguration, check: "MySQL", next: "grants.sql", after: "ledger version",
		},
		"an old ledger": {
			change: func(s *site) {
				s.db.Exec(s.t, "DELETE FROM "+s.db.Ledger+".goose_db_version WHERE version_id > 1")
			}, code: cli.ExitConfiguration, check: "ledger version", next: "enqueuer migrate", after: "links",
		},
		"a right that is missing": {
			change: func(s *site) {
				s.db.Exec(s.t, "REVOKE UPDATE (download_uuid, download_url) ON "+s.db.LMS+
					".certificates_generatedcertificate FROM '"+
					s.accounts.Worker.Name+"'@'%'")
			}, code: cli.ExitConfiguration, check: "clearing links", next: "grants.sql",
		},
		"no MySQL": {
			change: func(s *site) { s.cfg.MySQL.DSN = config.NewSecret("u:p@tcp(127.0.0.1:1)/certpurge") },
			code:   cli.ExitUnavailable,
			check:  "MySQL", next: "mysql -h",
		},
		"no Redis": {
			change: func(s *site) { s.cfg.Redis.URL = config.NewSecret("redis://127.0.0.1:1/0") }, code: cli.ExitUnavailable,
			check: "Redis",
			next:  "redis-cli",
		},
		"no bucket": {
			change: func(s *site) { s.bucket.DeleteBucket("certs") }, code: cli.ExitConfiguration, check: "bucket certs",
			next: "gcloud storage buckets describe gs://certs", after: "location main",
		},
		"a permission that is missing": {
			change: func(s *site) { s.bucket.Deny("certs", "storage.objects.delete") }, code: cli.ExitConfiguration,
			check: "bucket certs",
			next:  "gcloud storage buckets add-iam-policy-binding gs://certs",
		},
		"soft delete": {
			change: func(s *site) {
				if err := s.bucket.UpdateBucket("certs",
					func(c *gcstest.BucketConfig) { c.SoftDelete = 7 * 24 * time.Hour }); err != nil {
					s.t.Fatal(err)
				}
			}, code: cli.ExitConfiguration, check: "bucket certs", next: "gcloud storage buckets update gs://certs " +
				"--clear-soft-delete",
		},
		"an empty location": {
			change: func(s *site) { s.cfg.Locations[0].VerifyDir = "certs" }, code: cli.ExitConfiguration,
			check: "location main",
			next:  " locations",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			s.cfg.Locations[0].AllowEmpty = "false"
			s.addUser()
			tc.change(s)
			code, lines := s.check()
			i := slices.IndexFunc(lines, func(l line) bool { return l.State == lineWrong })
			if code != tc.code || i < 0 || lines[i].Check != tc.check || !strings.Contains(lines[i].Next, tc.next) {
				t.Fatalf("got exit code %d: %+v, want %d, and %s wrong first", code, lines, tc.code, tc.check)
			}
			if after := slices.IndexFunc(lines, func(l line) bool { return l.Check == tc.after }); tc.after != "" &&
				lines[after].State != lineSkipped {
				t.Errorf("got %+v, want it skipped", lines[after])
			}
			worker := s.start()
			if tc.code == cli.ExitUnavailable {
				sandboxtest.Eventually(t, "the worker waits", func() bool {
					return strings.Contains(worker.log.String(), "worker paused")
				})
				return
			}
			sandboxtest.Eventually(t, "the worker ends", func() bool {
				return strings.Contains(worker.log.String(),
					"listening")
			})
			err := worker.ended()
			if purge.ClassOf(err) != purge.Misconfigured || !strings.Contains(lines[i].Text, err.Error()) {
				t.Errorf("the worker ends with %v, and worker check says %q", err, lines[i].Text)
			}
		})
	}
}

func TestCheckOfAConfigurationThatIsWrong(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.addUser()
	s.cfg.Locations = nil
	code, lines := s.check()
	if code != cli.ExitConfiguration || lines[0].State != lineWrong ||
		!strings.HasPrefix(lines[0].Next, "worker locations --suggest") {
		t.Errorf("without locations: got exit code %d, %+v", code, lines)
	}
	if len(lines) < 10 || lines[1].Check != "MySQL" || lines[1].State != lineOK {
		t.Errorf("without locations: got %+v, want the rest checked", lines)
	}
	file := filepath.Join(t.TempDir(), "worker.yaml")
	if err := os.WriteFile(file, []byte("locatoins: []\ngcs: {max_tries: 0}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	code, out, errs := s.command("--config", file, "check")
	if code != cli.ExitConfiguration || strings.Count(out, "wrong ") != 3 || !strings.Contains(out, "locatoins") {
		t.Errorf("got exit code %d: %s%s", code, out, errs)
	}
}

// TestCommandsToTypeNextExist reads them where they are written.
func TestCommandsToTypeNextExist(t *testing.T) {
	t.Parallel()
	page := []string{"```"}
	for _, l := range configurationLines(&config.Error{Problems: []string{"locations: must have at least 1 entry", "x"}}) {
		page = append(page, strings.Split(l.Next, ",")[0])
	}
	s := newSite(t)
	for _, check := range (&checker{cfg: s.cfg, store: s.store}).all() {
		if check.next != nil && check.group == groupLocations {
			page = append(page, check.next(nil))
		}
	}
	file := filepath.Join(t.TempDir(), "page.md")
	if err := os.WriteFile(file, []byte(strings.Join(append(page, "```", ""), "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	build := func() *cobra.Command { return newCommand(cli.Streams{}) }
	if found := sandboxtest.CheckCommands(t, build, file); found != 3 {
		t.Errorf("got %d commands in %s", found, page)
	}
}

func TestTextsAreFoldedBetweenWords(t *testing.T) {
	t.Parallel()
	text := strings.Repeat("word ", 20) + "\n" + strings.Repeat("x", 60)
	for _, line := range cli.Fold(text, 40) {
		if len(line) > 40 && strings.Contains(line, " ") {
			t.Errorf("got %q", line)
		}
	}
	if got := cli.Fold(text, 0); len(got) != 2 {
		t.Errorf("in a pipe: got %q, want the text's own lines", got)
	}
}
