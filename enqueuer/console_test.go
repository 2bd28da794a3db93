package main

import (
	"io"
	"maps"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/certpurge/certpurge/internal/mysql"
	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/queue/inspect"
)

// withLogins lets two users see the admin pages, whose passwords are their names.
func (c *shell) withLogins() {
	c.environ = append(c.environ, "CERTPURGE_ADMIN_USERS="+
		"viewer:view:$2a$10$v86lFexHRiCo3oe53uuzmeIWLqlwPQ6FAeLSjhP3uCqMT.JZbzmii "+
		"operator:operate:$2a$10$sCOb7X4ry9FmieXXvL2Xn.isQ6OinKyl.ATeMA/UizVEfbKwyLGIO")
}

// visitor is a browser without a script, logged in.
type visitor struct {
	t      *testing.T
	base   string
	name   string // and password
	client *http.Client
}

// visit makes a visitor of the server's pages: "viewer" or "operator".
func (s *served) visit(t *testing.T, name string) *visitor {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &visitor{t, s.admin, name, &http.Client{Jar: jar, Transport: s.client.Transport}}
}

// get opens a page.
func (v *visitor) get(path string) (status int, body string) {
	v.t.Helper()
	return v.send(http.MethodGet, path, nil)
}

// send sends a form.
func (v *visitor) send(method, path string, form url.Values) (status int, body string) {
	v.t.Helper()
	r, err := http.NewRequestWithContext(v.t.Context(), method, v.base+path, strings.NewReader(form.Encode()))
	if err != nil {
		v.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.SetBasicAuth(v.name, v.name)
	answer, err := v.client.Do(r)
	if err != nil {
		v.t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		v.t.Fatal(err)
	}
	return answer.StatusCode, string(text)
}

var hidden = regexp.MustCompile(`<input type="hidden" name="([^"]*)" value="([^"]*)"`)

// do opens a page that asks, adds values to its form, and sends it.
func (v *visitor) do(path string, more url.Values) (status int, body string) {
	v.t.Helper()
	status, body = v.get(path)
	if status != http.StatusOK {
		return status, body
	}
	form := url.Values{}
	for _, field := range hidden.FindAllStringSubmatch(body, -1) {
		form.Add(field[1], field[2])
	}
	maps.Copy(form, more)
	return v.send(http.MethodPost, path, form)
}

// TestConsoleResumesAQueue does it as an operator, and fails to as a viewer.
func TestConsoleResumesAQueue(t *testing.T) {
	t.Parallel()
	c := newShell(t)
	c.withLogins()
	s := c.serve()
	rdb := openTestRedis(t, strings.TrimPrefix(c.environ[2], "CERTPURGE_REDIS_URL="))
	paused := func() bool {
		depths, err := inspect.Depths(t.Context(), rdb)
		if err != nil {
			t.Fatal(err)
		}
		return depths[1].Paused
	}
	const path = "/queues/backfill/resume"
	if status, _ := s.visit(t, "viewer").get(path); status != http.StatusForbidden {
		t.Errorf("a viewer: got %d", status)
	}
	v := s.visit(t, "operator")
	if status, _ := v.send(http.MethodPost, "/monitoring/api/queues/backfill:pause", nil); status != http.StatusNoContent {
		t.Fatalf("pausing in the dashboard: got %d", status)
	}
	if _, body := v.get("/"); !strings.Contains(body, "Queue backfill is paused") || !strings.Contains(body, path) {
		t.Errorf("got\n%s", body)
	}
	if !paused() {
		t.Fatal("a look has resumed the queue")
	}
	status, body := v.do(path, url.Values{"own_ticket": {"OPS-7"}})
	if status != http.StatusOK || paused() {
		t.Errorf("got %d, paused %v:\n%s", status, paused(), body)
	}
	did, err := c.store.Operations(t.Context(), 10)
	for i := range did {
		did[i].At = time.Time{}
	}
	want := []mysql.Operation{
		{Kind: mysql.OperationResumed, Subject: "backfill", By: "console, operator", Ticket: "OPS-7"},
		{Kind: mysql.OperationDashboard, Subject: "backfill: pause", By: "dashboard, operator"},
	}
	if err != nil || !slices.Equal(did, want) {
		t.Errorf("got %+v, %v, want %+v", did, err, want)
	}
	if !strings.Contains(s.log.String(), "changed in the console") {
		t.Errorf("the log lacks it: %s", s.log.String())
	}
}

func TestConsolesCertificateNamesTheInstallation(t *testing.T) {
	t.Parallel()
	c := newShell(t)
	c.withLogins()
	c.environ = append(c.environ, "CERTPURGE_ADMIN_TITLE=example.org test")
	user := c.purged("alice", purge.BucketSettings{Bucket: "certs"})
	status, page := c.serve().visit(t, "viewer").get("/users/" + strconv.Itoa(user) + "/certificate")
	if status != http.StatusOK || !strings.Contains(page, "<dt>Installation</dt><dd>example.org test</dd>") {
		t.Errorf("got %d %s", status, page)
	}
}
