package admin

import (
	"log/slog"
	"net/http"
	"path"
	"strings"

	"github.com/certpurge/certpurge/internal/login"
)

// gate is what a request must pass that is no probe.
func (a Access) gate(log *slog.Logger) func(http.Handler) http.Handler {
	if !a.open() {
		return login.NewGate(a.Users, a.Proxy, log).Wrap
	}
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			// Another name in the URL means a proxy that opens this page to others, or a site that has its name point here.
			if !login.IsLocal(r.Host) {
				http.Error(w, "No login is configured, so this page is for visitors from this machine, by the name localhost (see "+
					"admin.users).", http.StatusForbidden)
				return
			}
			next.ServeHTTP(w, r.WithContext(login.With(r.Context(), login.Visitor{Right: login.View})))
		})
	}
}

// sameSite refuses what another site's page asks a visitor's browser to do: every change, and every read but following
// a link to a page. Requests that no browser makes carry no such headers.
func sameSite(next http.Handler) http.Handler {
	protection := http.NewCrossOriginProtection()
	refusal := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "Another site's page requested this. Nothing was done.", http.StatusForbidden)
	})
	protection.SetDenyHandler(refusal)
	return protection.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.Header.Get("Sec-Fetch-Site") {
		case "", "same-origin", "none":
		default:
			if r.Header.Get("Sec-Fetch-Mode") != "navigate" || r.Header.Get("Sec-Fetch-Dest") != "document" {
				refusal.ServeHTTP(w, r)
				return
			}
		}
		next.ServeHTTP(w, r)
	}))
}

// strayed refuses a retirement driver whose base URL names this listener instead of serve.listen: it would take a 404
// for a learner who is gone, and complete the retirement without a purge.
func strayed(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost && strings.Contains(r.URL.Path, "/retire") {
			http.Error(w, "This is the admin listener; the retirement driver belongs to serve.listen.", http.StatusBadRequest)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// headers are those of every answer. A handler may replace the policy by one that fits its page.
func headers(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; img-src 'self' data:; base-uri 'none'; "+
			"form-action 'none'; frame-ancestors 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "same-origin")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=()")
		h.Set("Cache-Control", "no-store")
		next.ServeHTTP(w, r)
	})
}

// cutBase takes the base path off, if a proxy has left it on.
func cutBase(base string, next http.Handler) http.Handler {
	if base == "" {
		return next
	}
	cut := http.StripPrefix(base, next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == base:
			http.Redirect(w, r, base+"/", http.StatusSeeOther)
		case strings.HasPrefix(r.URL.Path, base+"/"):
			cut.ServeHTTP(w, r)
		default:
			next.ServeHTTP(w, r)
		}
	})
}

// oneForm redirects to the one form of a path, below the base path. The mux would do that too, but it does not know of
// the base path: browsers would leave the pages.
func oneForm(base string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		given := r.URL.EscapedPath()
		to := path.Clean("/" + given)
		if strings.HasSuffix(given, "/") && to != "/" {
			to += "/"
		}
		if to == given {
			next.ServeHTTP(w, r)
			return
		}
		if to != base && !strings.HasPrefix(to, base+"/") {
			to = base + to
		}
		if r.URL.RawQuery != "" {
			to += "?" + r.URL.RawQuery
		}
		http.Redirect(w, r, to, //nolint:gosec // a cleaned path of this listener: it begins with one slash
			http.StatusTemporaryRedirect)
	})
}

// addBase puts it on again, for a handler that writes it into its page.
func addBase(base string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		whole, target := *r, *r.URL
		target.Path = base + target.Path
		if target.RawPath != "" {
			target.RawPath = base + target.RawPath
		}
		whole.URL = &target
		next.ServeHTTP(w, &whole)
	})
}
