package admin_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/certpurge/certpurge/internal/admin"
	"github.com/certpurge/certpurge/internal/login"
)

// say answers with a word and the path that arrived.
func say(word string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = fmt.Fprint(w, word, " ", r.URL.Path) //nolint:gosec // no browser reads it
	})
}

func parts() admin.Parts {
	return admin.Parts{
		Probes: say("probe"), Metrics: say("metrics"), Pages: say("overview"), Look: say("look"),
		Operate: say("operate"),
	}
}

const (
	viewer   = "viewer"
	operator = "operator"
)

// withLogin is an access for the users viewer and operator, whose passwords are their names.
func withLogin(t *testing.T) admin.Access {
	t.Helper()
	// Made beforehand: under the race detector it takes seconds.
	entries := []string{
		"viewer:view:$2a$10$v86lFexHRiCo3oe53uuzmeIWLqlwPQ6FAeLSjhP3uCqMT.JZbzmii",
		"operator:operate:$2a$10$sCOb7X4ry9FmieXXvL2Xn.isQ6OinKyl.ATeMA/UizVEfbKwyLGIO",
	}
	users, err := login.ParseUsers(strings.Join(entries, "\n"))
	if err != nil {
		t.Fatal(err)
	}
	return admin.Access{Users: users}
}

// ask sends a request to a host; user "" sends no login. header is a list of names and values.
func ask(t *testing.T, handler http.Handler, method, url, user string, header ...string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, url, http.NoBody)
	if user != "" {
		r.SetBasicAuth(user, user)
	}
	for pair := range slices.Chunk(header, 2) {
		r.Header.Set(pair[0], pair[1])
	}
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, r)
	return w
}

func TestWhoSeesWhat(t *testing.T) {
	t.Parallel()
	access := withLogin(t)
	handlers := map[string]http.Handler{}
	for name, change := range map[string]func(*admin.Access){
		"plain": func(*admin.Access) {}, "open metrics": func(a *admin.Access) { a.MetricsOpen = true },
		"profiles": func(a *admin.Access) { a.Pprof = true },
	} {
		changed := access
		change(&changed)
		handlers[name] = admin.New(parts(), changed, slog.New(slog.DiscardHandler))
	}
	for name, tc := range map[string]struct {
		access string
		url    string
		want   map[string]string // by user: the answer or a status
	}{
		"probe":           {"plain", "/livez", map[string]string{"": "probe /livez", viewer: "probe /livez"}},
		"readiness":       {"plain", "/readyz", map[string]string{"": "probe /readyz"}},
		"metrics":         {"plain", "/metrics", map[string]string{"": "401", viewer: "metrics /metrics"}},
		"metrics for all": {"open metrics", "/metrics", map[string]string{"": "metrics /metrics"}},
		"overview":        {"plain", "/", map[string]string{"": "401", viewer: "overview /", operator: "overview /"}},
		"style":           {"plain", "/assets/x.css", map[string]string{"": "401", viewer: "overview /assets/x.css"}},
		"dashboard": {
			"plain", "/monitoring/api/queues",
			map[string]string{"": "401", viewer: "look /monitoring/api/queues", operator: "operate /monitoring/api/queues"},
		},
		"no slash": {"plain", "/monitoring", map[string]string{"": "401", viewer: "303"}},
		"profiles": {
			"profiles", "/debug/pprof/cmdline",
			map[string]string{"": "401", viewer: "403", operator: "admin.test"},
		},
		"profiles are off":  {"plain", "/debug/pprof/cmdline", map[string]string{operator: "overview /debug/pprof/cmdline"}},
		"probe in disguise": {"plain", "//livez", map[string]string{"": "401"}},
	} {
		for user, want := range tc.want {
			handler := handlers[tc.access]
			w := ask(t, handler, http.MethodGet, "http://admin.example"+tc.url, user)
			if got := strconv.Itoa(w.Code); got != want && !strings.Contains(w.Body.String(), want) {
				t.Errorf("%s, user %q: got %d %q, want %s", name, user, w.Code, w.Body, want)
			}
		}
	}
}

func TestWithoutALoginOnlyThisMachineMayLook(t *testing.T) {
	t.Parallel()
	handler := admin.New(parts(), admin.Access{Pprof: true}, slog.New(slog.DiscardHandler))
	for url, want := range map[string]string{
		"http://127.0.0.1:8081/":                     "overview /",
		"http://localhost:8081/monitoring/api/x":     "look /monitoring/api/x",
		"http://[::1]:8081/metrics":                  "metrics /metrics",
		"http://localhost:8081/debug/pprof/cmdline":  "admin.test",
		"http://rebound.evil.example:8081/":          "403",
		"http://rebound.evil.example:8081/metrics":   "403",
		"http://rebound.evil.example:8081/livez":     "probe /livez",
		"http://rebound.evil.example/debug/pprof/":   "403",
		"http://rebound.evil.example/monitoring/api": "403",
	} {
		w := ask(t, handler, http.MethodGet, url, "")
		if got := strconv.Itoa(w.Code); got != want && !strings.Contains(w.Body.String(), want) {
			t.Errorf("%s: got %d %q, want %s", url, w.Code, w.Body, want)
		}
	}
}

func TestOtherSitesAreRefused(t *testing.T) {
	t.Parallel()
	handler := admin.New(parts(), withLogin(t), slog.New(slog.DiscardHandler))
	const pause, page = "http://admin.example/monitoring/api/queues/purge:pause",
		"http://admin.example/monitoring/api/queues"
	for name, tc := range map[string]struct {
		method, url string
		header      []string
		want        int
	}{
		"the page itself": {http.MethodPost, pause, []string{"Sec-Fetch-Site", "same-origin"}, 200},
		"curl":            {http.MethodPost, pause, nil, 200},
		"another site": {
			http.MethodPost, pause,
			[]string{"Sec-Fetch-Site", "cross-site", "Origin", "http://evil.example"},
			403,
		},
		"another site, old browser": {http.MethodPost, pause, []string{"Origin", "http://evil.example"}, 403},
		"a neighbour": {
			http.MethodPost, pause,
			[]string{"Sec-Fetch-Site", "same-site", "Origin", "http://other.example"},
			403,
		},
		"a sandboxed frame": {http.MethodPost, pause, []string{"Origin", "null"}, 403},
		"another site's form, as GET": {
			http.MethodGet, page,
			[]string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "no-cors", "Sec-Fetch-Dest", "image"},
			403,
		},
		"another site's frame": {
			http.MethodGet, page,
			[]string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "iframe"},
			403,
		},
		"another site's script": {
			http.MethodGet, page,
			[]string{"Sec-Fetch-Site", "same-site", "Sec-Fetch-Mode", "cors", "Sec-Fetch-Dest", "empty"},
			403,
		},
		"a link on another site": {
			http.MethodGet, "http://admin.example/",
			[]string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document"},
			200,
		},
		"the address typed": {
			http.MethodGet, "http://admin.example/",
			[]string{"Sec-Fetch-Site", "none", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document"},
			200,
		},
		"a probe, without a login": {
			http.MethodGet, "http://admin.example/livez",
			[]string{"Sec-Fetch-Site", "cross-site"},
			200,
		},
	} {
		if w := ask(t, handler, tc.method, tc.url, operator, tc.header...); w.Code != tc.want {
			t.Errorf("%s: got %d %q, want %d", name, w.Code, w.Body, tc.want)
		}
	}
}

func TestEveryAnswerHasSecurityHeaders(t *testing.T) {
	t.Parallel()
	handler := admin.New(parts(), withLogin(t), slog.New(slog.DiscardHandler))
	for _, path := range []string{"/livez", "/", "/monitoring/", "/metrics", "/nowhere"} {
		for _, user := range []string{"", viewer} {
			h := ask(t, handler, http.MethodGet, "http://admin.example"+path, user).Header()
			for name, want := range map[string]string{
				"X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Cross-Origin-Resource-Policy": "same-origin",
				"Cache-Control": "no-store", "Referrer-Policy": "same-origin",
			} {
				if got := h.Get(name); got != want {
					t.Errorf("%s: %s: got %q, want %q", path, name, got, want)
				}
			}
			if policy := h.Get("Content-Security-Policy"); !strings.HasPrefix(policy, "default-src 'none';") ||
				strings.Contains(policy, "http") || strings.Contains(policy, "unsafe") {
				t.Errorf("%s: got policy %q", path, policy)
			}
		}
	}
}

func TestBehindAProxyBelowAPath(t *testing.T) {
	t.Parallel()
	access := withLogin(t)
	access.BasePath = "/ops/certpurge"
	handler := admin.New(parts(), access, slog.New(slog.DiscardHandler))
	for path, want := range map[string]string{
		"/ops/certpurge/":                      "overview /", // the proxy leaves the path on
		"/":                                    "overview /", // the proxy cuts it off
		"/ops/certpurge/livez":                 "probe /livez",
		"/livez":                               "probe /livez",
		"/ops/certpurge/monitoring/api/queues": "look /ops/certpurge/monitoring/api/queues",
		"/monitoring/api/queues":               "look /ops/certpurge/monitoring/api/queues",
		"/monitoring/queues/purge/tasks/purge%3A": "look /ops/certpurge/monitoring/queues/purge/tasks/purge:",
	} {
		if w := ask(t, handler, http.MethodGet, "http://admin.example"+path, viewer); w.Body.String() != want {
			t.Errorf("%s: got %d %q, want %q", path, w.Code, w.Body, want)
		}
	}
	for _, path := range []string{"/ops/certpurge", "/ops/certpurge/monitoring", "/monitoring"} {
		w := ask(t, handler, http.MethodGet, "http://admin.example"+path, viewer)
		if to := w.Header().Get("Location"); w.Code != http.StatusSeeOther || !strings.HasPrefix(to, "/ops/certpurge/") ||
			!strings.HasSuffix(to, "/") {
			t.Errorf("%s: got %d to %q", path, w.Code, to)
		}
	}
}

// The mux redirects paths that are not in the one form it knows, and a subtree without its slash.
func TestRedirectsStayBelowTheBasePath(t *testing.T) {
	t.Parallel()
	for _, base := range []string{"", "/ops/certpurge"} {
		access := withLogin(t)
		access.BasePath, access.Pprof = base, true
		handler := admin.New(parts(), access, slog.New(slog.DiscardHandler))
		for given, want := range map[string]string{
			"//":                                 "/",
			"//monitoring/queues":                "/monitoring/queues",
			"/monitoring//queues/":               "/monitoring/queues/",
			"/monitoring/./x/../queues?a=b%2F&c": "/monitoring/queues?a=b%2F&c",
			"//evil.example/x":                   "/evil.example/x",
			"/..//evil.example":                  "/evil.example",
			"/monitoring//%2F%2Fevil":            "/monitoring/%2F%2Fevil",
			"/debug/pprof":                       "/debug/pprof/",
			"/monitoring":                        "/monitoring/",
		} {
			for _, prefix := range []string{"", base} { // the proxy cuts the base path off, or leaves it on
				w := ask(t, handler, http.MethodGet, "http://admin.example"+prefix+given, operator)
				if got := w.Header().Get("Location"); w.Code < 300 || w.Code > 399 || got != base+want {
					t.Errorf("base path %q, %s: got %d to %q, want %q", base, prefix+given, w.Code, got, base+want)
				}
			}
		}
		w := ask(t, handler, http.MethodGet, "http://admin.example/"+base+"/monitoring/queues", operator)
		if got := w.Header().Get("Location"); base != "" && got != base+"/monitoring/queues" {
			t.Errorf("a slash before the base path: got %d to %q", w.Code, got)
		}
		if w := ask(t, handler, http.MethodGet, "http://admin.example//monitoring/queues",
			""); w.Code != http.StatusUnauthorized {
			t.Errorf("base path %q, without a login: got %d", base, w.Code)
		}
	}
}

func TestChangesAreLoggedWithoutIds(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	handler := admin.New(parts(), withLogin(t), slog.New(slog.NewTextHandler(&log, nil)))
	ask(t, handler, http.MethodPost, "http://a.example/monitoring/api/queues/purge:pause", operator)
	ask(t, handler, http.MethodDelete, "http://a.example/monitoring/api/queues/purge/pending_tasks/jane.doe@x.example",
		operator)
	ask(t, handler, http.MethodGet, "http://a.example/monitoring/api/queues", operator)
	if got := log.String(); strings.Count(got, "change requested") != 2 ||
		!strings.Contains(got, "user=operator method=POST action=pause status=200") || strings.Contains(got, "jane") {
		t.Errorf("got\n%s", got)
	}
}

func TestProbesAlone(t *testing.T) {
	t.Parallel()
	for _, open := range []bool{false, true} {
		access := withLogin(t)
		access.MetricsOpen = open
		handler := admin.Probes(parts(), access)
		for path, want := range map[string]int{
			"/livez": 200, "/readyz": 200, "/": 404, "/monitoring/": 404,
			"/metrics": map[bool]int{true: 200, false: 404}[open],
		} {
			if w := ask(t, handler, http.MethodGet, "http://a.example"+path, operator); w.Code != want {
				t.Errorf("%s: got %d, want %d", path, w.Code, want)
			}
		}
	}
}

// TestChangesInTheDashboardAreWrittenDown also has the ledger away: then they are made and logged all the same.
func TestChangesInTheDashboardAreWrittenDown(t *testing.T) {
	t.Parallel()
	var noted []string
	var away error
	var log strings.Builder
	handlers := parts()
	handlers.Note = func(_ context.Context, by, what string) error {
		noted = append(noted, by+" "+what)
		return away
	}
	handler := admin.New(handlers, withLogin(t), slog.New(slog.NewTextHandler(&log, nil)))
	const queues = "http://admin.example/monitoring/api/queues"
	for _, tc := range []struct{ method, url, user, want string }{
		{http.MethodPost, queues + "/purge:pause", operator, "dashboard, operator purge: pause"},
		{http.MethodPost, queues + "/backfill/retry_tasks:run_all", operator, "dashboard, operator backfill: run_all"},
		{http.MethodDelete, queues + "/purge/archived_tasks/purge:42", operator, "dashboard, operator purge: other"},
		{http.MethodPost, queues + "/learner-name:pause", operator, "dashboard, operator pause"},
		{http.MethodGet, queues + "/purge", operator, ""},
		{http.MethodPost, queues + "/purge:pause", viewer, ""},
		{http.MethodPost, queues + "/purge:pause", "", ""},
	} {
		noted = nil
		ask(t, handler, tc.method, tc.url, tc.user)
		if got := strings.Join(noted, ", "); got != tc.want {
			t.Errorf("%s %s by %q: noted %q, want %q", tc.method, tc.url, tc.user, got, tc.want)
		}
	}
	away = errors.New("MySQL is away")
	if w := ask(t, handler, http.MethodPost, queues+"/purge:pause", operator); !strings.Contains(w.Body.String(), "operate") ||
		!strings.Contains(log.String(), "in no ledger") {
		t.Errorf("with the ledger away: got %d %s, log %s", w.Code, w.Body, log.String())
	}
}
