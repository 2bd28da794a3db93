package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"text/template"

	"github.com/certpurge/certpurge/internal/cli"
)

// configFile is the site's configuration as a file, for commands.
var configFile = template.Must(template.New("").Parse(`
lms: {database: {{.LMS.Database}}}
locations:
{{- range .Locations}}
  - name: {{.Name}}
    bucket: {{.Bucket}}
    object_prefix: {{printf "%q" .ObjectPrefix}}
    downloads_dir: {{.DownloadsDir}}
    verify_dir: {{.VerifyDir}}
    signed: {{.Signed}}
    allow_empty: {{printf "%q" .AllowEmpty}}
{{- end}}
gcs:
  endpoint: {{.GCS.Endpoint}}
  anonymous: true
  allow_emulator: true
  accept_soft_delete: {{.GCS.AcceptSoftDelete}}
  max_tries: {{.GCS.MaxTries}}
admin: {listen: "127.0.0.1:0"}
`))

// command executes a command line of the worker against the site, under the worker's account.
func (s *site) command(args ...string) (code int, out, errOut string) {
	s.t.Helper()
	var text, stdout, stderr bytes.Buffer
	must(s.t, configFile.Execute(&text, s.cfg))
	file := filepath.Join(s.t.TempDir(), "worker.yaml")
	must(s.t, os.WriteFile(file, text.Bytes(), 0o600))
	environ := []string{"CERTPURGE_MYSQL_DSN=" + s.cfg.MySQL.DSN.Reveal(), "CERTPURGE_REDIS_URL=" + s.cfg.Redis.URL.Reveal()}
	code = cli.Execute(s.t.Context(), newCommand, cli.Streams{Out: &stdout, Err: &stderr, Environ: environ}, append([]string{"--config", file}, args...))
	return code, stdout.String(), stderr.String()
}

func TestCommandsRefuseBadInput(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	user, other := s.addUser(), s.addUser()
	_, _ = user, other
	for _, tc := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"plan"}, cli.ExitUsage, "expected ids of users"},
		{[]string{"plan", "learner1"}, cli.ExitUsage, "is not a user id"},
		{[]string{"plan", "999999"}, cli.ExitUsage, "the LMS has no user 999999"},
		{[]string{"plan", "--certificate", "999999"}, cli.ExitUsage, "the LMS does not have it"},
		{[]string{"inventory", "--list", "ghost"}, cli.ExitUsage, "expected one of live, due"},
		{[]string{"inventory", "--min-age", "-1h"}, cli.ExitUsage, "--min-age"},
		{[]string{"inventory", "--checkpoint", "commands_test.go"}, cli.ExitUsage, "was not written by this command"},
	} {
		if code, out, said := s.command(tc.args...); code != tc.code || !bytes.Contains([]byte(said), []byte(tc.says)) {
			t.Errorf("%v: got exit code %d, %q and %q; want %d and %q", tc.args, code, out, said, tc.code, tc.says)
		}
	}
}
