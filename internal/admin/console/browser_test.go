//go:build browser

package console_test

import (
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

// TestBrowserPages looks at every page in all looks, and queues requests again as an operator does, with the script and
// the keyboard.
func TestBrowserPages(t *testing.T) {
	t.Parallel()
	o := newOffice(t, mysql.RoleEnqueuer, "")
	user, request := o.purged("purged")
	reports := []purge.Report{held, {
		State: purge.Failed, Reason: purge.ReasonFilesMissing,
		Detail: "location certs: the directories of certificates 17, 18 and 19 are empty, although files were expected there",
	}, {State: purge.Refused, Reason: purge.ReasonNotRetiring}, {State: purge.Done}, {}}
	var failed purge.RequestID
	for n := range 60 {
		learner := purge.UserID(o.db.AddRetiringUser(t, fmt.Sprint("learner", n), "RETIRING_LMS"))
		if n < 12 {
			o.db.AddCertificate(t, certificateOf(int(learner)))
		}
		id := o.request(purge.Submission{
			User: learner, By: "token portal, v1, 192.0.2.1 for the privacy office", Ticket: fmt.Sprint("PRIV-", n),
		}, reports[n%len(reports)])
		if n%len(reports) == 0 {
			failed = id
		}
	}
	o.addInventory()
	users, err := login.ParseUsers("operator:operate:$2a$10$sCOb7X4ry9FmieXXvL2Xn.isQ6OinKyl.ATeMA/UizVEfbKwyLGIO")
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(admin.New(admin.Parts{Pages: o.page}, admin.Access{Users: users}, slog.New(slog.DiscardHandler)))
	t.Cleanup(server.Close)
	v := browser.New(t, "operator", "operator")
	open := func(path string) {
		v.Do("opening "+path, chromedp.Navigate(server.URL+path), chromedp.WaitVisible(chromedp.CSS("main h1")))
	}
	sandboxtest.Eventually(t, "the coverage is counted", func() bool {
		open("/coverage")
		return strings.Contains(browser.Ask(v, "reading", chromedp.Text(chromedp.CSS("main"))), "never") ||
			strings.Contains(browser.Ask(v, "reading", chromedp.Text(chromedp.CSS("main"))), "failed: held")
	})
	for name, path := range map[string]string{
		"requests": "/requests", "filter": "/requests?state=failed&by=portal", "request": "/requests/" + number(request),
		"failed": "/requests/" + number(failed), "user": "/users/" + number(user), "coverage": "/coverage",
		"inventory": "/inventory", "requeue": "/requests/requeue?all=1&state=failed", "purge": "/users/" + number(user) + "/purge",
	} {
		for _, look := range browser.Looks() {
			v.Look(look)
			open(path)
			v.Screenshot("console-" + name + "-" + look.Name)
			if wide := browser.Ask(v, "measuring",
				chromedp.Evaluate[int64]("document.documentElement.scrollWidth")); wide > look.Width {
				t.Errorf("%s, %s: the page is %d wide, the screen %d", path, look.Name, wide, look.Width)
			}
			for what, script := range map[string]string{
				"headings of the first order": "String(document.querySelectorAll('h1').length - 1)",
				"inputs without a label": "String([...document.querySelectorAll('main input:not([type=hidden]), main select')]" +
					".filter(e => e.labels.length == 0).length)",
				"tables without a caption": "String([...document.querySelectorAll('main table')].filter(e => !e.caption).length)",
				"headings that skip an order": "String([...document.querySelectorAll('h1,h2,h3')].filter((e, i, all) => " +
					"i > 0 && e.tagName[1] - all[i-1].tagName[1] > 1).length)",
			} {
				if got := browser.Ask(v, "counting", chromedp.Evaluate[string](script)); got != "0" {
					t.Errorf("%s: %s too many %s", path, got, what)
				}
			}
		}
	}
	v.Look(browser.Looks()[0])
	open("/requests?reason=held")
	v.Do("choosing all", chromedp.Click(chromedp.CSS("input[data-all]")),
		chromedp.Click(chromedp.CSS("form[action$=requeue] button")), chromedp.WaitVisible(chromedp.CSS("form.question button")))
	v.Do("confirming", chromedp.Click(chromedp.CSS("form.question button")), chromedp.WaitVisible(chromedp.CSS(".verdict.ok")))
	if text := browser.Ask(v, "reading", chromedp.Text(chromedp.CSS("main"))); !strings.Contains(text, "12 requests queued again") {
		t.Errorf("got %s", text)
	}
	if got := o.pending(); got != 12 {
		t.Errorf("got %d tasks", got)
	}
	if problems := v.Problems(); len(problems) > 0 {
		t.Errorf("the browser complains: %v", problems)
	}
}
