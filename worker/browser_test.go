//go:build browser

package main

import (
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/certpurge/certpurge/internal/sandbox/browser"
)

// clean fails the test if the console has shown anything, or if another host was asked.
func clean(t *testing.T, v *browser.Visitor, base string) {
	t.Helper()
	if problems := v.Problems(); len(problems) > 0 {
		t.Errorf("the console shows:\n%s", strings.Join(problems, "\n"))
	}
	for _, host := range v.Hosts() {
		if "http://"+host != base {
			t.Errorf("%s was asked for something", host)
		}
	}
}

func TestBrowserDashboard(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.withLogins()
	base := s.start().base(t)
	s.await("done", s.enqueue(s.addUser(), s.addUser())...)
	for _, name := range []string{"viewer", "operator"} {
		v := browser.New(t, name, name)
		for _, look := range browser.Looks() {
			v.Look(look)
			v.Do("opening the dashboard", chromedp.Navigate(base+"/monitoring/"), chromedp.WaitVisible(`//*[text()="purge"]`))
			v.Screenshot("dashboard-" + name + "-" + look.Name)
		}
		v.Do("opening completed tasks", chromedp.Navigate(base+"/monitoring/queues/purge?status=completed"), chromedp.WaitVisible(`//*[contains(text(), "certificates:purge")]`))
		v.Screenshot("dashboard-tasks-" + name)
		clean(t, v, base)
	}
}
