package cli_test

import (
	"bytes"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/certpurge/certpurge/internal/cli"
	"github.com/certpurge/certpurge/internal/config"
)

func TestHealthcheck(t *testing.T) {
	t.Parallel()
	serve := func(status int) string {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/readyz" {
				w.WriteHeader(http.StatusTeapot)
				return
			}
			w.WriteHeader(status)
			_, _ = w.Write([]byte("mysql: it is away\n"))
		}))
		t.Cleanup(server.Close)
		return server.Listener.Addr().String()
	}
	address, unready := serve(http.StatusOK), serve(http.StatusServiceUnavailable)
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	closed, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // closed at once: no process listens there then
	if err != nil {
		t.Fatal(err)
	}
	away := closed.Addr().String()
	if err := closed.Close(); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		cfg  config.Admin
		args []string
		code int
	}{
		"ready":                     {cfg: config.Admin{Listen: address}},
		"ready on every interface":  {cfg: config.Admin{Listen: ":" + port}},
		"ready on 0.0.0.0":          {cfg: config.Admin{Listen: "0.0.0.0:" + port}},
		"probes before pages":       {cfg: config.Admin{Listen: away, ProbesListen: address}},
		"unready":                   {cfg: config.Admin{Listen: unready}, code: cli.ExitFailure},
		"no process listens":        {cfg: config.Admin{Listen: away}, code: cli.ExitFailure},
		"a closed port":             {code: cli.ExitConfiguration},
		"an unknown port":           {cfg: config.Admin{Listen: "127.0.0.1:0"}, code: cli.ExitConfiguration},
		"another address":           {args: []string{"--url", "http://" + address + "/readyz"}},
		"another address, elsewise": {args: []string{"--url", "http://" + address + "/tea"}, code: cli.ExitFailure},
		"no address":                {args: []string{"--url", "http://%"}, code: cli.ExitUsage},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var out, errs bytes.Buffer
			cmd := cli.HealthcheckCommand(&out, func() (config.Admin, error) { return test.cfg, nil })
			if code := cli.Run(t.Context(), cmd, test.args, &errs); code != test.code {
				t.Errorf("got exit code %d, want %d: %s", code, test.code, errs.String())
			}
			if name == "unready" && (!strings.Contains(out.String(), "it is away") || !strings.Contains(errs.String(), "503")) {
				t.Errorf("got %q and %q", out.String(), errs.String())
			}
		})
	}
}
