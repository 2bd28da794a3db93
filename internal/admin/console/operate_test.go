package console_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/certpurge/certpurge/internal/admin/console"
	"github.com/certpurge/certpurge/internal/doctor"
	"github.com/certpurge/certpurge/internal/login"
	"github.com/certpurge/certpurge/internal/mysql"
	"github.com/certpurge/certpurge/internal/purge"
)

// deeds remembers what was asked of it.
type deeds struct {
	console.Operations

	done []string
}

func (d *deeds) ResumeQueue(_ context.Context, queue, by, ticket string) error {
	d.done = append(d.done, "resume "+queue+" by "+by+" for "+ticket)
	return nil
}

func (d *deeds) Fix(_ context.Context, by, ticket string) ([]doctor.Finding, error) {
	d.done = append(d.done, "fix by "+by+" for "+ticket)
	return []doctor.Finding{{Subject: "queue purge", Text: "It is odd.", Fix: "make it even", Fixed: true}}, nil
}

// send sends a request of a visitor, with cookies, and returns the answer.
func send(t *testing.T, pages http.Handler, right login.Right, method, path string, form url.Values,
	sent ...*http.Cookie,
) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	r := httptest.NewRequestWithContext(login.With(t.Context(), login.Visitor{Name: "alice", Right: right}), method, path,
		strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	for _, c := range sent {
		r.AddCookie(c)
	}
	pages.ServeHTTP(w, r)
	return w
}

// cookies are those of an answer.
func cookies(answer *httptest.ResponseRecorder) []*http.Cookie {
	r := http.Response{Header: answer.Header()}
	return r.Cookies()
}

var tokenField = regexp.MustCompile(`name="token" value="([A-Z0-9]+)"`)

// TestWhatIsChangedIsAskedFirst resumes a queue, and tries all that must not do that.
func TestWhatIsChangedIsAskedFirst(t *testing.T) {
	t.Parallel()
	did := &deeds{}
	w := busy()
	w.may = did
	pages := w.open(t, "/ops")
	const path = "/queues/purge/resume"
	question := send(t, pages, login.Operate, http.MethodGet, path, nil)
	text := question.Body.String()
	match := tokenField.FindStringSubmatch(text)
	kept := cookies(question)
	if match == nil || len(kept) != 1 || !kept[0].HttpOnly || kept[0].SameSite != http.SameSiteStrictMode ||
		kept[0].Path != "/ops/" || !strings.Contains(question.Header().Get("Content-Security-Policy"), "form-action 'self'") {
		t.Fatalf("got %s", text)
	}
	form := url.Values{"token": {match[1]}, "own_ticket": {" OPS-7 "}}
	fresh := func(ticket string) (url.Values, []*http.Cookie) { // of a page that was just opened
		page := send(t, pages, login.Operate, http.MethodGet, path, nil)
		return url.Values{
			"token": {tokenField.FindStringSubmatch(page.Body.String())[1]}, "own_ticket": {ticket},
		}, cookies(page)
	}
	long, longKept := fresh(strings.Repeat("x", 65))
	nowhere, nowhereKept := fresh("")
	other := send(t, pages, login.Operate, http.MethodGet, path, nil)
	for name, tc := range map[string]struct {
		right   login.Right
		path    string
		form    url.Values
		cookies []*http.Cookie
		status  int
	}{
		"no token":             {login.Operate, path, nil, kept, http.StatusForbidden},
		"short token":          {login.Operate, path, url.Values{"token": {"A"}}, kept, http.StatusForbidden},
		"no cookie":            {login.Operate, path, form, nil, http.StatusForbidden},
		"another form's":       {login.Operate, path, form, cookies(other), http.StatusForbidden},
		"may only view":        {login.View, path, form, kept, http.StatusForbidden},
		"no such queue":        {login.Operate, "/queues/nowhere/resume", nowhere, nowhereKept, http.StatusBadRequest},
		"a ticket too long":    {login.Operate, path, long, longKept, http.StatusBadRequest},
		"a body too odd":       {login.Operate, path + "?%zz", form, kept, http.StatusBadRequest},
		"no such operation":    {login.Operate, "/queues/purge/empty", form, kept, http.StatusNotFound},
		"a question only asks": {login.Operate, "/doctor/fix", nil, nil, http.StatusForbidden},
	} {
		if got := send(t, pages, tc.right, http.MethodPost, tc.path, tc.form, tc.cookies...); got.Code != tc.status {
			t.Errorf("%s: got %d, want %d", name, got.Code, tc.status)
		}
		if len(did.done) != 0 {
			t.Fatalf("%s: it was done: %q", name, did.done)
		}
	}
	done := send(t, pages, login.Operate, http.MethodPost, path, form, kept...)
	if done.Code != http.StatusOK || !slices.Equal(did.done, []string{"resume purge by console, alice for OPS-7"}) {
		t.Errorf("got %d, done %q", done.Code, did.done)
	}
	spent := cookies(done) // what a browser keeps after that
	if len(spent) != 1 || spent[0].MaxAge >= 0 || spent[0].Name != kept[0].Name {
		t.Errorf("got cookies %v", spent)
	}
	for name, keeps := range map[string][]*http.Cookie{"a browser": nil, "a client that keeps all cookies": kept} {
		if again := send(t, pages, login.Operate, http.MethodPost, path, form, keeps...); again.Code != http.StatusForbidden ||
			len(did.done) != 1 {
			t.Errorf("%s sends it twice: got %d, done %q", name, again.Code, did.done)
		}
	}
}

func TestDoctorIsAskedToFix(t *testing.T) {
	t.Parallel()
	did := &deeds{}
	w := busy()
	w.may, w.findings = did, []doctor.Finding{{Severity: doctor.Warn, Subject: "queue purge", Text: "It is odd.", Fix: "make it even"}}
	pages := w.open(t, "")
	get(t, pages, "/")
	pages.Close() // what was being read is there
	question := send(t, pages, login.Operate, http.MethodGet, "/doctor/fix", nil)
	text := question.Body.String()
	if !strings.Contains(text, "queue purge: make it even") {
		t.Errorf("got\n%s", text)
	}
	form := url.Values{"token": {tokenField.FindStringSubmatch(text)[1]}}
	done := send(t, pages, login.Operate, http.MethodPost, "/doctor/fix", form, cookies(question)...).Body.String()
	if !strings.Contains(done, "queue purge: It is odd. Fixed: make it even.") || len(did.done) != 1 {
		t.Errorf("got\n%s\ndone %q", done, did.done)
	}
}

// TestButtonsAreForThoseWhoMay looks for the way to a fix in the overview.
func TestButtonsAreForThoseWhoMay(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		may   console.Operations
		right login.Right
		want  bool
	}{
		"an operator":             {&deeds{}, login.Operate, true},
		"a viewer":                {&deeds{}, login.View, false},
		"a worker's own listener": {nil, login.Operate, false},
	} {
		w := busy()
		w.depths[1].Paused, w.may = true, tc.may
		w.tallies = append(w.tallies, mysql.Tally{State: purge.Failed, Reason: purge.ReasonHeld, Count: 3})
		text := send(t, w.open(t, ""), tc.right, http.MethodGet, "/", nil).Body.String()
		if got := strings.Contains(text, `href="/queues/backfill/resume"`); got != tc.want {
			t.Errorf("%s: got a button %v", name, got)
		}
		if got := strings.Contains(text, `href="/requests/requeue?all=1&amp;reason=held&amp;state=failed"`); got != tc.want {
			t.Errorf("%s: got a button to run failed requests again %v", name, got)
		}
		if got := strings.Contains(text, "requeue</span> <span>--reason"); got == tc.want {
			t.Errorf("%s: got the command %v", name, got)
		}
		if !strings.Contains(text, `href="/docs/operations/queue-paused"`) {
			t.Errorf("%s: no way to the runbook", name)
		}
	}
}
