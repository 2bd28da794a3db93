package login

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"golang.org/x/crypto/bcrypt"
)

// Gate lets visitors in. Make one with NewGate; it is safe for concurrent use.
type Gate struct {
	users Users
	proxy Proxy
	log   *slog.Logger

	compare func(hash, password []byte) error
	now     func() time.Time
	limits  *Limits
	checks  checks

	mu     sync.Mutex
	key    []byte
	passed map[[sha256.Size]byte]time.Time // logins that were right, until when they need not be checked again
}

// passTime is how long a login that was right is not checked again. It covers a working day, because a visitor who is
// known must never wait behind guesses; users and hashes do not change while the process runs.
const (
	passTime  = 12 * time.Hour
	maxPassed = 1_000
)

// NewGate makes a Gate. Without users and without a proxy it admits no visitor.
func NewGate(users Users, proxy Proxy, log *slog.Logger) *Gate {
	key := make([]byte, sha256.Size)
	_, _ = rand.Read(key) // never fails (crypto/rand)
	return &Gate{
		users: users, proxy: proxy, log: log, compare: bcrypt.CompareHashAndPassword, now: time.Now,
		limits: NewLimits(time.Now),
		key:    key, passed: map[[sha256.Size]byte]time.Time{},
	}
}

type visitorKey struct{}

// VisitorOf returns the visitor of a request that has come through Wrap; the zero value otherwise.
func VisitorOf(ctx context.Context) Visitor {
	v, _ := ctx.Value(visitorKey{}).(Visitor) // the zero value if there is none
	return v
}

// With returns a context whose visitor is v.
func With(ctx context.Context, v Visitor) context.Context {
	return context.WithValue(ctx, visitorKey{}, v)
}

// Wrap lets those through to next who may at least view, and answers the others: 401 asks for a password, 403 says that
// the proxy's user has no right, 429 that an address has failed too often or that too many passwords wait to be
// checked.
func (g *Gate) Wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		from, trusted := g.proxy.client(r)
		if v, named := g.proxy.visitor(r.Header); trusted && named {
			if v.Right < View {
				g.log.WarnContext(r.Context(), "login refused", slog.String("address", from.String()),
					slog.String("why", "no right by the proxy's groups"))
				http.Error(w, "Your login is not in a group that may check this (admin.proxy.view_groups).", http.StatusForbidden)
				return
			}
			next.ServeHTTP(w, r.WithContext(With(r.Context(), v)))
			return
		}
		if v, ok := g.password(w, r, from); ok {
			next.ServeHTTP(w, r.WithContext(With(r.Context(), v)))
		}
	})
}

// password requests name and password by HTTP's basic scheme.
func (g *Gate) password(w http.ResponseWriter, r *http.Request, from netip.Addr) (Visitor, bool) {
	name, password, given := r.BasicAuth()
	switch {
	case g.users.Empty():
		http.Error(w, "Come through the proxy that logs you in (admin.proxy); there are no passwords.", http.StatusForbidden)
		return Visitor{}, false
	case !given:
		challenge(w)
		return Visitor{}, false
	}
	id := g.fingerprint(name, password)
	if g.hasPassed(id) {
		return Visitor{Name: name, Right: g.users.named[name].right}, true
	}
	if g.mustWait(w, from) {
		return Visitor{}, false
	}
	leave, same, ok := g.checks.enter(r.Context(),
		&check{id: id, network: network(from), failures: g.limits.failures(from)})
	switch {
	case same && g.hasPassed(id):
		return Visitor{Name: name, Right: g.users.named[name].right}, true
	case same:
		challenge(w)
		return Visitor{}, false
	case !ok:
		refuse(w, time.Second, "Too many logins are being checked. Try again.")
		return Visitor{}, false
	}
	defer leave()
	right, ok := g.users.check(g.compare, name, password)
	if !ok {
		g.limits.Failed(from)
		g.log.WarnContext(r.Context(), "login failed", slog.String("address", from.String()),
			slog.String("user", g.known(name)))
		challenge(w)
		return Visitor{}, false
	}
	g.pass(id)
	g.log.InfoContext(r.Context(), "login", slog.String("address", from.String()), slog.String("user", name),
		slog.String("right", right.String()))
	return Visitor{Name: name, Right: right}, true
}

// mustWait answers an address that has failed too often.
func (g *Gate) mustWait(w http.ResponseWriter, from netip.Addr) bool {
	wait := g.limits.Wait(from)
	if wait > 0 {
		refuse(w, wait, "Too many failed logins from your address. Wait a little.")
	}
	return wait > 0
}

// refuse answers 429 and says when to try again.
func refuse(w http.ResponseWriter, wait time.Duration, sentence string) {
	w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(wait.Seconds()))))
	http.Error(w, sentence, http.StatusTooManyRequests)
}

// known is a name fit for the log. Passwords get typed into the wrong field.
func (g *Gate) known(name string) string {
	if _, ok := g.users.named[name]; ok {
		return name
	}
	return "(unknown)"
}

func challenge(w http.ResponseWriter) {
	w.Header().Set("WWW-Authenticate", `Basic realm="certpurge", charset="UTF-8"`)
	http.Error(w, "Log in with a user of admin.users.", http.StatusUnauthorized)
}

// fingerprint represents a name and a password in memory.
func (g *Gate) fingerprint(name, password string) (id [sha256.Size]byte) {
	mac := hmac.New(sha256.New, g.key)
	_, _ = fmt.Fprintf(mac, "%d:%s:%s", len(name), name, password) // a hash does not fail
	mac.Sum(id[:0])
	return id
}

func (g *Gate) hasPassed(id [sha256.Size]byte) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.now().Before(g.passed[id])
}

func (g *Gate) pass(id [sha256.Size]byte) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.passed) >= maxPassed {
		clear(g.passed) // they are checked once more
	}
	g.passed[id] = g.now().Add(passTime)
}
