package console_test

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/certpurge/certpurge/internal/login"
	"github.com/certpurge/certpurge/internal/mysql"
	"github.com/certpurge/certpurge/internal/purge"
)

var held = purge.Report{State: purge.Failed, Reason: purge.ReasonHeld, Detail: "a hold protects a file of certificate 7"}

// TestRequestsAreFound filters by each condition, from the page's own form.
func TestRequestsAreFound(t *testing.T) {
	t.Parallel()
	o := newOffice(t, mysql.RoleEnqueuer, "")
	user, failed := o.user("a", held)
	refused := o.request(purge.Submission{
		User: 4711, Source: purge.SourceBackfill, By: "cli, alice@ops", Ticket: "PRIV-7",
	}, purge.Report{State: purge.Refused, Reason: purge.ReasonUnknownUser})
	key, err := purge.CallerKey("token:portal", "order-1")
	if err != nil {
		t.Fatal(err)
	}
	open := o.request(purge.Submission{User: 4712, Key: key, By: "token portal, v1"}, purge.Report{})
	command, err := purge.CallerKey("", "ticket-9")
	if err != nil {
		t.Fatal(err)
	}
	byKey := o.request(purge.Submission{User: 4713, Key: command}, purge.Report{})
	v := o.as("alice", login.View)
	today := time.Now().UTC().Format(time.DateOnly)
	all := []purge.RequestID{failed, refused, open, byKey}
	for query, want := range map[string][]purge.RequestID{
		"":                                 {failed, refused, open, byKey},
		"?state=failed":                    {failed},
		"?reason=held":                     {failed},
		"?state=refused&reason=held":       {},
		"?source=backfill":                 {refused},
		"?queue=purge":                     {failed, open, byKey},
		"?by=alice":                        {refused},
		"?ticket=PRIV-7":                   {refused},
		"?user=4712":                       {open},
		"?id=" + number(failed):            {failed},
		"?key=order-1&caller=token+portal": {open},
		"?key=order-1":                     {},
		"?key=ticket-9":                    {byKey},
		"?from=" + today:                   {failed, refused},
		"?to=2020-01-01":                   {},
		"?from=2020-01-01&to=" + today:     {failed, refused},
		"?state=failed&user=" + number(user) + "&from=" + today + "T00:00:00Z": {failed},
		"?before=" + number(refused): {failed},
	} {
		body, read := v.get(http.StatusOK, "/requests"+query)
		for _, id := range all {
			has := strings.Contains(body, `href="/requests/`+number(id)+`"`)
			wanted := false
			for _, w := range want {
				wanted = wanted || w == id
			}
			if has != wanted {
				t.Errorf("%s: request %d is shown: %v, want %v\n%s", query, id, has, wanted, read)
			}
		}
	}
	_, read := v.get(http.StatusOK, "/requests?user="+number(user))
	wants(t, "the figures", read, "1 request. failed: held 1")
	for q, want := range map[string]string{
		"ticket-9": "/requests/" + number(byKey), number(user + 100000): "404", "PRIV 7": "/requests?ticket=PRIV+7",
		"4713": "/users/4713",
	} {
		status, body, header := v.send(http.MethodGet, "/requests?q="+strings.ReplaceAll(q, " ", "+"), nil)
		if got := header.Get("Location"); got != want && (status != http.StatusNotFound || want != "404") {
			t.Errorf("finding %q: got %d to %q, want %s\n%s", q, status, got, want, text(body))
		}
	}
	for query, want := range map[string]string{
		"state=broken": `state: there is no "broken": expected one of queued, running, done, refused, failed`,
		"reason=bad":   "reason: there is no", "source=mars": "source: there is no", "queue=x": "expected one of purge, backfill",
		"user=alice": "user: this (not shown, it may be a name) is not a user id", "id=0": `id: "0" is not a request id`,
		"from=yesterday": `from: "yesterday" is no day`, "from=2026-02-01&to=2026-01-01": "the period ends before it begins",
		"state=queued&from=2026-01-01": "none that is queued has", "caller=x": "it says whose key it is",
		"key=%00": "the idempotency key may hold", "before=x": "before: ", "queue=purge&source=backfill": "do not go into queue purge",
		"ticket=" + strings.Repeat("x", 65): "ticket: expected at most 64", "before=1&at=x": "at: ",
	} {
		_, read := v.get(http.StatusBadRequest, "/requests?"+query)
		wants(t, query, read, want)
		lacks(t, query, read, "nothing was done", "alice is")
	}
}

// TestRequestsComeInPages has more than one page of them, and exports them all.
func TestRequestsComeInPages(t *testing.T) {
	t.Parallel()
	o := newOffice(t, mysql.RoleEnqueuer, "/ops")
	for n := range 120 {
		report := held
		if n%2 == 1 {
			report = purge.Report{State: purge.Refused, Reason: purge.ReasonUnknownUser, Detail: `=HYPERLINK("x"), <b>`}
		}
		o.request(purge.Submission{User: purge.UserID(1000 + n)}, report)
	}
	v := o.as("alice", login.View)
	link, next := regexp.MustCompile(`href="/ops/requests/(\d+)"`), regexp.MustCompile(`rel="next" href="/ops([^"]+)"`)
	for _, filter := range []string{"", "?state=failed&from=2020-01-01", "?by=nothing"} {
		seen, pages := map[string]bool{}, 0
		for path := "/requests" + filter; path != "" && pages < 10; pages++ {
			body, _ := v.get(http.StatusOK, path)
			for _, m := range link.FindAllStringSubmatch(body, -1) {
				if seen[m[1]] {
					t.Errorf("%s: request %s comes twice", filter, m[1])
				}
				seen[m[1]] = true
			}
			path = ""
			if m := next.FindStringSubmatch(body); m != nil {
				path = strings.ReplaceAll(m[1], "&amp;", "&")
			}
		}
		want := map[string][2]int{"": {120, 3}, "?state=failed&from=2020-01-01": {60, 2}, "?by=nothing": {0, 1}}[filter]
		if len(seen) != want[0] || pages != want[1] {
			t.Errorf("%q: got %d requests on %d pages, want %v", filter, len(seen), pages, want)
		}
	}
	_, body, header := v.send(http.MethodGet, "/requests/export?state=refused&format=csv", nil)
	lines, err := csv.NewReader(strings.NewReader(body)).ReadAll()
	if err != nil || len(lines) != 61 || lines[0][0] != "request_id" || lines[1][7] != `'=HYPERLINK("x"), <b>` ||
		!strings.Contains(header.Get("Content-Disposition"), `filename="requests.csv"`) {
		t.Errorf("CSV: got %d lines, %v, %v", len(lines), err, header)
	}
	_, body, _ = v.send(http.MethodGet, "/requests/export?format=json", nil)
	var list struct{ Requests []mysql.Request }
	if err := json.Unmarshal([]byte(body), &list); err != nil || len(list.Requests) != 120 {
		t.Errorf("JSON: got %d, %v", len(list.Requests), err)
	}
	v.get(http.StatusBadRequest, "/requests/export?format=pdf")
	v.get(http.StatusBadRequest, "/requests/export?format=csv&state=x")
}

func TestARequestTellsItsStory(t *testing.T) {
	t.Parallel()
	o := newOffice(t, mysql.RoleEnqueuer, "")
	user, request := o.purged("a")
	v := o.as("alice", login.View)
	body, read := v.get(http.StatusOK, "/requests/"+number(request))
	wants(t, "the page", read, "Request "+number(request)+": done, but files can be restored", "Ticket PRIV-7", "by token portal, v1, 192.0.2.1",
		"attempt 1 took", "and left it done, 1 link cleared", "worker-1:7, certpurge 1.2.3; documents 1, 2", "ended as done",
		"Certificate 1", "Certificate.pdf generation", "soft_deleted until", "1 link cleared in the table of live certificates",
		"listed 20", ": nothing", "certs: versioning off, soft delete 7 d, retention none", "Can be restored until 20")
	wants(t, "the page's links", body, `href="/users/`+number(user)+`"`)
	_, read = v.get(http.StatusOK, "/users/"+number(user))
	wants(t, "the user's page", read, "no link is left", "in state COMPLETE", "4 objects can be restored until 20",
		"0 certificates and 0 rows of the history have a link", "enqueuer enqueue "+number(user))
	_, read = v.get(http.StatusNotFound, "/requests/999")
	wants(t, "an unknown request", read, "The ledger has no request 999.")
	v.get(http.StatusBadRequest, "/requests/x")
	v.get(http.StatusNotFound, "/users/999")
	v.get(http.StatusBadRequest, "/users/alice")
}

// TestHostileTextIsEscaped puts markup everywhere where a caller or an object's name could put it.
func TestHostileTextIsEscaped(t *testing.T) {
	t.Parallel()
	o := newOffice(t, mysql.RoleEnqueuer, "")
	const markup = `"><script>alert(1)</script><img src=x>`
	user := purge.UserID(o.db.AddRetiringUser(t, "a", "RETIRING_LMS"))
	request := o.request(purge.Submission{User: user, By: markup, Ticket: markup}, purge.Report{
		State: purge.Failed, Reason: purge.ReasonHeld, Detail: markup, Evidence: []purge.Evidence{{
			CertificateID: 1, Table: purge.Live, Outcome: purge.HeldBack,
			Generation: purge.Generation{
				Directory: purge.Directory{Bucket: "certs", Prefix: "downloads/"}, Name: "downloads/" + markup, Number: 1,
				CacheControl: markup,
			},
		}},
	})
	v := o.as(markup, login.Operate)
	for _, path := range []string{
		"/requests", "/requests/" + number(request), "/users/" + number(user), "/requests?by=%22%3E%3Cscript%3E",
		"/requests?ticket=%22%3E%3Cscript%3E", "/requests/requeue?id=" + number(request),
		"/requests/requeue?all=1&by=%22%3E%3Cscript%3E",
	} {
		_, body, header := v.send(http.MethodGet, path, nil)
		if strings.Contains(body, "<script>") || strings.Contains(body, "<img") ||
			!strings.Contains(header.Get("Content-Security-Policy"), "script-src 'self'") {
			t.Errorf("%s: got\n%s", path, body)
		}
	}
}

// TestEveryLinkHasTheBase follows the links of all pages.
func TestEveryLinkHasTheBase(t *testing.T) {
	t.Parallel()
	o := newOffice(t, mysql.RoleEnqueuer, "/ops")
	user, request := o.purged("a")
	_, failed := o.user("b", held)
	o.db.AddCertificate(t, certificateOf(o.db.AddRetiringUser(t, "c", "RETIRING_LMS")))
	v := o.as("alice", login.Operate)
	pages := []string{
		"/requests", "/requests?user=" + number(user), "/requests?from=x", "/requests?state=failed", "/coverage", "/inventory",
		"/requests/" + number(request), "/requests/" + number(failed), "/users/" + number(user),
		"/users/" + number(user) + "/purge", "/requests/requeue?id=" + number(failed), "/requests?q=1",
	}
	v.get(http.StatusOK, "/coverage") // begins counting
	seen := map[string]bool{}
	for _, path := range pages {
		_, body, _ := v.send(http.MethodGet, path, nil)
		for _, m := range regexp.MustCompile(`(?:href|src|action)="([^"]*)"`).FindAllStringSubmatch(body, -1) {
			link := strings.ReplaceAll(m[1], "&amp;", "&")
			switch {
			case strings.HasPrefix(link, "#") || strings.HasPrefix(link, "?") || link == "data:,":
			case !strings.HasPrefix(link, "/ops/"):
				t.Errorf("%s links to %s", path, link)
			default:
				seen[strings.TrimPrefix(link, "/ops")] = true
			}
		}
	}
	for link := range seen {
		if strings.HasPrefix(link, "/monitoring") || strings.HasPrefix(link, "/metrics") ||
			strings.HasPrefix(link, "/readyz") { // of the listener, or another page's
			continue
		}
		if status, body, _ := v.send(http.MethodGet, link, nil); status != http.StatusOK &&
			(status != http.StatusBadRequest || !strings.HasPrefix(link, "/requests/requeue")) { // nothing is chosen yet
			t.Errorf("%s: got %d\n%s", link, status, text(body))
		}
	}
	if !seen["/users/"+number(user)+"/certificate"] || !seen["/requests/requeue?id="+number(failed)] {
		t.Errorf("got %v", seen)
	}
}

// TestAPageHoldsALargeRequest has a user with very many certificates, and a directory with very many generations.
func TestAPageHoldsALargeRequest(t *testing.T) {
	t.Parallel()
	o := newOffice(t, mysql.RoleEnqueuer, "")
	report := purge.Report{State: purge.Failed, Reason: purge.ReasonHeld}
	add := func(certificate, number int) {
		dir := purge.Directory{Bucket: "certs", Prefix: fmt.Sprintf("downloads/%032x/", certificate)}
		report.Evidence = append(report.Evidence, purge.Evidence{
			CertificateID: purge.CertificateID(certificate), Table: purge.Live, Outcome: purge.HeldBack,
			Generation: purge.Generation{Directory: dir, Name: dir.Prefix + "Certificate.pdf", Number: int64(number), Size: 1},
		})
	}
	for n := range 10_000 {
		add(n+1, 1)
	}
	for n := range 200 {
		add(1, n+2)
	}
	_, request := o.user("a", report)
	body, read := o.as("alice", login.View).get(http.StatusOK, "/requests/"+number(request))
	wants(t, "the page", read, "And 9,950 more certificates: enqueuer report --user", "and 151 more", "Certificate 50")
	if lacks(t, "the page", read, "Certificate 51 "); len(body) > 200_000 {
		t.Errorf("the page has %d bytes", len(body))
	}
}
