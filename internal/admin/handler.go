package admin

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/pprof"
	"strings"

	"github.com/certpurge/certpurge/internal/login"
	"github.com/certpurge/certpurge/internal/queue"
)

// Parts are what the listener shows. Those that are nil are not there.
type Parts struct {
	Probes  http.Handler // /livez and /readyz
	Metrics http.Handler // /metrics
	// Pages are those of the console. They see paths without the base.
	Pages http.Handler
	// Look and Operate are the dashboard at dashboardPath, for those who may only look and for those who may change
	// something. They see whole paths.
	Look, Operate http.Handler
	// Note writes down what an operator changes in the dashboard, before it is done; nil if it is only logged.
	Note func(ctx context.Context, by, what string) error
}

// Access says who sees the parts.
type Access struct {
	Users login.Users
	Proxy login.Proxy
	// BasePath is the path at which browsers find the pages, through a reverse proxy; empty or without a slash at its end.
	BasePath    string
	MetricsOpen bool // without a login
	Pprof       bool // whether profiles are served at all
}

// dashboardPath is where the dashboard is, below the base path.
const dashboardPath = "/monitoring"

// open reports whether no login is configured. Then every process on this machine has access.
func (a Access) open() bool { return a.Users.Empty() && len(a.Proxy.Addresses) == 0 }

// maxBody is far above what any page sends.
const maxBody = 64 << 10

// New makes the handler of the listener.
func New(parts Parts, access Access, log *slog.Logger) http.Handler {
	free := map[string]http.Handler{} // by path
	if parts.Probes != nil {
		free["/livez"], free["/readyz"] = parts.Probes, parts.Probes
	}
	closed := http.NewServeMux()
	if parts.Metrics != nil {
		if access.MetricsOpen {
			free["/metrics"] = parts.Metrics
		}
		closed.Handle("GET /metrics", parts.Metrics)
	}
	if parts.Look != nil && parts.Operate != nil {
		dashboard := addBase(access.BasePath, choose(parts, log))
		closed.Handle(dashboardPath+"/", dashboard)
		closed.Handle(dashboardPath, http.RedirectHandler(access.BasePath+dashboardPath+"/", http.StatusSeeOther))
	}
	if access.Pprof {
		closed.Handle("GET /debug/pprof", http.RedirectHandler(access.BasePath+"/debug/pprof/", http.StatusSeeOther))
		closed.Handle("GET /debug/pprof/", operators(access, http.HandlerFunc(pprof.Index)))
		closed.Handle("GET /debug/pprof/cmdline", operators(access, http.HandlerFunc(pprof.Cmdline)))
		closed.Handle("GET /debug/pprof/profile", operators(access, http.HandlerFunc(pprof.Profile)))
		closed.Handle("GET /debug/pprof/symbol", operators(access, http.HandlerFunc(pprof.Symbol)))
		closed.Handle("GET /debug/pprof/trace", operators(access, http.HandlerFunc(pprof.Trace)))
	}
	if parts.Pages != nil {
		closed.Handle("/", parts.Pages)
	}
	guarded := sameSite(access.gate(log)(oneForm(access.BasePath, closed)))
	return headers(strayed(http.MaxBytesHandler(cutBase(access.BasePath,
		http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if handler := free[r.URL.Path]; handler != nil {
				handler.ServeHTTP(w, r)
				return
			}
			guarded.ServeHTTP(w, r)
		})), maxBody)))
}

// Probes makes the handler of a listener that answers probes only, and metrics where those are open.
func Probes(parts Parts, access Access) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /livez", parts.Probes)
	mux.Handle("GET /readyz", parts.Probes)
	if parts.Metrics != nil && access.MetricsOpen {
		mux.Handle("GET /metrics", parts.Metrics)
	}
	return headers(strayed(mux))
}

// choose sends those who may change something to the one dashboard, all others to the other. Changes are written down
// and logged, without ids: those of tasks that are not ours may hold anything.
func choose(parts Parts, log *slog.Logger) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		visitor := login.VisitorOf(r.Context())
		next := parts.Look
		if visitor.Right >= login.Operate {
			next = parts.Operate
		}
		if r.Method == http.MethodGet || r.Method == http.MethodHead {
			next.ServeHTTP(w, r)
			return
		}
		if parts.Note != nil && visitor.Right >= login.Operate {
			// It continues: a queue must be paused also while MySQL is down.
			if err := parts.Note(r.Context(), "dashboard, "+visitor.Name, target(r.URL.Path)); err != nil {
				log.ErrorContext(r.Context(), "a change in the dashboard is in no ledger", slog.Any("error", err))
			}
		}
		answer := &statusWriter{ResponseWriter: w, status: http.StatusOK}
		next.ServeHTTP(answer, r)
		log.WarnContext(r.Context(), "change requested in the dashboard", slog.String("user", visitor.Name),
			slog.String("method", r.Method),
			slog.String("action", action(r.URL.Path)), slog.Int("status", answer.status))
	})
}

// action is what a path of the dashboard's API requests: the verb after the last colon.
func action(path string) string {
	if i := strings.LastIndexByte(path, ':'); i >= 0 && verbs[path[i+1:]] {
		return path[i+1:]
	}
	return "other"
}

// target is what a path of the dashboard's API requests, and of which queue.
func target(path string) string {
	for _, name := range queue.Queues() {
		if strings.Contains(path, "/queues/"+name+"/") || strings.Contains(path, "/queues/"+name+":") {
			return name + ": " + action(path)
		}
	}
	return action(path)
}

var verbs = map[string]bool{
	"pause": true, "resume": true, "cancel": true, "cancel_all": true, "batch_cancel": true, "delete_all": true,
	"batch_delete": true,
	"run":          true, "run_all": true, "batch_run": true, "archive": true, "archive_all": true, "batch_archive": true,
}

// operators lets those in who may operate; on a listener without a login, every visitor, because that is of this
// machine only.
func operators(access Access, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !access.open() && login.VisitorOf(r.Context()).Right < login.Operate {
			http.Error(w, "Profiles are for those who may operate.", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// statusWriter remembers the status of an answer.
type statusWriter struct {
	http.ResponseWriter

	status int
}

func (w *statusWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}
