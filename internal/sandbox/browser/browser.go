// Package browser drives a headless Chromium through the admin pages, for tests, and keeps what a developer would read
// in its console.
package browser

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	downloads "github.com/chromedp/cdproto/browser"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/fetch"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
)

// Visitor is a browser of its own, with nothing remembered.
type Visitor struct {
	t   *testing.T
	ctx context.Context // of the tab

	mu       sync.Mutex
	problems []string
	hosts    map[string]bool
}

// patience is how long all that a visitor does may take. Machines that run tests are slow at times.
const patience = 4 * time.Minute

// New starts a browser that logs in with name and password where a page asks for it; with an empty name it presses
// Cancel there.
func New(t *testing.T, name, password string) *Visitor {
	t.Helper()
	options := append(slices.Clone(chromedp.DefaultExecAllocatorOptions[:]),
		chromedp.NoSandbox, // as root there is none
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true),
		chromedp.Flag("disable-sync", true),
		chromedp.UserDataDir(t.TempDir()),
	)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	ctx, stop := chromedp.NewExecAllocator(ctx, options...)
	ctx, closeTab := chromedp.NewContext(ctx)
	v := &Visitor{t: t, ctx: ctx, hosts: map[string]bool{}}
	var listening sync.WaitGroup
	t.Cleanup(func() { closeTab(); stop(); cancel(); listening.Wait() })
	if err := chromedp.Do(ctx, call(network.Enable, network.EnableParams{})); err != nil {
		t.Fatalf("starting Chromium (make browser installs it): %v", err)
	}
	messages, requests := chromedp.Console(ctx), chromedp.Events(ctx, network.RequestWillBeSent)
	listening.Go(func() {
		for m, err := range messages {
			if err == nil && (m.Type == "error" || m.Type == "warning" || m.IsException()) {
				v.add(fmt.Sprintf("%s: %s (%s)", m.Type, m.Text, m.URL))
			}
		}
	})
	listening.Go(func() {
		for e, err := range requests {
			if err == nil {
				v.sent(e.Request.URL)
			}
		}
	})
	v.logIn(&listening, name, password)
	return v
}

// logIn answers every question for a password.
func (v *Visitor) logIn(listening *sync.WaitGroup, name, password string) {
	v.t.Helper()
	paused, questions := chromedp.Events(v.ctx, fetch.RequestPaused), chromedp.Events(v.ctx, fetch.AuthRequired)
	listening.Go(func() {
		for e, err := range paused {
			if err == nil {
				// fails once the tab is closed
				_, _ = chromedp.Call(v.ctx, fetch.ContinueRequest, fetch.ContinueRequestParams{RequestID: e.RequestID})
			}
		}
	})
	listening.Go(func() {
		for e, err := range questions {
			if err == nil {
				answer := fetch.AuthChallengeResponse{Response: fetch.AuthChallengeResponseResponseCancelAuth}
				if name != "" {
					answer = fetch.AuthChallengeResponse{
						Response: fetch.AuthChallengeResponseResponseProvideCredentials,
						Username: name, Password: password,
					}
				}
				_, _ = chromedp.Call(v.ctx, fetch.ContinueWithAuth,
					fetch.ContinueWithAuthParams{RequestID: e.RequestID, AuthChallengeResponse: &answer})
			}
		}
	})
	yes := true
	v.Do("waiting for questions", call(fetch.Enable, fetch.EnableParams{HandleAuthRequests: &yes}))
}

// call makes an action of a command that answers nothing.
func call[P any](command cdp.Command[P, cdp.Empty], params P) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, _ *chromedp.Target) error {
		_, err := chromedp.Call(ctx, command, params)
		return err
	})
}

func (v *Visitor) add(problem string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.problems = append(v.problems, problem)
}

func (v *Visitor) sent(address string) {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" { // data: and the like
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.hosts[u.Host] = true
}

// Do does things in the tab.
func (v *Visitor) Do(what string, actions ...chromedp.Action[chromedp.Void]) {
	v.t.Helper()
	if err := chromedp.Do(v.ctx, actions...); err != nil {
		v.t.Fatalf("%s: %v (console: %q)", what, err, v.Problems())
	}
}

// Ask runs an action and returns its answer.
func Ask[T any](v *Visitor, what string, action chromedp.Action[T]) T {
	v.t.Helper()
	answer, err := chromedp.Run(v.ctx, action)
	if err != nil {
		v.t.Fatalf("%s: %v (console: %q)", what, err, v.Problems())
	}
	return answer
}

// Try runs an action that may fail because the page is just going to another.
func Try[T any](v *Visitor, action chromedp.Action[T]) (T, error) { return chromedp.Run(v.ctx, action) }

// Problems returns the warnings and errors of the console since the last call, and forgets them.
func (v *Visitor) Problems() []string {
	v.mu.Lock()
	defer v.mu.Unlock()
	problems := v.problems
	v.problems = nil
	return problems
}

// Hosts returns the hosts that were asked for anything, in order.
func (v *Visitor) Hosts() []string {
	v.mu.Lock()
	defer v.mu.Unlock()
	var hosts []string
	for h := range v.hosts {
		hosts = append(hosts, h)
	}
	slices.Sort(hosts)
	return hosts
}

// Look is how a page is looked at.
type Look struct {
	Name          string
	Width, Height int64
	Dark          bool
}

// Looks are a desk by day and by night, and a phone.
func Looks() []Look {
	return []Look{{"light", 1280, 900, false}, {"dark", 1280, 900, true}, {"phone", 390, 844, false}}
}

// Look makes the tab look like that from now on.
func (v *Visitor) Look(l Look) {
	v.t.Helper()
	scheme := "light"
	if l.Dark {
		scheme = "dark"
	}
	v.Do("changing the look", chromedp.EmulateViewport(l.Width, l.Height), call(emulation.SetEmulatedMedia,
		emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}}))
}

// Paper makes the tab look as it does in print.
func (v *Visitor) Paper() {
	v.t.Helper()
	v.Do("changing to paper", call(emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Media: "print"}))
}

// DownloadsTo keeps downloads in a directory, by their names.
func (v *Visitor) DownloadsTo(dir string) {
	v.t.Helper()
	v.Do("allowing downloads", call(downloads.SetDownloadBehavior, downloads.SetDownloadBehaviorParams{
		Behavior: downloads.SetDownloadBehaviorBehaviorAllow, DownloadPath: dir,
	}))
}

// NoScripts switches the scripts of pages off. What a test evaluates runs all the same.
func (v *Visitor) NoScripts() {
	v.t.Helper()
	v.Do("switching scripts off", call(emulation.SetScriptExecutionDisabled,
		emulation.SetScriptExecutionDisabledParams{Value: true}))
}

// Screenshot writes a picture of the whole page into the directory that CERTPURGE_TEST_SCREENSHOTS names, if it is set.
func (v *Visitor) Screenshot(name string) {
	v.t.Helper()
	dir := os.Getenv("CERTPURGE_TEST_SCREENSHOTS")
	if dir == "" {
		return
	}
	picture := Ask(v, "taking a picture", chromedp.FullScreenshot(100))
	path := filepath.Join(dir, name+".png")
	if err := os.WriteFile(path, picture, 0o600); err != nil { //nolint:gosec // the caller's directory
		v.t.Fatal(err)
	}
}

// Violation is a rule of axe-core that a page breaks.
type Violation struct {
	ID     string   `json:"id"`
	Help   string   `json:"help"`
	Places []string `json:"places"` // the elements, as HTML
}

// Violations checks the page for barriers to people with disabilities, with the script of axe-core that
// CERTPURGE_TEST_AXE names (make browser sets it).
func (v *Visitor) Violations() []Violation {
	v.t.Helper()
	script, err := os.ReadFile(os.Getenv("CERTPURGE_TEST_AXE")) //nolint:gosec // the file that make browser names
	if err != nil {
		v.t.Fatalf("reading axe-core, which make browser gets: %v", err)
	}
	return Ask(v, "running axe-core", chromedp.Evaluate[[]Violation](string(script)+
		`; axe.run().then(r => r.violations.map(v => ({id: v.id, help: v.help, places: v.nodes.map(n => n.html)})))`,
		chromedp.EvalAwaitPromise))
}
