package login

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
)

// desk is a gate under test, with a clock that stands still and a count of the comparisons.
type desk struct {
	gate     *Gate
	handler  http.Handler
	log      *bytes.Buffer
	now      time.Time
	compared int
}

const rightPassword = "alice's long password"

func newDesk(t *testing.T, proxy Proxy) *desk {
	t.Helper()
	d := &desk{log: &bytes.Buffer{}, now: time.Date(2026, 11, 1, 3, 0, 0, 0, time.UTC)}
	users := parse(t, "alice:operate:"+string(unknownHash(MinCost)))
	if len(proxy.Addresses) > 0 {
		users = Users{}
	}
	d.gate = NewGate(users, proxy, slog.New(slog.NewTextHandler(d.log, nil)))
	d.gate.now = func() time.Time { return d.now }
	d.gate.limits = NewLimits(d.gate.now)
	d.gate.compare = func(_, password []byte) error {
		d.compared++
		if string(password) != rightPassword {
			return errors.New("no")
		}
		return nil
	}
	d.handler = d.gate.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		v := VisitorOf(r.Context())
		_, _ = fmt.Fprintf(w, "%s may %s", v.Name, v.Right)
	}))
	return d
}

// ask sends a request from an address; name "" sends no login.
func (d *desk) ask(t *testing.T, from, name, password string, header ...string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", http.NoBody)
	r.RemoteAddr = from
	if name != "" {
		r.SetBasicAuth(name, password)
	}
	for pair := range slices.Chunk(header, 2) {
		r.Header.Add(pair[0], pair[1])
	}
	w := httptest.NewRecorder()
	d.handler.ServeHTTP(w, r)
	return w
}

func TestPasswordsAreAskedForAndRemembered(t *testing.T) {
	t.Parallel()
	d := newDesk(t, Proxy{})
	const here = "192.0.2.1:1234"
	if w := d.ask(t, here, "", ""); w.Code != http.StatusUnauthorized ||
		!strings.HasPrefix(w.Header().Get("WWW-Authenticate"), "Basic ") || d.compared != 0 {
		t.Errorf("without a login: got %d, %v", w.Code, w.Header())
	}
	if w := d.ask(t, here, "alice", "wrong"); w.Code != http.StatusUnauthorized {
		t.Errorf("a wrong password: got %d", w.Code)
	}
	if w := d.ask(t, here, "hunter2", "x"); w.Code != http.StatusUnauthorized {
		t.Errorf("an unknown user: got %d", w.Code)
	}
	d.compared = 0
	for range 3 {
		if w := d.ask(t, here, "alice", rightPassword); w.Code != http.StatusOK || w.Body.String() != "alice may operate" {
			t.Errorf("got %d %q", w.Code, w.Body)
		}
	}
	if d.compared != 1 {
		t.Errorf("got %d comparisons, want one: the dashboard asks every few seconds", d.compared)
	}
	d.now = d.now.Add(8 * time.Hour)
	d.ask(t, here, "alice", rightPassword)
	if d.compared != 1 {
		t.Error("a login is forgotten within a working day: it would wait behind guesses again")
	}
	d.now = d.now.Add(passTime - 8*time.Hour)
	d.ask(t, here, "alice", rightPassword)
	if d.compared != 2 {
		t.Error("a login is remembered for ever")
	}
	log := d.log.String()
	for _, want := range []string{
		`msg=login address=192.0.2.1 user=alice right=operate`,
		`msg="login failed" address=192.0.2.1 user=alice`, "user=(unknown)",
	} {
		if !strings.Contains(log, want) {
			t.Errorf("the log lacks %q:\n%s", want, log)
		}
	}
	for _, secret := range []string{rightPassword, "wrong", "hunter2"} {
		if strings.Contains(log, secret) {
			t.Errorf("the log holds %q:\n%s", secret, log)
		}
	}
}

// TestRememberedLoginsAreNotConfused shifts the border between name and password.
func TestRememberedLoginsAreNotConfused(t *testing.T) {
	t.Parallel()
	g := newDesk(t, Proxy{}).gate
	seen := map[[32]byte]bool{}
	for _, login := range [][2]string{
		{"alice", "x"},
		{"alic", "ex"},
		{"alice:", "x"},
		{"alice", ":x"},
		{"alice\x00", "x"},
		{"alice", "\x00x"},
		{"", "5:alicex"},
	} {
		id := g.fingerprint(login[0], login[1])
		if seen[id] {
			t.Errorf("%q is taken for another", login)
		}
		seen[id] = true
	}
}

func TestGuessingIsLimitedByAddress(t *testing.T) {
	t.Parallel()
	d := newDesk(t, Proxy{})
	const guesser = "192.0.2.1:1"
	for i := range failuresAtOnce {
		if w := d.ask(t, guesser, "alice", fmt.Sprint("guess ", i)); w.Code != http.StatusUnauthorized {
			t.Fatalf("guess %d: got %d", i, w.Code)
		}
	}
	d.compared = 0
	w := d.ask(t, "192.0.2.1:2", "alice", rightPassword)
	if w.Code != http.StatusTooManyRequests || d.compared != 0 || w.Header().Get("Retry-After") == "" {
		t.Errorf("got %d after %d comparisons, want 429 without one, also for the right password", w.Code, d.compared)
	}
	if w := d.ask(t, "192.0.2.2:1", "alice", rightPassword); w.Code != http.StatusOK {
		t.Errorf("another address: got %d", w.Code)
	}
	d.now = d.now.Add(failureEvery + time.Second)
	if w := d.ask(t, guesser, "alice", rightPassword); w.Code != http.StatusOK {
		t.Errorf("after waiting: got %d", w.Code)
	}
	for i := range failuresAtOnce { // a whole IPv6 network is one guesser
		d.ask(t, fmt.Sprintf("[2001:db8::%d]:1", i+1), "alice", "guess")
	}
	if d.gate.limits.Wait(netip.MustParseAddr("2001:db8::ffff")) == 0 {
		t.Error("neighbours in one IPv6 network are told apart")
	}
}

func TestLimitsForgetAndStayBounded(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	l := NewLimits(func() time.Time { return now })
	address := func(i int) netip.Addr {
		return netip.AddrFrom4([4]byte{
			10, byte(i >> 16), byte(i >> 8), //nolint:gosec // cut on purpose
			byte(i), //nolint:gosec // cut on purpose
		})
	}
	for i := range maxAddresses + 10 {
		l.Failed(address(i))
	}
	if len(l.addresses) != maxAddresses {
		t.Errorf("got %d addresses in mind, want %d", len(l.addresses), maxAddresses)
	}
	for range failuresAtOnce {
		l.Failed(address(maxAddresses + 20))
	}
	if l.Wait(address(maxAddresses+30)) == 0 {
		t.Error("addresses for which there is no room are not limited")
	}
	now = now.Add(failuresAtOnce * failureEvery)
	l.Failed(address(maxAddresses + 40))
	if len(l.addresses) != 1 {
		t.Errorf("got %d addresses in mind, want the newest only: the others have nothing to remember", len(l.addresses))
	}
}

func TestProxyIsBelievedFromItsAddressOnly(t *testing.T) {
	t.Parallel()
	addresses, err := ParseAddresses([]string{"10.0.0.5", "10.1.0.0/16"})
	if err != nil {
		t.Fatal(err)
	}
	proxy := Proxy{
		Addresses: addresses, UserHeader: "X-Forwarded-User", GroupsHeader: "X-Forwarded-Groups",
		ViewGroups: []string{"staff"}, OperateGroups: []string{"ops", "root"},
	}
	noGroups := proxy
	noGroups.ViewGroups = nil
	for name, tc := range map[string]struct {
		proxy  Proxy
		from   string
		header []string
		status int
		body   string
	}{
		"operator": {
			proxy, "10.0.0.5:1",
			[]string{"X-Forwarded-User", "alice", "X-Forwarded-Groups", "staff, ops"},
			200, "alice may operate",
		},
		"viewer, IPv6-mapped": {
			proxy, "[::ffff:10.1.2.3]:1",
			[]string{"X-Forwarded-User", "bob", "X-Forwarded-Groups", "x,staff"},
			200, "bob may view",
		},
		"no group":        {proxy, "10.0.0.5:1", []string{"X-Forwarded-User", "bob"}, 403, ""},
		"no group needed": {noGroups, "10.0.0.5:1", []string{"X-Forwarded-User", "bob"}, 200, "bob may view"},
		"not the proxy": {
			proxy, "10.0.0.6:1",
			[]string{"X-Forwarded-User", "bob", "X-Forwarded-Groups", "ops"},
			403, "",
		},
		"proxy without a user": {proxy, "10.0.0.5:1", []string{"X-Forwarded-Groups", "ops"}, 403, ""},
		"visitor's header beside": {
			proxy, "10.0.0.5:1",
			[]string{"X-Forwarded-User", "mallory", "X-Forwarded-User", "bob", "X-Forwarded-Groups", "ops"},
			403, "",
		},
		"groups twice": {
			proxy, "10.0.0.5:1",
			[]string{"X-Forwarded-User", "bob", "X-Forwarded-Groups", "ops", "X-Forwarded-Groups", "staff"},
			403, "",
		},
		"groups twice, no need": {
			noGroups, "10.0.0.5:1",
			[]string{"X-Forwarded-User", "bob", "X-Forwarded-Groups", "", "X-Forwarded-Groups", ""},
			403, "",
		},
		"names joined by a hop": {
			proxy, "10.0.0.5:1",
			[]string{"X-Forwarded-User", "mallory,bob", "X-Forwarded-Groups", "ops"},
			403, "",
		},
		"empty user": {noGroups, "10.0.0.5:1", []string{"X-Forwarded-User", " "}, 403, ""},
		"half a group's name": {
			proxy, "10.0.0.5:1",
			[]string{"X-Forwarded-User", "bob", "X-Forwarded-Groups", "op"},
			403,
			"",
		},
	} {
		w := newDesk(t, tc.proxy).ask(t, tc.from, "", "", tc.header...)
		if w.Code != tc.status || tc.status == 200 && w.Body.String() != tc.body {
			t.Errorf("%s: got %d %q, want %d %q", name, w.Code, w.Body, tc.status, tc.body)
		}
	}
}

// TestVisitorsOfTheProxyAreNotifiedApart limits guesses by the address that the proxy adds, not by one that a visitor
// invents.
func TestVisitorsOfTheProxyAreNotifiedApart(t *testing.T) {
	t.Parallel()
	d := newDesk(t, Proxy{})
	d.gate.proxy.Addresses = []netip.Prefix{netip.MustParsePrefix("10.0.0.5/32")}
	for i := range failuresAtOnce {
		d.ask(t, "10.0.0.5:1", "alice", "guess", "X-Forwarded-For", fmt.Sprintf("203.0.113.%d, 192.0.2.1", i))
	}
	if w := d.ask(t, "10.0.0.5:1", "alice", rightPassword, "X-Forwarded-For",
		"198.51.100.1, 192.0.2.1"); w.Code != http.StatusTooManyRequests {
		t.Errorf("the guesser: got %d", w.Code)
	}
	if w := d.ask(t, "10.0.0.5:1", "alice", rightPassword, "X-Forwarded-For",
		"192.0.2.1, 192.0.2.9"); w.Code != http.StatusOK {
		t.Errorf("another visitor: got %d", w.Code)
	}
}

func TestTheAddressComesFromTrustedHopsOnly(t *testing.T) {
	t.Parallel()
	addresses, err := ParseAddresses([]string{"10.0.0.0/8", "fd00::/8"})
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		from      string
		forwarded []string
		want      string
	}{
		"not the proxy":            {"192.0.2.7:1", []string{"203.0.113.1"}, "192.0.2.7"},
		"no header":                {"10.0.0.5:1", nil, "10.0.0.5"},
		"one hop":                  {"10.0.0.5:1", []string{"192.0.2.1"}, "192.0.2.1"},
		"invented before it":       {"10.0.0.5:1", []string{"203.0.113.1, 192.0.2.1"}, "192.0.2.1"},
		"two trusted hops":         {"10.0.0.5:1", []string{"203.0.113.1, 192.0.2.1, 10.0.0.9"}, "192.0.2.1"},
		"two trusted, two headers": {"10.0.0.5:1", []string{"203.0.113.1", "192.0.2.1, 10.0.0.9"}, "192.0.2.1"},
		"trusted hops only":        {"10.0.0.5:1", []string{"10.0.0.8, 10.0.0.9"}, "10.0.0.8"},
		"an invented hop of ours":  {"10.0.0.5:1", []string{"10.0.0.8, 192.0.2.1"}, "192.0.2.1"},
		"garbage last":             {"10.0.0.5:1", []string{"192.0.2.1, unknown"}, "10.0.0.5"},
		"garbage behind a hop":     {"10.0.0.5:1", []string{"192.0.2.1, unknown, 10.0.0.9"}, "10.0.0.9"},
		"empty entry":              {"10.0.0.5:1", []string{"192.0.2.1,"}, "10.0.0.5"},
		"IPv6":                     {"[fd00::5%eth0]:1", []string{"2001:db8::1, ::ffff:10.0.0.9"}, "2001:db8::1"},
	} {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", http.NoBody)
		r.RemoteAddr = tc.from
		for _, value := range tc.forwarded {
			r.Header.Add("X-Forwarded-For", value)
		}
		if got, _ := (Proxy{Addresses: addresses}).client(r); got.String() != tc.want {
			t.Errorf("%s: got %s, want %s", name, got, tc.want)
		}
	}
}

func TestIsLocal(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]bool{
		"localhost": true, "LOCALHOST:8081": true, "127.0.0.1": true, "127.9.9.9:1": true, "[::1]:8081": true, "::1": true,
		"[::1]": true,
		"":      false, ":8081": false, "0.0.0.0:1": false, "localhost.evil.example": false, "evil.example:8081": false,
		"10.0.0.1": false, "127.0.0.1.evil.example:80": false,
		// not addresses in Go: a name server decides
		"127.1": false, "2130706433": false, "0x7f.1:80": false, "0177.0.0.1": false,
	} {
		if got := IsLocal(address); got != want {
			t.Errorf("%q: got %v, want %v", address, got, want)
		}
	}
}
