package telemetry

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/certpurge/certpurge/internal/purge"
)

// Check tests whether one dependency can be used.
type Check struct {
	Name string
	Run  func(context.Context) error
}

// Health answers two probes: liveness, which depends on nothing else, and readiness.
type Health struct {
	checks []Check

	mu  sync.Mutex
	why string // not ready; empty if ready
}

// NewHealth makes a Health that is not ready yet.
func NewHealth(checks ...Check) *Health { return &Health{checks: checks, why: "starting"} }

// Ready says that the process works.
func (h *Health) Ready() { h.set("") }

// NotReady says that it does not, and why.
func (h *Health) NotReady(why string) { h.set(why) }

func (h *Health) set(why string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.why = why
}

// checkTimeout is how long one dependency may take to answer a readiness probe.
const checkTimeout = 2 * time.Second

// Handler serves /livez and /readyz as plain text: 200, or 503 with a line for each thing that is wrong.
func (h *Health) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { answer(w, nil) })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) { answer(w, h.Problems(r.Context())) })
	return mux
}

// Problems says why the process should get no work; nothing if it should.
func (h *Health) Problems(ctx context.Context) []string {
	h.mu.Lock()
	why := h.why
	h.mu.Unlock()
	var problems []string
	if why != "" {
		problems = append(problems, why)
	}
	// They run concurrently, so that a slow one does not make the next look broken.
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	errs := make([]error, len(h.checks))
	var wg sync.WaitGroup
	for i, c := range h.checks {
		wg.Go(func() { errs[i] = c.Run(ctx) })
	}
	wg.Wait()
	for i, err := range errs {
		if err != nil {
			problems = append(problems, fmt.Sprintf("%s: %v", h.checks[i].Name, err))
		}
	}
	return problems
}

func answer(w http.ResponseWriter, problems []string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	if len(problems) == 0 {
		_, _ = fmt.Fprintln(w, "ok")
		return
	}
	w.WriteHeader(http.StatusServiceUnavailable)
	_, _ = fmt.Fprintln(w, strings.Join(problems, "\n"))
}

// Waits between checks while something is wrong.
const (
	firstWait = time.Second
	lastWait  = 30 * time.Second
)

// Await repeats check until it passes, with growing waits in between, then sets the process ready and returns nil.
// Meanwhile the process is not ready, with the reason, and paused is called once with each new reason. An error that
// fatal accepts is returned. If ctx ends first, Await returns nil, and the process is not ready.
func (h *Health) Await(ctx context.Context, check func(context.Context) error, fatal func(error) bool,
	paused func(error),
) error {
	said := ""
	for wait := firstWait; ctx.Err() == nil; wait = min(2*wait, lastWait) {
		err := check(ctx)
		if err == nil {
			h.Ready()
			return nil
		}
		if fatal(err) {
			return err
		}
		if why := "paused: " + err.Error(); why != said && ctx.Err() == nil {
			said = why
			h.NotReady(why)
			paused(err)
		}
		purge.Sleep(ctx, wait)
	}
	return nil
}
