package console_test

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/certpurge/certpurge/internal/admin"
	"github.com/certpurge/certpurge/internal/login"
	"github.com/certpurge/certpurge/internal/mysql"
	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/sandbox/sandboxtest"
)

func certificateOf(user int) sandboxtest.Certificate {
	return sandboxtest.Certificate{
		UserID: user, DownloadUUID: fmt.Sprintf("%032x", user), VerifyUUID: fmt.Sprintf("%032x", user+1<<20),
	}
}

// TestChosenRequestsAreQueuedAgain chooses some by id, of which one cannot be queued again.
func TestChosenRequestsAreQueuedAgain(t *testing.T) {
	t.Parallel()
	o := newOffice(t, mysql.RoleEnqueuer, "")
	_, one := o.user("a", held)
	_, two := o.user("b", purge.Report{State: purge.Failed, Reason: purge.ReasonFilesMissing})
	_, done := o.user("c", purge.Report{State: purge.Done})
	_, other := o.user("d", held)
	v := o.as("alice", login.Operate)
	path := "/requests/requeue?id=" + number(one) + "&id=" + number(two) + "&id=" + number(done)
	asked, told, form := v.confirm(http.StatusOK, path, url.Values{"own_ticket": {"OPS-1"}, "accept_missing": {"1"}})
	wants(t, "the question", asked, "Queue 2 requests again", "1 request failed: held", "1 request failed: files_missing",
		"1 other chosen request did not fail, and will be left alone", "Clear the links of the 1 request")
	lacks(t, "the question", asked, "Erase the directories")
	wants(t, "the answer", told, "2 requests queued again", "1 chosen request did not fail")
	if got := o.states(one, two, done, other); got != "queued queued done failed" {
		t.Errorf("got %s", got)
	}
	if got := o.pending(); got != 2 {
		t.Errorf("got %d tasks, want 2", got)
	}
	// What is accepted counts only for the request that failed because of it.
	if got := o.events(one); got != "reopened console, alice OPS-1" {
		t.Errorf("got events %q", got)
	}
	if got := o.events(two); got != "reopened console, alice OPS-1; accepted_missing console, alice OPS-1" {
		t.Errorf("got events %q", got)
	}
	status, body, _ := v.send(http.MethodPost, path, form)
	if wants(t, "the form again", text(body), "This form was sent before"); status != http.StatusForbidden {
		t.Errorf("got %d", status)
	}
	_, read := v.get(http.StatusOK, "/requests/"+number(two))
	wants(t, "the request", read, "opened again by console, alice, ticket OPS-1", "Missing files accepted by console, alice")
	for query, want := range map[string]string{
		"id=" + number(done): "none of these requests failed", "id=x": "is not a request id", "": "no request was chosen",
		"id=999": "the ledger has no request 999", "all=1&state=done": "these are done", "all=1&user=x": "is not a user id",
		"all=1&user=77": "none of these requests failed",
	} {
		_, read := v.get(http.StatusBadRequest, "/requests/requeue?"+query)
		wants(t, query, read, want)
	}
}

// TestAFilterIsQueuedAgain takes all that a filter chooses, but not what has failed since it was asked about.
func TestAFilterIsQueuedAgain(t *testing.T) {
	t.Parallel()
	o := newOffice(t, mysql.RoleEnqueuer, "")
	var ids []purge.RequestID
	for n := range 7 {
		_, id := o.user(fmt.Sprint("held", n), held)
		ids = append(ids, id)
	}
	_, refused := o.user("refused", purge.Report{State: purge.Refused, Reason: purge.ReasonNotRetiring})
	_, shared := o.user("shared", purge.Report{State: purge.Failed, Reason: purge.ReasonShared})
	v := o.as("alice", login.Operate)
	body, _ := v.get(http.StatusOK, "/requests?reason=held")
	wants(t, "the list", body, `href="/requests/requeue?all=1&amp;reason=held"`)
	const path = "/requests/requeue?all=1&reason=held"
	body, asked := v.get(http.StatusOK, path)
	wants(t, "the question", asked, "Queue 7 requests again", "7 requests failed: held")
	_, late := o.user("late", held)
	form := url.Values{}
	for _, m := range hidden.FindAllStringSubmatch(body, -1) {
		form.Add(m[1], m[2])
	}
	status, body, _ := v.send(http.MethodPost, path, form)
	if wants(t, "the answer", text(body), "7 requests queued again"); status != http.StatusOK {
		t.Errorf("got %d", status)
	}
	if got := o.states(append(ids, refused, shared, late)...); got != strings.Repeat("queued ", 7)+"refused failed failed" {
		t.Errorf("got %s", got)
	}
	// Without a state, what failed and what was refused.
	asked, _, _ = v.confirm(http.StatusOK, "/requests/requeue?all=1", url.Values{"accept_shared": {"1"}})
	wants(t, "the question", asked, "Queue 3 requests again", "Erase the directories of the 1 request", "1 request refused: not_retiring")
	if got := o.states(refused, shared, late); got != "queued queued queued" {
		t.Errorf("got %s", got)
	}
	if got := o.events(shared); got != "reopened console, alice; accepted_shared console, alice" {
		t.Errorf("got events %q", got)
	}
	if got := o.pending(); got != 10 {
		t.Errorf("got %d tasks, want 10", got)
	}
}

// TestNoRightNoChange asks with the right view, from another site, and at a process that may change nothing.
func TestNoRightNoChange(t *testing.T) {
	t.Parallel()
	o := newOffice(t, mysql.RoleEnqueuer, "")
	user, request := o.user("a", held)
	viewer, operator := o.as("bob", login.View), o.as("alice", login.Operate)
	for _, path := range []string{"/requests/requeue?id=" + number(request), "/users/" + number(user) + "/purge"} {
		_, body, _ := operator.send(http.MethodGet, path, nil)
		form := url.Values{}
		for _, m := range hidden.FindAllStringSubmatch(body, -1) {
			form.Add(m[1], m[2])
		}
		viewer.cookies = operator.cookies // even with a form of an operator's
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			status, body, _ := viewer.send(method, path, form)
			if wants(t, path, text(body), "this needs the right operate"); status != http.StatusForbidden {
				t.Errorf("%s %s: got %d", method, path, status)
			}
		}
		// A form without the token of this browser.
		if status, _, _ := o.as("alice", login.Operate).send(http.MethodPost, path, form); status != http.StatusForbidden {
			t.Errorf("%s: another browser's form: got %d", path, status)
		}
	}
	users, err := login.ParseUsers("operator:operate:$2a$10$sCOb7X4ry9FmieXXvL2Xn.isQ6OinKyl.ATeMA/UizVEfbKwyLGIO")
	if err != nil {
		t.Fatal(err)
	}
	listener := admin.New(admin.Parts{Pages: o.page}, admin.Access{Users: users}, slog.New(slog.DiscardHandler))
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "http://admin.example/requests/requeue",
		strings.NewReader("id="+number(request)))
	r.SetBasicAuth("operator", "operator")
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Sec-Fetch-Site", "cross-site")
	w := httptest.NewRecorder()
	if listener.ServeHTTP(w, r); w.Code != http.StatusForbidden || !strings.Contains(w.Body.String(), "Nothing was done") {
		t.Errorf("another site: got %d %s", w.Code, w.Body)
	}
	if got := o.states(request); got != "failed" || o.events(request) != "" || o.pending() != 0 {
		t.Errorf("it is %s, with events %q", got, o.events(request))
	}
	_, read := viewer.get(http.StatusOK, "/requests?state=failed&reason=held")
	wants(t, "the list of a viewer", read, "enqueuer requeue --reason held --execute")
	lacks(t, "the list of a viewer", read, "Queue the chosen ones again")

	worker := newOffice(t, mysql.RoleWorker, "")
	_, request = worker.user("a", held)
	operator = worker.as("alice", login.Operate)
	_, read = operator.get(http.StatusOK, "/requests/"+number(request))
	wants(t, "a worker's page", read, "enqueuer requeue "+number(request)+" --execute")
	operator.get(http.StatusBadRequest, "/requests/requeue?id="+number(request))
	if status, _, _ := operator.send(http.MethodPost, "/requests/requeue", url.Values{"id": {number(request)}}); status !=
		http.StatusMethodNotAllowed || worker.states(request) != "failed" {
		t.Errorf("a worker's page: got %d", status)
	}
}

func TestAPurgeIsRequestedFromTheUsersPage(t *testing.T) {
	t.Parallel()
	o := newOffice(t, mysql.RoleEnqueuer, "")
	user := purge.UserID(o.db.AddRetiringUser(t, "a", "RETIRING_LMS"))
	o.db.AddCertificate(t, certificateOf(int(user)))
	stays := o.db.AddUser(t, "b")
	v := o.as("alice", login.Operate)
	_, read := v.get(http.StatusOK, "/users/"+number(user))
	wants(t, "the page", read, "links are left", "The user may be purged.", "in state RETIRING_LMS", "1 certificate and 0 rows",
		"No request was ever made", "Request a purge")
	lacks(t, "the page", read, fmt.Sprintf("%032x", user), "a@example.com")
	path := "/users/" + number(user) + "/purge"
	asked, told, _ := v.confirm(http.StatusOK, path, url.Values{"own_ticket": {"PRIV-9"}})
	wants(t, "the question", asked, "1 certificate has a link")
	wants(t, "the answer", told, "Request 1 is queued")
	rows, err := o.root.Requests(t.Context(), []purge.RequestID{1})
	if err != nil || len(rows) != 1 || rows[0].RequestedBy != "console, alice" || rows[0].Ticket != "PRIV-9" ||
		rows[0].UserID != user || o.pending() != 1 {
		t.Errorf("got %+v, %v, %d tasks", rows, err, o.pending())
	}
	_, told, _ = v.confirm(http.StatusOK, path, nil)
	wants(t, "the answer", told, "Request 1 is queued already")
	_, read = v.get(http.StatusOK, "/users/"+number(purge.UserID(stays)))
	wants(t, "a user who stays", read, "The user may not be purged.", "no retirement request")
	_, read = v.get(http.StatusOK, "/users/"+number(purge.UserID(stays))+"/purge")
	wants(t, "the question", read, "the request will be refused")
	_, read = v.get(http.StatusBadRequest, "/users/4711/purge")
	wants(t, "an unknown user", read, "the LMS has no user 4711")
	body, _ := v.get(http.StatusOK, path)
	status, body, _ := v.send(http.MethodPost, "/users/4711/purge", url.Values{"token": {hidden.FindStringSubmatch(body)[2]}})
	if wants(t, "an unknown user's form", text(body), "the LMS has no user 4711"); status != http.StatusBadRequest {
		t.Errorf("got %d", status)
	}
	_, told, _ = v.confirm(http.StatusBadRequest, path, url.Values{"own_ticket": {strings.Repeat("x", 65)}})
	wants(t, "a long ticket", told, "ticket: expected at most 64")
}

// TestOneClickQueuesABoundedNumber has a filter choose more than may be queued again at once.
func TestOneClickQueuesABoundedNumber(t *testing.T) {
	t.Parallel()
	o := newOffice(t, mysql.RoleEnqueuer, "")
	o.db.Exec(t, "INSERT INTO "+o.db.Ledger+".requests (idempotency_key, user_id, source, state, reason, ended_as, "+
		"requested_at, opened_at, updated_at, finished_at) SELECT CONCAT('user:', seq), seq, 'backfill', 'failed', 'held', "+
		"'failed:held', '2026-01-01', '2026-01-01', '2026-01-01', '2026-01-01' FROM "+sandboxtest.Numbers(10_120)+" ORDER BY seq")
	v := o.as("alice", login.Operate)
	asked, told, _ := v.confirm(http.StatusOK, "/requests/requeue?all=1&state=failed&source=backfill", nil)
	wants(t, "the question", asked, "Queue 10,000 requests again", "the filter chooses more than that")
	wants(t, "the answer", told, "10,000 requests queued again", "120 of the filter are left")
	if got := o.pending(); got != 10_000 {
		t.Errorf("got %d tasks", got)
	}
	_, told, _ = v.confirm(http.StatusOK, "/requests/requeue?all=1&state=failed&source=backfill", nil)
	wants(t, "the answer", told, "120 requests queued again")
	lacks(t, "the answer", told, "are left")
	var events int
	err := o.db.Root.QueryRowContext(t.Context(), "SELECT COUNT(*) FROM "+o.db.Ledger+
		".events WHERE kind = 'reopened' AND actor = 'console, alice'").Scan(&events)
	if err != nil || events != 10_120 {
		t.Errorf("got %d events, %v", events, err)
	}
}

// TestATicketOfOnesOwnIsNoFilter gives one for all of a filter, and for all of a filter by another ticket; then it looks
// for what has the ticket.
func TestATicketOfOnesOwnIsNoFilter(t *testing.T) {
	t.Parallel()
	o := newOffice(t, mysql.RoleEnqueuer, "")
	_, one := o.user("a", held)
	user := purge.UserID(o.db.AddRetiringUser(t, "b", "RETIRING_LMS"))
	two := o.request(purge.Submission{User: user, Ticket: "PRIV-7"}, held)
	v := o.as("alice", login.Operate)
	_, told, _ := v.confirm(http.StatusOK, "/requests/requeue?all=1&state=failed&ticket=PRIV-7", url.Values{"own_ticket": {"OPS-1"}})
	wants(t, "the answer", told, "1 request queued again")
	_, told, _ = v.confirm(http.StatusOK, "/requests/requeue?all=1&reason=held", url.Values{"own_ticket": {"OPS-1"}})
	wants(t, "the answer", told, "1 request queued again")
	if got := o.states(one, two); got != "queued queued" {
		t.Errorf("got %s", got)
	}
	for ticket, want := range map[string]string{"OPS-1": "2 requests.", "PRIV-7": "1 request.", "OPS-2": "0 requests."} {
		_, read := v.get(http.StatusOK, "/requests?ticket="+ticket)
		wants(t, ticket, read, want)
	}
}
