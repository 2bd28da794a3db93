package admin_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/certpurge/certpurge/internal/admin"
)

func TestServeUntilTheContextEnds(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	started, done := make(chan net.Addr, 2), make(chan error, 1)
	go func() {
		done <- admin.Serve(ctx, []admin.Listener{
			{Key: "admin.listen", Address: "127.0.0.1:0", Handler: say("pages"), Local: true},
			{Key: "admin.probes_listen", Address: "127.0.0.1:0", Handler: say("probes")},
			{Key: "off"},
		}, func(_ string, a net.Addr) { started <- a })
	}()
	var address string
	for _, want := range []string{"pages", "probes"} {
		address = (<-started).String()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+address+"/x", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		if err := errors.Join(err, resp.Body.Close()); err != nil || string(body) != want+" /x" {
			t.Errorf("got %q, %v", body, err)
		}
	}
	none := func(string, net.Addr) {}
	err := admin.Serve(t.Context(), []admin.Listener{{
		Key: "admin.probes_listen", Address: "127.0.0.1:0",
		Handler: say(""),
	}, {Key: "admin.listen", Address: address}}, none)
	if err == nil || !strings.Contains(err.Error(), "admin.listen: give each process") {
		t.Errorf("a taken address: got %v", err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("got %v, want a quiet end", err)
	}
	if err := admin.Serve(t.Context(), []admin.Listener{{Key: "off"}}, none); err != nil {
		t.Errorf("switched off: got %v", err)
	}
}

// TestPagesWithoutALoginAreNotBoundToTheNetwork guards what the configuration refuses already, for a name that leads
// elsewhere.
func TestPagesWithoutALoginAreNotBoundToTheNetwork(t *testing.T) {
	t.Parallel()
	err := admin.Serve(t.Context(), []admin.Listener{{Key: "admin.listen", Address: ":0", Handler: say(""), Local: true}},
		func(string, net.Addr) {
			t.Error("it listens")
		})
	if err == nil || !strings.Contains(err.Error(), "no login is required") {
		t.Errorf("got %v", err)
	}
}
