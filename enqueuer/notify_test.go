package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/certpurge/certpurge/internal/cli"
	"github.com/certpurge/certpurge/internal/mysql"
	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/sandbox/sandboxtest"
)

const webhookSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

// hook is a receiver that checks each event as a program of others would, and passes on those that are right.
func (c *shell) hook() chan string {
	c.t.Helper()
	webhook, err := standardwebhooks.NewWebhook(webhookSecret)
	if err != nil {
		c.t.Fatal(err)
	}
	events := make(chan string, 100)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err == nil {
			err = webhook.Verify(body, r.Header)
		}
		if err != nil {
			c.t.Errorf("%v: %s", err, body)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		events <- string(body)
	}))
	c.t.Cleanup(server.Close)
	c.environ = append(c.environ, "CERTPURGE_NOTIFY_URL="+server.URL+"/certpurge", "CERTPURGE_NOTIFY_SECRET="+webhookSecret)
	return events
}

// telling waits until a process tells what ends from now on.
func (c *shell) telling() {
	c.t.Helper()
	sandboxtest.Eventually(c.t, "a process looks for what has ended", func() bool {
		_, begun, err := c.store.NotifyFigures(c.t.Context())
		return err == nil && begun
	})
}

// TestServeTellsTheReceiverOfTheWebhook goes from a call of the API to a signed event.
func TestServeTellsTheReceiverOfTheWebhook(t *testing.T) {
	t.Parallel()
	c := newShell(t)
	events := c.hook()
	user := c.db.AddRetiringUser(t, "Ada", "RETIRING_LMS")
	s := c.serve()
	c.telling()
	if status, body, err := s.call(http.MethodPost, "/v1/requests", fmt.Sprintf(`{"user_id": %d, "ticket": "PRIV-7"}`, user)); err != nil ||
		status != http.StatusAccepted {
		t.Fatalf("got %d %s, %v", status, body, err)
	}
	c.end(user, purge.Report{State: purge.Done, Reason: purge.ReasonNothingToPurge})
	var event struct {
		Type, Subject string
		Data          struct {
			UserID int    `json:"user_id"`
			State  string `json:"state"`
			Ticket string `json:"ticket"`
		}
	}
	body := sandboxtest.Receive(t, "the event", events)
	if err := json.Unmarshal([]byte(body), &event); err != nil || event.Type != "io.github.certpurge.request.ended" ||
		event.Subject != "requests/1" || event.Data.UserID != user || event.Data.State != "done" || event.Data.Ticket != "PRIV-7" {
		t.Errorf("got %v, %s", err, body)
	}
	sandboxtest.Eventually(t, "it is counted", func() bool {
		return strings.Contains(s.metrics(), `certpurge_notifications_total{result="delivered"} 1`)
	})
	s.stop()
	if code := sandboxtest.Receive(t, "the server's exit code", s.code); code != cli.ExitOK {
		t.Errorf("got exit code %d:\n%s", code, s.log)
	}
	if out, _ := c.run(cli.ExitOK, "notify"); !strings.HasPrefix(out, "no notification waits, 0 given up\nlast delivered: ") {
		t.Errorf("got %q", out)
	}
}

// metrics scrapes the server.
func (s *served) metrics() string {
	s.t.Helper()
	request, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, s.admin+"/metrics", http.NoBody)
	if err != nil {
		s.t.Fatal(err)
	}
	response, err := s.client.Do(request)
	if err != nil {
		s.t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return string(text)
}

func TestWatchTellsTheReceiverOfTheWebhook(t *testing.T) {
	t.Parallel()
	c := newShell(t)
	events := c.hook()
	user := c.addDue(1)[0]
	w := c.watcher()
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- w.run(ctx) }()
	c.telling()
	sandboxtest.Eventually(t, "the user is requested", func() bool { return c.perUser() == 1 })
	c.end(user, purge.Report{State: purge.Failed, Reason: purge.ReasonHeld})
	if body := sandboxtest.Receive(t, "the event", events); !strings.Contains(body, `"reason":"held"`) {
		t.Errorf("got %s", body)
	}
	stop()
	if err := sandboxtest.Receive(t, "the end", ended); err != nil {
		t.Errorf("got %v", err)
	}
}

func TestServeRefusesAWebhookThatItCannotUse(t *testing.T) {
	t.Parallel()
	c := newShell(t)
	c.environ = append(c.environ, "CERTPURGE_NOTIFY_URL=https://hooks.example.org", "CERTPURGE_NOTIFY_SECRET="+webhookSecret,
		"CERTPURGE_NOTIFY_TLS_CA_FILE=/no/such/file", "CERTPURGE_JWT_HS256_SECRET="+strings.Repeat("s", 32),
		"CERTPURGE_JWT_AUDIENCES=openedx", "CERTPURGE_JWT_ISSUERS=https://lms.example/oauth2")
	for _, command := range [][]string{{"serve"}, {"watch"}, {"notify", "--test"}} {
		if _, err := c.run(cli.ExitConfiguration, command...); !strings.Contains(err, "notify.tls.ca_file: /no/such/file") {
			t.Errorf("%v says %q", command, err)
		}
	}
}

func TestNotifyTest(t *testing.T) {
	t.Parallel()
	c := newShell(t)
	if _, err := c.run(cli.ExitConfiguration, "notify", "--test"); !strings.Contains(err, "notify.url is empty") {
		t.Errorf("without a URL it says %q", err)
	}
	events := c.hook()
	out, _ := c.run(cli.ExitOK, "notify", "--test")
	body := sandboxtest.Receive(t, "the event", events)
	if !strings.HasSuffix(out, ": 200 OK\n") || !strings.Contains(body, `"type":"io.github.certpurge.test"`) {
		t.Errorf("got %q and %s", out, body)
	}
	refusing := httptest.NewServer(http.NotFoundHandler())
	defer refusing.Close()
	c.environ = append(c.environ, "CERTPURGE_NOTIFY_URL="+refusing.URL)
	out, err := c.run(cli.ExitNotDone, "notify", "--test", "-o", "json")
	if !strings.Contains(out, `"delivered":false,"answer":"404 Not Found"`) || !strings.Contains(err, "expected a status") {
		t.Errorf("got %q and %q", out, err)
	}
	c.run(cli.ExitUsage, "notify", "--test", "--retry")
}

// TestDoctorLooksAtTheWebhook spoils what is remembered of it.
func TestDoctorLooksAtTheWebhook(t *testing.T) {
	t.Parallel()
	p := newPatient(t)
	if out, _ := p.run(cli.ExitOK, "notify"); !strings.Contains(out, "set notify.url") {
		t.Errorf("got %q", out)
	}
	found := func(want int, kind, part string) {
		t.Helper()
		findings, _, _ := p.doctor(want, "-o", "json")
		var kinds []string
		for _, f := range findings {
			kinds = append(kinds, f.Kind)
			if f.Kind == kind && !strings.Contains(f.Text, part) {
				t.Errorf("%s says %q, want %q in it", kind, f.Text, part)
			}
		}
		if kind == "" && len(kinds) > 0 || kind != "" && !slices.Contains(kinds, kind) {
			t.Errorf("got %v, want %q", kinds, kind)
		}
	}
	found(cli.ExitOK, "", "")
	now := time.Now().UTC()
	if _, err := p.store.NotifyState(t.Context(), now); err != nil {
		t.Fatal(err)
	}
	found(cli.ExitOK, "", "")
	waits := mysql.Notification{
		EventID: "one", Kind: mysql.KindRequestEnded, Request: 1, HappenedAt: now, CreatedAt: now.Add(-50 * time.Minute), Body: []byte("{}"),
	}
	if err := p.store.AddNotifications(t.Context(), []mysql.Notification{waits}, now); err != nil {
		t.Fatal(err)
	}
	found(cli.ExitOK, "", "")
	state := "UPDATE " + p.db.Ledger + ".notify_state SET "
	p.exec(state+"failures = 7, answer = '500 Internal Server Error', failing_since = ?", now.Add(-40*time.Minute))
	found(cli.ExitNotDone, "receiver_failing", "500 Internal Server Error. 1 notification waits for it.")
	p.exec(state+"failures = 0, failing_since = NULL, looked_at = ?", now.Add(-time.Hour))
	found(cli.ExitOK, "notifications_stopped", "1 notification is not sent")
	p.exec(state+"looked_at = ?", now)
	p.exec("UPDATE "+p.db.Ledger+".notifications SET created_at = ?", now.Add(-2*time.Hour))
	found(cli.ExitNotDone, "notifications_refused", "1 that wait")
	p.exec("UPDATE " + p.db.Ledger + ".notifications SET outcome = 'given_up'")
	found(cli.ExitNotDone, "notifications_given_up", "did not accept 1 notification within")
	if out, _ := p.run(cli.ExitOK, "notify", "--retry"); !strings.Contains(out, "1 notification that had been given up") ||
		!strings.Contains(out, "1 notification waits for the receiver") {
		t.Errorf("got %q", out)
	}
	found(cli.ExitOK, "", "")
}
