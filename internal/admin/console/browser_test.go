//go:build browser

package console_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/certpurge/certpurge/internal/admin"
	"github.com/certpurge/certpurge/internal/inventory"
	"github.com/certpurge/certpurge/internal/login"
	"github.com/certpurge/certpurge/internal/mysql"
	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/queue/presence"
	"github.com/certpurge/certpurge/internal/sandbox/browser"
	"github.com/certpurge/certpurge/internal/sandbox/sandboxtest"
)

// addInventory keeps the result of an inventory.
func (o *office) addInventory() {
	o.t.Helper()
	old := time.Date(2021, 1, 2, 3, 4, 5, 0, time.UTC)
	sums := []inventory.Sum{
		{Class: inventory.Live, Directories: 712_345, Objects: 1_424_690, Bytes: 1 << 38, Oldest: &old, Newest: &old},
		{Class: inventory.Due, Directories: 12, Objects: 24, Bytes: 1 << 22, Oldest: &old, Newest: &old},
		{Class: inventory.Orphan, Directories: 2, Objects: 3, Bytes: 4096, Oldest: &old, Newest: &old},
	}
	kept := inventory.Kept{
		Report: inventory.Report{Sums: sums, Buckets: []inventory.BucketSums{{Bucket: "certs", Sums: sums}}},
		Doubts: []string{"12 directories are due: their purges are to come, or have failed: see enqueuer coverage"},
	}
	for n := range 2 {
		kept.Names = append(kept.Names, inventory.Directory{
			Class: inventory.Orphan, Bucket: "certs", Name: fmt.Sprintf("downloads/%032x/", 77+n), Objects: 2, Bytes: 2048,
		})
	}
	text, err := json.Marshal(kept)
	if err == nil {
		err = o.root.AddInventory(o.t.Context(), mysql.Inventory{
			Started: time.Now().Add(-time.Hour), Ended: time.Now(), Software: "certpurge 1.2.3", Complete: true, Report: text,
		})
	}
	if err != nil {
		o.t.Fatal(err)
	}
}

// full is a console with requests in many states, behind a login.
type full struct {
	*office

	server       *httptest.Server
	purged, left purge.UserID
	done, failed purge.RequestID
}

func newFull(t *testing.T) *full {
	t.Helper()
	f := &full{office: newOffice(t, mysql.RoleEnqueuer, "")}
	f.purged, f.done = f.office.purged("purged")
	reports := []purge.Report{held, {
		State: purge.Failed, Reason: purge.ReasonFilesMissing,
		Detail: "location certs: the directories of certificates 17, 18 and 19 are empty, although files were expected there",
	}, {State: purge.Refused, Reason: purge.ReasonNotRetiring}, {State: purge.Done}, {}}
	for n := range 60 {
		learner := purge.UserID(f.db.AddRetiringUser(t, fmt.Sprint("learner", n), "RETIRING_LMS"))
		if n < 12 {
			f.db.AddCertificate(t, certificateOf(int(learner)))
		}
		id := f.request(purge.Submission{
			User: learner, By: "token portal, v1, 192.0.2.1 for the privacy office", Ticket: fmt.Sprint("PRIV-", n),
		}, reports[n%len(reports)])
		if n%len(reports) == 0 {
			f.failed, f.left = id, learner
		}
	}
	f.addDay()
	f.addInventory()
	worker := presence.NewAnnouncer(f.redis, "certpurge 1.2.3", func() {})
	worker.Set(presence.Pulling, "")
	t.Cleanup(worker.Start(context.WithoutCancel(t.Context())))
	users, err := login.ParseUsers("operator:operate:$2a$10$sCOb7X4ry9FmieXXvL2Xn.isQ6OinKyl.ATeMA/UizVEfbKwyLGIO\n" +
		"viewer:view:$2a$10$v86lFexHRiCo3oe53uuzmeIWLqlwPQ6FAeLSjhP3uCqMT.JZbzmii")
	if err != nil {
		t.Fatal(err)
	}
	f.server = httptest.NewServer(admin.New(admin.Parts{Pages: f.page}, admin.Access{Users: users},
		slog.New(slog.DiscardHandler)))
	t.Cleanup(f.server.Close)
	return f
}

// addDay adds requests that ended within the last day, more and more of them.
func (f *full) addDay() {
	f.t.Helper()
	_, err := f.db.Root.ExecContext(f.t.Context(), "INSERT INTO `"+f.db.Ledger+"`.requests (idempotency_key, user_id, source,"+
		" state, requested_by, requested_at, opened_at, finished_at, updated_at, ended_as, objects_erased, references_cleared)"+
		" WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n WHERE i < 900),"+
		" d AS (SELECT i, UTC_TIMESTAMP(6) - INTERVAL FLOOR(POW(i / 900, 1.4) * 1430 + i % 7) MINUTE AS at FROM n)"+
		" SELECT UUID(), 100000 + i, 'driver', 'done', 'jwt retirement_service_worker', at, at, at, at, 'done:', 4, 1 FROM d")
	if err != nil {
		f.t.Fatal(err)
	}
}

// open is a visit of a page.
func (f *full) open(v *browser.Visitor, path string) {
	f.t.Helper()
	v.Do("opening "+path, chromedp.Navigate(f.server.URL+path), chromedp.WaitVisible(chromedp.CSS("h1")))
}

func read(v *browser.Visitor) string {
	return browser.Ask(v, "reading", chromedp.Evaluate[string]("document.body.innerText"))
}

// clean fails the test if the browser has complained, or has asked another host.
func (f *full) clean(v *browser.Visitor) {
	f.t.Helper()
	if problems := v.Problems(); len(problems) > 0 {
		f.t.Errorf("the browser complains: %v", problems)
	}
	for _, host := range v.Hosts() {
		if "http://"+host != f.server.URL {
			f.t.Errorf("%s was asked", host)
		}
	}
}

// TestBrowserPages looks at every page in all looks, and has axe-core look for barriers.
func TestBrowserPages(t *testing.T) {
	t.Parallel()
	f := newFull(t)
	v := browser.New(t, "operator", "operator")
	sandboxtest.Eventually(t, "the coverage is counted", func() bool {
		f.open(v, "/coverage")
		return strings.Contains(read(v), "failed: held")
	})
	user := "/users/" + number(f.purged)
	for name, path := range map[string]string{
		"overview": "/?refresh=off", "requests": "/requests", "filter": "/requests?state=failed&by=portal",
		"request": "/requests/" + number(f.done), "failed": "/requests/" + number(f.failed), "user": user,
		"coverage": "/coverage", "inventory": "/inventory", "requeue": "/requests/requeue?all=1&state=failed",
		"purge": user + "/purge", "certificate": user + "/certificate", "runbooks": "/docs/operations/",
		"runbook": "/docs/operations/files-missing", "unknown": "/requests/999999", "wrong": "/requests?from=soon",
		"fix": "/doctor/fix", "resume": "/queues/purge/resume",
	} {
		for _, look := range browser.Looks() {
			v.Look(look)
			f.open(v, path)
			v.Screenshot("console-" + name + "-" + look.Name)
			if wide := browser.Ask(v, "measuring",
				chromedp.Evaluate[int64]("document.documentElement.scrollWidth")); wide > look.Width {
				t.Errorf("%s, %s: the page is %d wide, the screen %d", path, look.Name, wide, look.Width)
			}
			for _, barrier := range v.Violations() {
				t.Errorf("%s, %s: axe-core: %s: %s: %q", path, look.Name, barrier.ID, barrier.Help, barrier.Places)
			}
		}
	}
	// What a page that is not there answers is an error in the browser's console, too.
	for _, problem := range v.Problems() {
		if !strings.Contains(problem, "status of 404") && !strings.Contains(problem, "status of 400") {
			t.Errorf("the browser complains: %s", problem)
		}
	}
	f.clean(v)
}

// TestBrowserProvesThatFilesAreGone goes from the overview to the certificate: a search, and one click.
func TestBrowserProvesThatFilesAreGone(t *testing.T) {
	t.Parallel()
	f := newFull(t)
	v := browser.New(t, "viewer", "viewer")
	f.open(v, "/")
	v.Do("searching", chromedp.SendKeys(chromedp.CSS("#q"), number(f.left)+"\r"),
		chromedp.WaitVisible(chromedp.CSS(`a[href="/users/`+number(f.left)+`"]`)))
	v.Do("opening the user", chromedp.Click(chromedp.CSS(`a[href="/users/`+number(f.left)+`"]`)),
		chromedp.WaitVisible(chromedp.CSS(`a[href$="/certificate"]`)))
	v.Do("opening the certificate", chromedp.Click(chromedp.CSS(`a[href$="/certificate"]`)),
		chromedp.WaitVisible(chromedp.CSS("h1")))
	if text := read(v); !strings.Contains(text, "Statement of what is left") ||
		!strings.Contains(text, "User of the LMS "+number(f.left)) && !strings.Contains(text, number(f.left)) {
		t.Errorf("got %s", text)
	}
	f.clean(v)
}

// TestBrowserRequeuesByMouseAndByKeyboard chooses all of one reason with the script, and one of another by keyboard alone.
func TestBrowserRequeuesByMouseAndByKeyboard(t *testing.T) {
	t.Parallel()
	f := newFull(t)
	v := browser.New(t, "operator", "operator")
	f.open(v, "/requests?reason=held")
	v.Do("choosing all", chromedp.Click(chromedp.CSS("input[data-all]")),
		chromedp.Click(chromedp.CSS("form[action$=requeue] button")), chromedp.WaitVisible(chromedp.CSS("form.question button")))
	v.Do("confirming", chromedp.Click(chromedp.CSS("form.question button")), chromedp.WaitVisible(chromedp.CSS(".verdict.ok")))
	if text := read(v); !strings.Contains(text, "12 requests queued again") {
		t.Errorf("got %s", text)
	}
	if got := f.pending(); got != 12 {
		t.Errorf("got %d tasks", got)
	}
	f.open(v, "/requests?reason=files_missing")
	f.tab(v, "first box", "document.activeElement.matches('tbody input[name=id]')")
	v.Do("ticking it", chromedp.KeyEvent(" "))
	f.tab(v, "the button", "document.activeElement.textContent == 'Queue the chosen ones again'")
	v.Do("pressing it", chromedp.KeyEvent("\r"), chromedp.WaitVisible(chromedp.CSS("form.question button")))
	f.tab(v, "the ticket", "document.activeElement.id == 'ticket'")
	v.Do("giving one", chromedp.KeyEvent("OPS-9"))
	f.tab(v, "the confirmation", "document.activeElement.matches('form.question button')")
	v.Do("pressing it", chromedp.KeyEvent("\r"), chromedp.WaitVisible(chromedp.CSS(".verdict.ok")))
	if text := read(v); !strings.Contains(text, "1 request queued again") || f.pending() != 13 {
		t.Errorf("by keyboard: got %d tasks, %s", f.pending(), text)
	}
	f.clean(v)
}

// tab presses Tab until a condition holds, as one does who has no mouse.
func (f *full) tab(v *browser.Visitor, what, condition string) {
	f.t.Helper()
	for range 100 {
		v.Do("pressing tab", chromedp.KeyEvent("\t"))
		if browser.Ask(v, "looking at the focus", chromedp.Evaluate[bool](condition)) {
			return
		}
	}
	f.t.Fatalf("Tab does not come to %s", what)
}

// TestBrowserWorksWithoutItsScript requeues one request, with scripts switched off.
func TestBrowserWorksWithoutItsScript(t *testing.T) {
	t.Parallel()
	f := newFull(t)
	v := browser.New(t, "operator", "operator")
	v.NoScripts()
	f.open(v, "/requests?id="+number(f.failed))
	v.Do("choosing it", chromedp.Click(chromedp.CSS("tbody input[name=id]")),
		chromedp.Click(chromedp.CSS("form[action$=requeue] button")), chromedp.WaitVisible(chromedp.CSS("form.question button")))
	v.Do("confirming", chromedp.Click(chromedp.CSS("form.question button")), chromedp.WaitVisible(chromedp.CSS(".verdict.ok")))
	if got := f.pending(); got != 1 {
		t.Errorf("got %d tasks", got)
	}
	f.open(v, "/requests/"+number(f.done))
	text := browser.Ask(v, "reading", chromedp.Text(chromedp.CSS("body")))
	if !strings.Contains(text, "All times are UTC.") || !strings.Contains(text, "Certificate.pdf") {
		t.Errorf("got %s", text)
	}
	f.clean(v)
}

// TestBrowserShowsAViewerNoButtons looks for one.
func TestBrowserShowsAViewerNoButtons(t *testing.T) {
	t.Parallel()
	f := newFull(t)
	v := browser.New(t, "viewer", "viewer")
	for _, path := range []string{
		"/?refresh=off", "/requests?state=failed", "/requests/" + number(f.failed), "/users/" + number(f.left), "/coverage",
	} {
		f.open(v, path)
		if found := browser.Ask(v, "looking for forms", chromedp.Evaluate[int64](
			"document.querySelectorAll('main form[method=post], main form[action$=requeue], main a[href$=purge], main a[href$=fix]').length",
		)); found > 0 {
			t.Errorf("%s: a viewer has %d ways to change something", path, found)
		}
	}
	f.open(v, "/requests/requeue?all=1&state=failed")
	if text := read(v); !strings.Contains(text, "this needs the right operate") {
		t.Errorf("got %s", text)
	}
}
