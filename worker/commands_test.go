package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/certpurge/certpurge/internal/cli"
	"github.com/certpurge/certpurge/internal/config"
)

// environ is the environment of a command that uses the site's servers.
func (s *site) environ() []string {
	return []string{
		"CERTPURGE_MYSQL_DSN=" + s.cfg.MySQL.DSN.Reveal(), "CERTPURGE_LMS_DATABASE=" + s.db.LMS,
		"CERTPURGE_REDIS_URL=" + s.cfg.Redis.URL.Reveal(), "CERTPURGE_GCS_ENDPOINT=" + s.cfg.GCS.Endpoint,
		"CERTPURGE_GCS_ANONYMOUS=true", "CERTPURGE_GCS_ALLOW_EMULATOR=true",
	}
}

// command runs a command of the worker with a file of the site's locations, if it has any.
func (s *site) command(args ...string) (code int, out, errs string) {
	s.t.Helper()
	if len(s.cfg.Locations) > 0 {
		args = append([]string{"--config", s.writeConfig()}, args...)
	}
	var stdout, stderr bytes.Buffer
	code = cli.Execute(s.t.Context(), newCommand, cli.Streams{Out: &stdout, Err: &stderr, Environ: s.environ()}, args)
	return code, stdout.String(), stderr.String()
}

// writeConfig writes the site's configuration without its secrets, which are in the environment.
func (s *site) writeConfig() (file string) {
	s.t.Helper()
	cfg := s.cfg
	cfg.Queue.RetryBase = time.Second // the tests' own is none that a file may have
	cfg.MySQL.DSN, cfg.Redis.URL = config.Secret{}, config.Secret{}
	var text bytes.Buffer
	if err := config.Print(&text, cfg); err != nil {
		s.t.Fatal(err)
	}
	file = filepath.Join(s.t.TempDir(), "worker.yaml")
	if err := os.WriteFile(file, text.Bytes(), 0o600); err != nil {
		s.t.Fatal(err)
	}
	return file
}

func TestCommandsRefuseBadInput(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	user, other := s.addUser(), s.addUser()
	owned, err := s.store.User(t.Context(), other)
	must(t, err)
	foreign := strconv.Itoa(int(owned.References[0].CertificateID))
	for _, tc := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"plan"}, cli.ExitUsage, "expected ids of users"},
		{[]string{"plan", "learner1"}, cli.ExitUsage, "is not a user id"},
		{[]string{"plan", "999999"}, cli.ExitUsage, "the LMS has no user 999999"},
		{[]string{"plan", "--certificate", "999999"}, cli.ExitUsage, "the LMS does not have it"},
		{
			[]string{"plan", strconv.Itoa(int(user)), "--certificate", foreign},
			cli.ExitUsage,
			fmt.Sprintf("belongs to user %d, not to user %d", other, user),
		},
		{
			[]string{"plan", strconv.Itoa(int(user)), strconv.Itoa(int(other)), "--certificate", foreign},
			cli.ExitUsage,
			"expected one user",
		},
		{[]string{"inventory", "--list", "ghost"}, cli.ExitUsage, "expected one of live, due"},
		{[]string{"inventory", "--min-age", "-1h"}, cli.ExitUsage, "--min-age"},
		{[]string{"inventory", "--checkpoint", "commands_test.go"}, cli.ExitUsage, "was not written by this command"},
	} {
		if code, out, said := s.command(tc.args...); code != tc.code || !bytes.Contains([]byte(said), []byte(tc.says)) {
			t.Errorf("%v: got exit code %d, %q and %q; want %d and %q", tc.args, code, out, said, tc.code, tc.says)
		}
	}
}
