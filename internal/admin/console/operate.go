package console

import (
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/certpurge/certpurge/internal/login"
	"github.com/certpurge/certpurge/internal/purge"
)

// operation is something that a visitor with the right operate may do. GET shows a page that says what will happen, and
// POST does it.
type operation struct {
	place string // the entry of the navigation
	ask   func(r *http.Request) (question, error)
	do    func(r *http.Request, by actor) (answer, error)
}

// question is what a visitor has to confirm before something is done.
type question struct {
	Title, Text, Button string
	List                []string
	Values              url.Values // that the form sends along
	Choices             []choice
	Ticket              bool   // whether the visitor may give one
	Back                string // the page to return to, without the base
}

// choice is a box that a visitor may tick.
type choice struct{ Name, Text string }

// answer is what was done.
type answer struct {
	Title, Text string
	List        []string
	Back        string
	Level       string // ok if it is empty
}

// actor is who does something: the ledger keeps it.
type actor struct {
	By     string // as purge.Reopening.By
	Ticket string
}

// errInput is wrapped by errors of what a visitor has sent.
var errInput = errors.New("nothing was done")

// errAddress is wrapped by errors of what the address of a page says.
var errAddress = errors.New("the address of this page cannot be read")

func badAddress(format string, args ...any) error {
	return fmt.Errorf("%w: %w", errAddress, fmt.Errorf(format, args...))
}

// isInput reports whether the visitor can put an error right.
func isInput(err error) bool { return errors.Is(err, errInput) || errors.Is(err, errAddress) }

func badInput(format string, args ...any) error {
	return fmt.Errorf("%w: %w", errInput, fmt.Errorf(format, args...))
}

// operate serves an operation below a path without the base. It is not there in a process that can change nothing.
func (c *Console) operate(path string, o operation) {
	if c.sources.Operations == nil {
		return
	}
	c.mux.HandleFunc("GET "+path, func(w http.ResponseWriter, r *http.Request) {
		if !c.mayOperate(w, r, o) {
			return
		}
		q, err := o.ask(r)
		if err != nil {
			c.refuse(w, r, o, err)
			return
		}
		c.show(w, r, http.StatusOK, "question", struct {
			frame

			Question question
			Token    string
		}{c.framed(r, o.place, q.Title), q, c.newToken(w)})
	})
	c.mux.HandleFunc("POST "+path, func(w http.ResponseWriter, r *http.Request) {
		if !c.mayOperate(w, r, o) || !c.spendToken(w, r, o) {
			return
		}
		by := actor{
			By:     "console, " + login.VisitorOf(r.Context()).Name,
			Ticket: strings.TrimSpace(r.PostForm.Get("own_ticket")),
		}
		if err := purge.CheckTicket(by.Ticket); err != nil {
			c.refuse(w, r, o, badInput("own_ticket: %w: %.100q", err, by.Ticket))
			return
		}
		a, err := o.do(r, by)
		if err != nil {
			c.refuse(w, r, o, err)
			return
		}
		c.log.WarnContext(r.Context(), "changed in the console", slog.String("by", by.By), slog.String("path", r.URL.Path),
			slog.String("done", a.Title))
		if a.Level == "" {
			a.Level = "ok"
		}
		c.showMessage(w, r, http.StatusOK, message{
			frame: c.framed(r, o.place, a.Title), Level: a.Level, Text: a.Text, List: a.List, Back: a.Back,
		})
	})
}

func (c *Console) mayOperate(w http.ResponseWriter, r *http.Request, o operation) bool {
	f := c.framed(r, o.place, "Not allowed")
	if !f.Operates {
		c.showMessage(w, r, http.StatusForbidden, message{frame: f, Level: "bad", Back: "/", Text: "Your login has the " +
			"right " + f.Visitor.Right.String() + "; this needs the right operate. Nothing was done."})
	}
	return f.Operates
}

func (c *Console) refuse(w http.ResponseWriter, r *http.Request, o operation, err error) {
	if !isInput(err) {
		c.fail(w, r, o.place, err)
		return
	}
	c.showMessage(w, r, http.StatusBadRequest, message{
		frame: c.framed(r, o.place, "This cannot be done"), Level: "bad", Text: err.Error(), Back: "/",
	})
}

// A token makes sure that a form is sent from a page of ours, and once. Half of it is in a cookie, so that any process
// that serves the pages can check it: operators may come through a proxy that shares their requests out.
const (
	tokenCookie = "certpurge-form-" //nolint:gosec // a name
	tokenLife   = 30 * time.Minute
	tokenName   = 8 // characters that name the cookie
)

func (c *Console) newToken(w http.ResponseWriter) string {
	token := rand.Text()
	http.SetCookie(w, c.cookie(token[:tokenName], token, int(tokenLife/time.Second)))
	return token
}

// spendToken reads the form and answers one whose token was not made for this browser, or was used before.
func (c *Console) spendToken(w http.ResponseWriter, r *http.Request, o operation) bool {
	if err := r.ParseForm(); err != nil {
		c.refuse(w, r, o, badInput("the form cannot be read: %w", err))
		return false
	}
	token := r.PostForm.Get("token")
	if len(token) > tokenName {
		kept, err := r.Cookie(tokenCookie + token[:tokenName])
		same := err == nil && subtle.ConstantTimeCompare([]byte(kept.Value), []byte(token)) == 1
		if same && c.tokens.spend(token, c.Now()) {
			http.SetCookie(w, c.cookie(token[:tokenName], "", -1))
			return true
		}
	}
	c.showMessage(w, r, http.StatusForbidden, message{
		frame: c.framed(r, o.place, "This form was sent before"), Level: "warn", Back: "/",
		Text: "It was sent before, or is too old, or the browser keeps no cookies. Nothing was done. Look how it stands, " +
			"and fill it in again if it is still needed.",
	})
	return false
}

// spentTokens are those of the last tokenLife that this process has seen. In another process only the browser knows
// that a token is spent.
type spentTokens struct {
	mu sync.Mutex
	at map[string]time.Time
}

// spend reports whether a token is new.
func (s *spentTokens) spend(token string, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for old, at := range s.at {
		if now.Sub(at) > tokenLife {
			delete(s.at, old)
		}
	}
	if _, spent := s.at[token]; spent {
		return false
	}
	if s.at == nil {
		s.at = map[string]time.Time{}
	}
	s.at[token] = now
	return true
}

func (c *Console) cookie(name, value string, age int) *http.Cookie {
	return &http.Cookie{ //nolint:gosec // a listener behind a proxy does not know whether browsers speak TLS
		Name: tokenCookie + name, Value: value, Path: c.about.Base + "/", MaxAge: age,
		HttpOnly: true, SameSite: http.SameSiteStrictMode,
	}
}
