package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/certpurge/certpurge/internal/cli"
	"github.com/certpurge/certpurge/internal/mysql"
	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/sandbox/sandboxtest"
)

const someToken = "AVeryLongTokenThatNobodyWouldEverGuess0123456789abc"

// served is a running "enqueuer serve".
type served struct {
	*shell

	url    string
	admin  string // where its pages are
	client *http.Client
	log    *sandboxtest.Buffer
	stop   context.CancelFunc
	code   chan int
}

// serve starts the command with a token that has all rights.
func (c *shell) serve() *served {
	c.t.Helper()
	sum := sha256.Sum256([]byte(someToken))
	file := filepath.Join(c.t.TempDir(), "enqueuer.yaml")
	err := os.WriteFile(file, []byte(fmt.Sprintf(`
serve: {listen: "127.0.0.1:0", read_timeout: 5m}
admin: {listen: "127.0.0.1:0"}
tokens:
  - {name: test, sha256: %s, rights: [enqueue, read, requeue], rate: 10000, burst: 100000}
`, hex.EncodeToString(sum[:]))), 0o600)
	if err != nil {
		c.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(c.t.Context())
	s := &served{
		shell: c, log: &sandboxtest.Buffer{}, stop: cancel, code: make(chan int, 1),
		client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 256}},
	}
	root := newCommand(cli.Streams{Out: io.Discard, Err: s.log, Environ: c.environ})
	go func() { s.code <- cli.Run(ctx, root, []string{"--config", file, "serve"}, s.log) }()
	c.t.Cleanup(func() {
		cancel()
		s.client.CloseIdleConnections()
	})
	sandboxtest.Eventually(c.t, "the server listens: "+s.log.String(), func() bool {
		for line := range strings.Lines(s.log.String()) {
			var entry struct{ Msg, Key, Address string }
			switch err := json.Unmarshal([]byte(line), &entry); {
			case err != nil:
			case entry.Msg == "serving":
				s.url = "http://" + entry.Address
			case entry.Key == "admin.listen":
				s.admin = "http://" + entry.Address
			}
		}
		return s.url != "" && s.admin != ""
	})
	return s
}

// call sends a request and returns status and body.
func (s *served) call(method, path, body string) (int, string, error) {
	r, err := http.NewRequestWithContext(s.t.Context(), method, s.url+path, strings.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	r.Header.Set("Authorization", "Bearer "+someToken)
	r.Header.Set("Content-Type", "application/json")
	response, err := s.client.Do(r)
	if err != nil {
		return 0, "", err
	}
	defer response.Body.Close()
	data, err := io.ReadAll(response.Body)
	return response.StatusCode, string(data), err
}

func TestServeNeedsSomebodyToServe(t *testing.T) {
	t.Parallel()
	c := newShell(t)
	if _, err := c.run(cli.ExitConfiguration, "serve"); !strings.Contains(err, "tokens") ||
		!strings.Contains(err, "jwt.") {
		t.Errorf("it says %q, want the keys that admit a caller", err)
	}
}

func TestServeFromRequestToEvidence(t *testing.T) {
	t.Parallel()
	c := newShell(t)
	user := c.db.AddRetiringUser(t, "Ada", "RETIRING_LMS")
	s := c.serve()
	status, body, err := s.call(http.MethodPost, "/v1/requests", fmt.Sprintf(`{"user_id": %d}`, user))
	if err != nil || status != http.StatusAccepted {
		t.Fatalf("got %d %s, %v", status, body, err)
	}
	if got := c.depth(); got.Pending != 1 {
		t.Errorf("got %+v, want a task", got)
	}
	for path, want := range map[string]string{
		"/v1/requests/1":                `"state":"queued"`,
		"/v1/requests?state=queued":     `"request_id":1`,
		"/v1/openapi.yaml":              "openapi: 3.1.0",
		"/v1/docs":                      "swagger-ui",
		"/v1/docs/swagger-ui-bundle.js": "",
	} {
		if status, body, err := s.call(http.MethodGet, path, ""); err != nil || status != http.StatusOK ||
			!strings.Contains(body, want) {
			t.Errorf("%s: got %d %.300s, %v, want %s", path, status, body, err, want)
		}
	}
	evidence := fmt.Sprintf("/v1/users/%d/evidence", user)
	status, body, err = s.call(http.MethodGet, evidence, "")
	if err != nil || status != http.StatusNotFound || !strings.Contains(body, `"code":"no_evidence"`) {
		t.Errorf("before the purge: got %d %s, %v", status, body, err)
	}
	c.end(user, purge.Report{State: purge.Done, Evidence: []purge.Evidence{{
		CertificateID: 1, Table: purge.Live, Outcome: purge.Erased,
		Generation: purge.Generation{
			Directory: purge.Directory{Bucket: "certs", Prefix: "downloads/"}, Name: "downloads/x", Number: 1, Size: 2,
		},
	}}})
	status, body, err = s.call(http.MethodGet, evidence, "")
	if err != nil || status != http.StatusOK || !strings.Contains(body, `"outcome":"erased"`) {
		t.Errorf("after the purge: got %d %s, %v", status, body, err)
	}
	s.stop()
	if code := sandboxtest.Receive(t, "the server's exit code", s.code); code != cli.ExitOK {
		t.Errorf("got exit code %d:\n%s", code, s.log)
	}
	if log := s.log.String(); !strings.Contains(log, `"msg":"server stopped"`) || strings.Contains(log, someToken) ||
		strings.Contains(log, "Ada") {
		t.Errorf("the log says\n%s", log)
	}
}

// A key belongs to the caller that gave it: operators find its request under the caller's name in the log and the
// ledger.
func TestStatusFindsTheKeyOfACaller(t *testing.T) {
	t.Parallel()
	c := newShell(t)
	user := c.db.AddRetiringUser(t, "Ada", "RETIRING_LMS")
	s := c.serve()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.url+"/v1/requests",
		strings.NewReader(fmt.Sprintf(`{"user_id": %d}`, user)))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+someToken)
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Idempotency-Key", "ticket-1")
	response, err := s.client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	if err := response.Body.Close(); err != nil || response.StatusCode != http.StatusAccepted {
		t.Fatalf("got %d, %v", response.StatusCode, err)
	}
	key := []string{"status", "--idempotency-key", "ticket-1", "-o", "json"}
	out, _ := c.run(cli.ExitOK, append(key, "--caller", "token test")...)
	if !strings.Contains(out, `"requested_by":"token test, v1, 127.0.0.1"`) {
		t.Errorf("got %q, want the request and who made it", out)
	}
	c.run(cli.ExitNotKnown, key...)
	c.run(cli.ExitNotKnown, append(key, "--caller", "token other")...)
	c.run(cli.ExitUsage, "status", "--caller", "token test")
}

func TestServeWithoutDatabasesSaysSo(t *testing.T) {
	t.Parallel()
	c := newShell(t)
	c.environ[0] = "CERTPURGE_MYSQL_DSN=absent@tcp(127.0.0.1:1)/certpurge"
	s := c.serve()
	for _, body := range []string{`{"lms_user_id": 1}`, `{"username": "Ada"}`} {
		if status, answer, err := s.call(http.MethodPost, "/api/v1/retire_user/", body); err != nil ||
			status != http.StatusServiceUnavailable {
			t.Errorf("got %d %s, %v, want a 503 that the driver asks again after", status, answer, err)
		}
	}
	s.stop()
	if code := sandboxtest.Receive(t, "the server's exit code", s.code); code != cli.ExitOK {
		t.Errorf("got exit code %d", code)
	}
}

// 1,000 calls for 1,000 users and 1,000 for one user at the same time are 1,001 requests, and none of them fails.
func TestAThousandAtOnce(t *testing.T) {
	t.Parallel()
	c := newShell(t)
	first := c.db.AddRetiringUser(t, "learner0", "RETIRING_LMS")
	for n := 1; n <= 1000; n++ {
		c.db.AddUser(t, "learner"+strconv.Itoa(n))
	}
	s := c.serve()
	var wg sync.WaitGroup
	begin := make(chan struct{})
	for n := 1; n <= 1000; n++ {
		for _, user := range []int{first, first + n} {
			wg.Go(func() {
				<-begin
				if status, body, err := s.call(http.MethodPost, "/v1/requests", fmt.Sprintf(`{"user_id": %d}`, user)); err != nil ||
					status != http.StatusAccepted {
					t.Errorf("got %d %s, %v", status, body, err)
				}
			})
		}
	}
	close(begin)
	wg.Wait()
	tallies, err := c.store.Tallies(t.Context())
	if want := (mysql.Tally{State: "queued", Count: 1001}); err != nil || len(tallies) != 1 || tallies[0] != want {
		t.Errorf("got %+v, %v, want 1,001 queued", tallies, err)
	}
	if got := c.depth(); got.Pending != 1001 {
		t.Errorf("got %+v, want 1,001 tasks", got)
	}
}
