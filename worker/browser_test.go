//go:build browser

package main

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/redis/go-redis/v9"

	"github.com/certpurge/certpurge/internal/gcs/gcstest"
	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/queue"
	"github.com/certpurge/certpurge/internal/queue/inspect"
	"github.com/certpurge/certpurge/internal/sandbox/browser"
	"github.com/certpurge/certpurge/internal/sandbox/sandboxtest"
)

// The tests in this file check the pages of a real worker through a real browser: make browser.

// clean fails the test if the console has shown anything but what is expected, or if another host was asked.
func clean(t *testing.T, v *browser.Visitor, base string, expected ...string) {
	t.Helper()
	for _, problem := range v.Problems() {
		known := false
		for _, e := range expected {
			known = known || strings.Contains(problem, e)
		}
		if !known {
			t.Errorf("the console shows: %s", problem)
		}
	}
	for _, host := range v.Hosts() {
		if "http://"+host != base {
			t.Errorf("%s was requested something", host)
		}
	}
}

// accessible fails the test if axe-core finds a barrier in the page.
func accessible(t *testing.T, v *browser.Visitor) {
	t.Helper()
	for _, barrier := range v.Violations() {
		t.Errorf("axe-core: %s: %s: %q", barrier.ID, barrier.Help, barrier.Places)
	}
}

// chartWarning is what asynqmon's charts complain of while there is no room for them.
const chartWarning = "A negative value is not valid"

// everyState starts a worker on a site with requests and tasks in many states, and returns where its pages are.
func everyState(t *testing.T) (base string) {
	t.Helper()
	s := newSite(t)
	s.withLogins()
	s.cfg.Queue.Concurrency, s.cfg.GCS.CallTimeout, s.retention = 2, time.Hour, time.Hour
	s.cfg.Reconciler.Interval = time.Hour // it would empty the archive
	worker := s.start()
	s.await(purge.Done, s.enqueue(s.addUser(), s.addUser(), s.addUser())...)
	held := s.addUser()
	if err := s.bucket.SetHold("certs", s.file(held), true, false); err != nil {
		t.Fatal(err)
	}
	s.await(purge.Failed, s.enqueue(held)...)
	retained := s.addUser()
	if err := s.bucket.Retain("certs", s.file(retained), time.Now().Add(48*time.Hour)); err != nil {
		t.Fatal(err)
	}
	s.enqueue(retained)
	sandboxtest.Eventually(t, "one waits for a date",
		func() bool { return strings.Contains(worker.log.String(), "reason=retained") })
	s.bucket.SetFaults(1, gcstest.Fault{Op: gcstest.OpDelete, Latency: time.Hour})
	s.enqueue(s.addUser(), s.addUser(), s.addUser(), s.addUser(), s.addUser())
	rdb, err := queue.NewRedis(s.cfg.Redis)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = rdb.Close() })
	sandboxtest.Eventually(t, "tasks are in their states", func() bool {
		depths, err := inspect.Depths(context.Background(), rdb)
		return err == nil && depths[0].Active == 2 && depths[0].Pending == 3 && depths[0].Completed > 2 &&
			depths[0].Retry == 1
	})
	// Two of the finished tasks move into the states that ours never stay in for long.
	finished, err := rdb.ZRange(context.Background(), "asynq:{purge}:completed", 0, 1).Result()
	must(t, err)
	for i, state := range []string{"archived", "scheduled"} {
		must(t, rdb.ZRem(context.Background(), "asynq:{purge}:completed", finished[i]).Err())
		must(t, rdb.HSet(context.Background(), "asynq:{purge}:t:"+finished[i], "state", state).Err())
		at := float64(time.Now().Add(time.Hour).Unix())
		if state == "archived" {
			at = float64(time.Now().Unix())
		}
		must(t, rdb.ZAdd(context.Background(), "asynq:{purge}:"+state, redis.Z{Score: at, Member: finished[i]}).Err())
	}
	return worker.base(t)
}

// file is a certificate of a user of addUser.
func (s *site) file(user purge.UserID) string {
	return "downloads/" + s.id(int(user)*10) + "/Certificate.pdf"
}

func TestBrowserOverview(t *testing.T) {
	t.Parallel()
	base := everyState(t)
	v := browser.New(t, "viewer", "viewer")
	for _, look := range browser.Looks() {
		v.Look(look)
		v.Do("opening the overview", chromedp.Navigate(base+"/?refresh=off"), chromedp.WaitVisible(chromedp.CSS("#ended")))
		v.Screenshot("overview-" + look.Name)
		accessible(t, v)
		if wide := browser.Ask(v, "measuring",
			chromedp.Evaluate[int64]("document.documentElement.scrollWidth")); wide > look.Width {
			t.Errorf("%s: the page is %d wide, the screen %d", look.Name, wide, look.Width)
		}
	}
	sandboxtest.Eventually(t, "what is read in the background is there", func() bool {
		v.Do("opening it again", chromedp.Navigate(base+"/?refresh=off"), chromedp.WaitVisible(chromedp.CSS("#ended")))
		text := browser.Ask(v, "reading", chromedp.Text(chromedp.CSS("main")))
		return strings.Contains(text, "still have links") && strings.Contains(text, "Checked")
	})
	text := browser.Ask(v, "reading", chromedp.Text(chromedp.CSS("main")))
	for _, want := range []string{"held", "enqueuer requeue --reason held --execute", "retained", "certs", "purge"} {
		if !strings.Contains(text, want) {
			t.Errorf("the page lacks %q:\n%s", want, text)
		}
	}
	v.Screenshot("overview-later")
	// With the keyboard: the first stop is the way around the navigation.
	v.Do("pressing tab", chromedp.Navigate(base+"/?refresh=off"), chromedp.KeyEvent("\t"))
	if first := browser.Ask(v, "requesting the focus",
		chromedp.Evaluate[string]("document.activeElement.getAttribute('href')")); first != "#main" {
		t.Errorf("the first tab leads to %q", first)
	}
	clean(t, v, base)
}

// TestBrowserOverviewInTrouble checks a worker whose bucket is gone.
func TestBrowserOverviewInTrouble(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.withLogins()
	s.cfg.GCS.AttributesMaxAge = time.Second
	base := s.start().base(t)
	s.await(purge.Done, s.enqueue(s.addUser())...)
	later := s.addUser()
	must(t, s.bucket.RenameBucket("certs", "elsewhere"))
	s.enqueue(later)
	v := browser.New(t, "operator", "operator")
	for _, look := range browser.Looks() {
		v.Look(look)
		sandboxtest.Eventually(t, "the page says what is wrong", func() bool {
			v.Do("opening it again", chromedp.Navigate(base+"/?refresh=off"), chromedp.WaitVisible(chromedp.CSS("#ended")))
			text := browser.Ask(v, "reading", chromedp.Text(chromedp.CSS("main")))
			return strings.Contains(text, "This process is not ready: paused") &&
				strings.Contains(text, `there is no such bucket`)
		})
		v.Screenshot("trouble-" + look.Name)
		accessible(t, v)
		if wide := browser.Ask(v, "measuring",
			chromedp.Evaluate[int64]("document.documentElement.scrollWidth")); wide > look.Width {
			t.Errorf("%s: the page is %d wide, the screen %d", look.Name, wide, look.Width)
		}
	}
	clean(t, v, base)
}

func TestBrowserDashboard(t *testing.T) {
	t.Parallel()
	base := everyState(t)
	for _, name := range []string{"viewer", "operator"} {
		v := browser.New(t, name, name)
		for _, look := range browser.Looks() {
			if look.Name == "phone" { // a phone is another browser: this one remembers how wide the menu was
				clean(t, v, base, chartWarning)
				v = browser.New(t, name, name)
			}
			v.Look(look)
			v.Do("opening the dashboard", chromedp.Navigate(base+"/monitoring/"),
				chromedp.WaitVisible(chromedp.Search(`//*[text()="purge"]`)))
			v.Screenshot("dashboard-" + name + "-" + look.Name)
			if wide := browser.Ask(v, "measuring",
				chromedp.Evaluate[int64]("document.documentElement.scrollWidth")); wide > look.Width {
				t.Errorf("%s: the dashboard is %d wide, the screen %d", look.Name, wide, look.Width)
			}
		}
		v.Look(browser.Looks()[0])
		for _, state := range []string{"active", "pending", "scheduled", "retry", "archived", "completed"} {
			v.Do("opening "+state, chromedp.Navigate(base+"/monitoring/queues/purge?status="+state),
				chromedp.WaitVisible(chromedp.Search(`//*[contains(text(), "purge:")]`)))
			v.Screenshot("dashboard-" + name + "-" + state)
		}
		clean(t, v, base, chartWarning)
	}
}

// TestBrowserLoggedOut sees nothing, in any page.
func TestBrowserLoggedOut(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.withLogins()
	base := s.start().base(t)
	v := browser.New(t, "", "")
	for _, path := range []string{"/", "/monitoring/", "/metrics"} {
		status := browser.Ask(v, "requesting "+path, chromedp.Evaluate[string](fmt.Sprintf(
			"fetch(%q, {mode: 'no-cors'}).then(r => r.type + r.status, e => 'refused')", base+path), chromedp.EvalAwaitPromise))
		if strings.Contains(status, "200") {
			t.Errorf("%s: got %s", path, status)
		}
		v.Do("opening "+path, chromedp.Navigate(base+path), chromedp.WaitVisible(chromedp.CSS("body")))
		if text := browser.Ask(v, "reading", chromedp.Evaluate[string]("document.body.innerText")); strings.TrimSpace(
			text) != "Log in with a user of admin.users." {
			t.Errorf("%s: it shows %q", path, text)
		}
	}
	v.Screenshot("logged-out")
	v.Do("opening a probe", chromedp.Navigate(base+"/livez"))
	if text := browser.Ask(v, "reading", chromedp.Evaluate[string]("document.body.innerText")); strings.TrimSpace(
		text) != "ok" {
		t.Errorf("the probe says %q", text)
	}
}

// TestBrowserRefusesOtherSites has an operator, who is logged in, visit a page of another site that pauses a queue.
func TestBrowserRefusesOtherSites(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.withLogins()
	base := s.start().base(t)
	rdb, err := queue.NewRedis(s.cfg.Redis)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = rdb.Close() })
	paused := func() bool {
		depths, err := inspect.Depths(context.Background(), rdb)
		return err == nil && depths[0].Paused
	}
	evil := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = fmt.Fprintf(
			w,
			`<body onload="document.forms[0].submit()"><form method="post" action="%s/monitoring/api/queues/purge:pause"></form>`,
			base,
		)
	}))
	t.Cleanup(evil.Close)
	v := browser.New(t, "operator", "operator")
	v.Do("logging in", chromedp.Navigate(base+"/monitoring/"), chromedp.WaitVisible(chromedp.CSS("#root div")))
	// The same machine by another name is another site.
	v.Do("falling for it", chromedp.Navigate(strings.Replace(evil.URL, "127.0.0.1", "localhost", 1)))
	sandboxtest.Eventually(t, "the browser is told", func() bool {
		text, err := browser.Try(v, chromedp.Evaluate[string]("document.body ? document.body.innerText : ''"))
		return err == nil && strings.Contains(text, "Nothing was done")
	})
	if paused() {
		t.Error("the queue is paused")
	}
	v.Do("going back", chromedp.Navigate(base+"/monitoring/"), chromedp.WaitVisible(chromedp.CSS("#root div")))
	if status := browser.Ask(v, "pausing it from the page itself",
		chromedp.Evaluate[int]("fetch('/monitoring/api/queues/purge:pause', {method: 'POST'}).then(r => r.status)",
			chromedp.EvalAwaitPromise)); status != http.StatusNoContent || !paused() {
		t.Errorf("from the page itself: got %d, paused %v", status, paused())
	}
}
