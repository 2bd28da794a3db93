package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/certpurge/certpurge/internal/cli"
	"github.com/certpurge/certpurge/internal/login"
)

func TestPasswordMakesAnEntry(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		args  []string
		input string
		code  int
		want  string // the beginning of the entry, or part of the error
	}{
		"viewer":    {[]string{"alice"}, "correct horse battery\n", cli.ExitOK, "alice:view:$2a$12$"},
		"operator":  {[]string{"--right", "operate", "bob"}, "correct horse battery", cli.ExitOK, "bob:operate:$2a$12$"},
		"too short": {[]string{"alice"}, "hunter2\n", cli.ExitUsage, "too short"},
		"odd name":  {[]string{"al ice"}, "correct horse battery\n", cli.ExitUsage, "name"},
		"no right":  {[]string{"alice", "--right", "root"}, "correct horse battery\n", cli.ExitUsage, "view or operate"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var out, errOut bytes.Buffer
			root := newCommand(cli.Streams{Out: &out, Err: &errOut})
			root.SetIn(strings.NewReader(tc.input))
			code := cli.Run(t.Context(), root, append([]string{"password"}, tc.args...), &errOut)
			if code != tc.code || !strings.Contains(out.String()+errOut.String(), tc.want) ||
				strings.Contains(out.String()+errOut.String(), strings.TrimSpace(tc.input)) {
				t.Errorf("got %d, %q, %q, want %d and %s", code, &out, &errOut, tc.code, tc.want)
			}
			if _, err := login.ParseUsers(out.String()); code == cli.ExitOK && err != nil {
				t.Errorf("the entry is of no use: %v", err)
			}
		})
	}
}
