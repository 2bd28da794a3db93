package overview

import (
	"bytes"
	"context"
	"crypto/sha256"
	"embed"
	"fmt"
	"html/template"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/certpurge/certpurge/internal/login"
	"github.com/certpurge/certpurge/internal/mysql"
	"github.com/certpurge/certpurge/internal/queue/inspect"
	"github.com/certpurge/certpurge/internal/queue/presence"
)

//go:embed page.html overview.css
var files embed.FS

// Page is the overview. Make one with New and Close it.
type Page struct {
	Now func() time.Time

	about    About
	sources  Sources
	log      *slog.Logger
	template *template.Template
	style    []byte
	tag      string // of the style: changes with it

	ctx    context.Context //nolint:containedctx // of background readings, which outlive a visit
	cancel context.CancelFunc
	mu     sync.Mutex
	closed bool
	under  sync.WaitGroup

	tallies  *cached[[]mysql.Tally] // apart from the rest of the ledger, because they take longest
	ledger   *cached[ledger]
	queues   *cached[queues]
	coverage *cached[[]Uncovered]
	doctor   *cached[Diagnosis]
	dates    *cached[dates]
}

// About is what the page says of the process.
type About struct {
	Process string // worker, watch, serve
	Version string
	Base    string // path at which browsers find the pages; empty or without a slash at its end
}

// New makes a Page. It reads nothing before the first visit.
func New(about About, sources Sources, log *slog.Logger) *Page {
	p := &Page{Now: time.Now, about: about, sources: sources, log: log}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	p.template = template.Must(template.New("page.html").Funcs(functions).ParseFS(files, "page.html"))
	p.style, _ = files.ReadFile("overview.css") // it is embedded
	p.tag = fmt.Sprintf("%x", sha256.Sum256(p.style))[:12]
	const cheap, dear = 10 * time.Second, 5 * time.Minute
	p.tallies = &cached[[]mysql.Tally]{
		load: sources.Ledger.Tallies, life: 5 * time.Second, limit: time.Minute,
		waiting: 3 * time.Second,
	}
	p.ledger = &cached[ledger]{load: p.readLedger, life: 5 * time.Second, limit: cheap, waiting: 3 * time.Second}
	p.queues = &cached[queues]{load: p.readQueues, life: 2 * time.Second, limit: cheap, waiting: 3 * time.Second}
	p.dates = &cached[dates]{load: p.readDates, life: time.Minute, limit: time.Minute, waiting: 2 * time.Second}
	p.coverage = &cached[[]Uncovered]{load: sources.Coverage, life: dear, limit: 30 * time.Minute}
	p.doctor = &cached[Diagnosis]{load: sources.Doctor, life: dear, limit: 10 * time.Minute}
	return p
}

// Close ends what is being read, and waits for it.
func (p *Page) Close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.cancel()
	p.under.Wait()
}

// begin reports whether something may still be read in the background; end must be called after it.
func (p *Page) begin() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.closed {
		p.under.Add(1)
	}
	return !p.closed
}

func (p *Page) end() { p.under.Done() }

// ledger, queues and dates are what is read together.
type (
	ledger struct {
		progress mysql.Progress
		oldest   []mysql.Oldest
	}
	queues struct {
		depths  []inspect.Depth
		workers []presence.Worker
		broken  error
		policy  string // of eviction; empty if Redis does not tell
	}
	dates struct{ Retained, Recoverable mysql.Dates }
)

func (p *Page) readLedger(ctx context.Context) (l ledger, err error) {
	if l.progress, err = p.sources.Ledger.Progress(ctx); err != nil {
		return l, err
	}
	l.oldest, err = p.sources.Ledger.Oldest(ctx)
	return l, err
}

func (p *Page) readQueues(ctx context.Context) (q queues, err error) {
	if q.depths, err = p.sources.Queues.Backlog(ctx); err != nil {
		return q, err
	}
	q.broken, q.policy = p.sources.Queues.Statistics(ctx), p.sources.Queues.EvictionPolicy(ctx)
	q.workers, err = p.sources.Queues.Workers(ctx)
	return q, err
}

func (p *Page) readDates(ctx context.Context) (d dates, err error) {
	if d.Retained, err = p.sources.Ledger.Retained(ctx); err != nil {
		return d, err
	}
	d.Recoverable, err = p.sources.Ledger.Recoverable(ctx)
	return d, err
}

// ServeHTTP serves the page at /, and its style.
func (p *Page) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		http.Error(w, "This page can only be read.", http.StatusMethodNotAllowed)
	case r.URL.Path == "/":
		p.serve(w, r)
	case r.URL.Path == "/assets/overview.css":
		w.Header().Set("Content-Type", "text/css; charset=utf-8")
		w.Header().Set("Cache-Control", "private, max-age=86400") // its address changes with it
		_, _ = w.Write(p.style)                                   // the client has gone; there is no one to tell
	default:
		http.NotFound(w, r)
	}
}

func (p *Page) serve(w http.ResponseWriter, r *http.Request) {
	view := p.look(r.Context())
	view.Refresh = r.URL.Query().Get("refresh") != "off"
	view.Visitor = login.VisitorOf(r.Context())
	var page bytes.Buffer
	if err := p.template.Execute(&page, view); err != nil {
		p.log.ErrorContext(r.Context(), "making the overview failed", slog.Any("error", err))
		http.Error(w, "The page could not be made; the log says why.", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = w.Write(page.Bytes()) // the client has gone; there is no one to tell
}
