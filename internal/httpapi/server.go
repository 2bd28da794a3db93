package httpapi

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"path"
	"strings"
	"time"

	"github.com/certpurge/certpurge/internal/config"
	"github.com/certpurge/certpurge/internal/httpapi/auth"
	"github.com/certpurge/certpurge/internal/login"
	"github.com/certpurge/certpurge/internal/mysql"
	"github.com/certpurge/certpurge/internal/purge"
)

// Intake accepts submissions. Many calls come at the same time.
type Intake interface {
	// Accept is that of purge.Intake.
	Accept(ctx context.Context, submissions []purge.Submission) ([]purge.Accepted, error)
}

// Ledger is what is read of requests, and how ended ones are opened again.
type Ledger interface {
	Requests(ctx context.Context, ids []purge.RequestID) ([]mysql.Request, error)
	RequestsAfter(ctx context.Context, f mysql.Filter, after purge.RequestID, limit int) ([]mysql.Request, error)
	EachEvidence(ctx context.Context, f mysql.EvidenceFilter, do func(mysql.EvidenceRecord) error) error
	Reopen(ctx context.Context, ids []purge.RequestID, r purge.Reopening) (int, error)
	// SameBody remembers the fingerprint of the first body that came with a key, and reports whether this one is the same,
	// and whether all of it has been accepted.
	SameBody(ctx context.Context, key string, fingerprint [32]byte) (same, accepted bool, err error)
	// BodyAccepted says that all that came with a key has been accepted.
	BodyAccepted(ctx context.Context, key string) error
	// ForgetBody forgets what came with a key of which nothing was accepted.
	ForgetBody(ctx context.Context, key string) error
}

// Users finds users in the LMS database.
type Users interface {
	UnknownUsers(ctx context.Context, ids []purge.UserID) ([]purge.UserID, error)
	UserByOriginalName(ctx context.Context, name string) (purge.UserID, error)
	// OriginalName returns the name in the retirement row of a user; empty if there is no row.
	OriginalName(ctx context.Context, user purge.UserID) (string, error)
}

// Restorer puts tasks of open requests back into the queue.
type Restorer interface {
	Restore(ctx context.Context, open []purge.OpenRequest) error
}

// Authenticator says who is calling.
type Authenticator interface {
	Authenticate(r *http.Request) (auth.Caller, error)
}

// Limiter holds callers to their rates.
type Limiter interface {
	// Take returns how long the caller has to wait; 0 for not at all.
	Take(c auth.Caller) time.Duration
}

// Server answers both faces. Its fields are set before Handler is called.
type Server struct {
	config.Serve

	Intake   Intake // of the queue for single requests
	Backfill Intake // of the queue for bulk
	Ledger   Ledger
	Users    Users
	Queue    Restorer
	Auth     Authenticator
	Limiter  Limiter
	Log      *slog.Logger

	follower follower
	pending  pendingRequests
	held     *holds
	refusals *login.Limits
	stopping context.Context //nolint:containedctx // ends when the answers that wait have to go
	stop     context.CancelFunc
}

// Stop answers all requests that are held back, and every later one at once.
func (s *Server) Stop() { s.stop() }

// Handler returns the routes. It never redirects: the driver would follow with a GET that has no body.
func (s *Server) Handler() http.Handler {
	s.follower.ledger = s.Ledger
	s.held, s.refusals = newHolds(s.MaxHeld), login.NewLimits(time.Now)
	s.stopping, s.stop = context.WithCancel(context.Background())
	mux := http.NewServeMux()
	for pattern, handler := range s.routes() {
		mux.HandleFunc(pattern, handler)
	}
	s.addDocs(mux)
	return s.guard(s.route(mux))
}

// routes lists all that openapi.yaml describes. The paths have no slash at the end; with one they are found all the
// same.
func (s *Server) routes() map[string]http.HandlerFunc {
	routes := map[string]http.HandlerFunc{
		"POST /v1/requests":              s.allowed(auth.Enqueue, faceNative, s.create),
		"GET /v1/requests":               s.allowed(auth.Read, faceNative, s.list),
		"GET /v1/requests/{id}":          s.allowed(auth.Read, faceNative, s.show),
		"POST /v1/requests/{id}/requeue": s.allowed(auth.Requeue, faceNative, s.requeue),
		"GET /v1/users/{id}/evidence":    s.allowed(auth.Read, faceNative, s.evidence),
	}
	for path := range driverPaths {
		routes["POST "+path] = s.allowed(auth.Enqueue, faceDriver, s.retire)
	}
	return routes
}

// route brings paths into the one form that the mux knows, so that it has no reason to redirect, and answers for paths
// that it does not know.
func (s *Server) route(mux *http.ServeMux) http.Handler {
	return answered(func(w http.ResponseWriter, r *http.Request) *problem {
		rest, ok := strings.CutPrefix(r.URL.Path, s.PathPrefix)
		if !ok || rest != "" && rest[0] != '/' {
			return unknownPath()
		}
		given, own := r, *r.URL
		own.Path, own.RawPath = path.Clean("/"+rest), ""
		r = r.Clone(r.Context())
		r.URL = &own
		if _, pattern := mux.Handler(r); pattern != "" {
			given.Pattern = pattern // the middleware before this one names the request by it
			if answered, ok := w.(*recorder); ok {
				answered.route = pattern
			}
			mux.ServeHTTP(w, r)
			return nil
		}
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			if _, pattern := mux.Handler(&http.Request{Method: method, Host: r.Host, URL: r.URL}); pattern != "" {
				w.Header().Set("Allow", method)
				return newProblem(http.StatusMethodNotAllowed, "method_not_allowed", "this path wants %s", method)
			}
		}
		return unknownPath()
	})
}

// unknownPath is no 404, with any method: the driver takes a 404 for a learner who is gone, and it follows a
// proxy's redirect with a GET. A mistyped base URL must not complete retirements.
func unknownPath() *problem {
	return newProblem(http.StatusBadRequest, "unknown_path", "there is nothing at this path: check the base URL and "+
		"serve.path_prefix")
}

// guard turns a panic into an answer, and writes one line of log for each request.
func (s *Server) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		begun, answered := time.Now(), &recorder{ResponseWriter: w}
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		defer func() {
			failure := recover()
			if failure != nil && !answered.began &&
				failure != http.ErrAbortHandler { //nolint:errorlint // recover gives back what was thrown
				newProblem(http.StatusServiceUnavailable, "internal", "something unexpected happened: see the log").write(answered)
			}
			s.logRequest(r, answered, time.Since(begun), failure)
			if failure != nil && answered.status != http.StatusServiceUnavailable {
				panic(http.ErrAbortHandler) // an answer that was cut must look like one
			}
		}()
		next.ServeHTTP(answered, r)
	})
}

// logRequest names the route, never the path: clients write names into paths.
func (s *Server) logRequest(r *http.Request, answered *recorder, took time.Duration, failure any) {
	route := cmp.Or(answered.route, "(unknown)")
	level, attrs := slog.LevelInfo, []slog.Attr{
		slog.String("method", r.Method), slog.String("route", route), slog.Int("status", answered.status),
		slog.Int64("took_ms", took.Milliseconds()),
		slog.String("address", login.Remote(r).String()),
	}
	if answered.face != "" {
		attrs = append(attrs, slog.String("face", string(answered.face)))
	}
	if answered.caller.Name != "" {
		attrs = append(attrs, slog.String("caller", answered.caller.Name),
			slog.String("caller_kind", string(answered.caller.Kind)))
		if answered.caller.Client != "" {
			attrs = append(attrs, slog.String("client", answered.caller.Client))
		}
	}
	if answered.code != "" { // the driver records no bodies: this is where an operator finds what a 401 or 409 was about
		attrs = append(attrs, slog.String("code", answered.code))
	}
	if answered.request != 0 {
		attrs = append(attrs, slog.Int64("request_id", answered.request))
	}
	if failure != nil && !errors.Is(asError(failure), http.ErrAbortHandler) {
		level, attrs = slog.LevelError, append(attrs, slog.Any("panic", failure), slog.String("stack", purge.Stack()))
	}
	s.Log.LogAttrs(r.Context(), level, "request answered", attrs...)
}

func asError(v any) error {
	err, _ := v.(error)
	return err
}

// recorder remembers what was answered.
type recorder struct {
	http.ResponseWriter

	route   string // the pattern that matched
	status  int
	code    string // of a problem
	request int64  // that a problem is about
	began   bool
	face    face        // of a route that asks who is calling
	caller  auth.Caller // zero if the credentials were refused
}

// WriteHeader implements http.ResponseWriter.
func (r *recorder) WriteHeader(status int) {
	r.status, r.began = status, true
	r.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (r *recorder) Write(data []byte) (int, error) {
	if !r.began {
		r.WriteHeader(http.StatusOK)
	}
	return r.ResponseWriter.Write(data)
}

// Unwrap lets http.ResponseController reach the connection.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }
