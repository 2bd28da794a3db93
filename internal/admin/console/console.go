package console

import (
	"bytes"
	"context"
	"crypto/sha256"
	"embed"
	"fmt"
	"html/template"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/certpurge/certpurge/internal/login"
	"github.com/certpurge/certpurge/internal/mysql"
)

//go:embed *.html console.css console.js
var files embed.FS

// Console is the pages. Make one with New and Close it.
type Console struct {
	Now func() time.Time

	about   About
	sources Sources
	log     *slog.Logger
	mux     *http.ServeMux
	pages   map[string]*template.Template // by the name of their file
	assets  map[string]asset              // by the name of their file

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
	history  *cached[history]

	lastHistory history // of the latest reading; readings of one value follow one another
	samples     samples
	tokens      spentTokens
}

// About is what the pages say of the process.
type About struct {
	Title   string // the operator's name for this site and environment; may be empty
	Process string // worker, watch, serve
	Version string
	Base    string // path at which browsers find the pages; empty or without a slash at its end
}

// asset is a file that pages load. Its address changes with it.
type asset struct {
	kind, address string
	text          []byte
}

// New makes a Console. It reads nothing before the first visit.
func New(about About, sources Sources, log *slog.Logger) *Console {
	c := &Console{
		Now: time.Now, about: about, sources: sources, log: log, mux: http.NewServeMux(),
		pages: map[string]*template.Template{}, assets: map[string]asset{},
	}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	layout := template.Must(template.New("layout.html").Funcs(functions).ParseFS(files, "layout.html", "parts.html"))
	found, _ := files.ReadDir(".") // it is embedded, like what it names
	for _, f := range found {
		name := f.Name()
		if page, ok := strings.CutSuffix(name, ".html"); ok && page != "layout" && page != "parts" {
			c.pages[page] = template.Must(template.Must(layout.Clone()).ParseFS(files, name))
		}
	}
	for name, kind := range map[string]string{"console.css": "text/css", "console.js": "text/javascript"} {
		text, _ := files.ReadFile(name)
		c.assets[name] = asset{kind, fmt.Sprintf("%s/assets/%s?%.12x", about.Base, name, sha256.Sum256(text)), text}
	}
	const cheap, dear = 10 * time.Second, 5 * time.Minute
	c.tallies = &cached[[]mysql.Tally]{
		load: sources.Ledger.Tallies, life: 5 * time.Second, limit: time.Minute,
		waiting: 3 * time.Second,
	}
	c.ledger = &cached[ledger]{load: c.readLedger, life: 5 * time.Second, limit: cheap, waiting: 3 * time.Second}
	c.queues = &cached[queues]{load: c.readQueues, life: 2 * time.Second, limit: cheap, waiting: 3 * time.Second}
	c.dates = &cached[dates]{load: c.readDates, life: time.Minute, limit: time.Minute, waiting: 2 * time.Second}
	c.history = &cached[history]{load: c.readHistory, life: time.Minute, limit: dear, waiting: time.Second}
	c.coverage = &cached[[]Uncovered]{load: sources.Coverage, life: dear, limit: 30 * time.Minute}
	c.doctor = &cached[Diagnosis]{load: sources.Doctor, life: dear, limit: 10 * time.Minute}
	c.route()
	return c
}

// route says which page is where. Paths are without the base.
func (c *Console) route() {
	c.mux.HandleFunc("GET /{$}", c.serveOverview)
	c.mux.HandleFunc("GET /assets/{name}", c.serveAsset)
	c.mux.HandleFunc("GET /docs/{page...}", c.serveManual)
	c.operate("/queues/{queue}/resume", operation{"Overview", c.askResume, c.doResume})
	c.operate("/doctor/fix", operation{"Overview", c.askFix, c.doFix})
	if c.sources.Records != nil {
		c.routeRecords()
	}
}

// routeRecords says where the pages about single requests and users, and the lists of them, are.
func (c *Console) routeRecords() {
	c.mux.HandleFunc("GET /requests", c.serveRequests)
	c.mux.HandleFunc("GET /requests/export", c.serveExport)
	c.mux.HandleFunc("GET /requests/{id}", c.serveRequest)
	c.operate("/requests/requeue", operation{"Requests", c.askRequeue, c.doRequeue})
	c.mux.HandleFunc("GET /users/{id}", c.serveUser)
	c.operate("/users/{id}/purge", operation{"Requests", c.askPurge, c.doPurge})
	c.mux.HandleFunc("GET /coverage", c.serveCoverage)
	c.mux.HandleFunc("GET /inventory", c.serveInventory)
	if c.sources.Certificate != nil {
		c.mux.HandleFunc("GET /users/{id}/certificate", c.serveCertificate)
	}
}

// Close ends what is being read, and waits for it.
func (c *Console) Close() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.cancel()
	c.under.Wait()
}

// begin reports whether something may still be read in the background; end must be called after it.
func (c *Console) begin() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed {
		c.under.Add(1)
	}
	return !c.closed
}

func (c *Console) end() { c.under.Done() }

// ServeHTTP serves all pages. It sees paths without the base.
func (c *Console) ServeHTTP(w http.ResponseWriter, r *http.Request) { c.mux.ServeHTTP(w, r) }

func (c *Console) serveAsset(w http.ResponseWriter, r *http.Request) {
	a, ok := c.assets[r.PathValue("name")]
	if !ok {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", a.kind+"; charset=utf-8")
	w.Header().Set("Cache-Control", "private, max-age=86400")
	_, _ = w.Write(a.text) // the client has gone
}

// frame is what every page has around its content. A page's data embeds it.
type frame struct {
	About         About
	Place         string // the entry of the navigation that the page belongs to
	Title         string
	Style, Script string
	Now           time.Time
	Visitor       login.Visitor
	Operates      bool // the visitor may change something, and this process can
	Finds         bool // there are pages of requests
	Refresh       bool // the page loads itself again
}

// place is an entry of the navigation.
type place struct{ Name, Path string }

var places = []place{
	{"Overview", "/"},
	{"Requests", "/requests"},
	{"Coverage", "/coverage"},
	{"Inventory", "/inventory"},
	{"Queues", "/monitoring/"},
	{"Runbooks", "/docs/operations/"},
}

// framed begins the data of a page.
func (c *Console) framed(r *http.Request, place, title string) frame {
	visitor := login.VisitorOf(r.Context())
	return frame{
		About: c.about, Place: place, Title: title, Style: c.assets["console.css"].address,
		Script: c.assets["console.js"].address, Now: c.Now().UTC(), Visitor: visitor,
		Operates: c.sources.Operations != nil && visitor.Right >= login.Operate, Finds: c.sources.Records != nil,
	}
}

// policy is the Content-Security-Policy of the pages: nothing from elsewhere, nothing inline, forms to the console.
const policy = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self' data:; " +
	"base-uri 'none'; form-action 'self'; frame-ancestors 'none'"

// show writes a page. data is a struct that embeds frame.
func (c *Console) show(w http.ResponseWriter, r *http.Request, status int, page string, data any) {
	var text bytes.Buffer
	if err := c.pages[page].ExecuteTemplate(&text, "layout.html", data); err != nil {
		c.log.ErrorContext(r.Context(), "making a page failed", slog.String("page", page), slog.Any("error", err))
		http.Error(w, "The page could not be made; the log says why.", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", policy)
	w.WriteHeader(status)
	_, _ = w.Write(text.Bytes()) // the client has gone
}

// message is a page that says one thing.
type message struct {
	frame

	Level string // ok, warn or bad
	Text  string
	List  []string
	Back  string // the page to return to, without the base
}

// showMessage shows a message.
func (c *Console) showMessage(w http.ResponseWriter, r *http.Request, status int, m message) {
	c.show(w, r, status, "message", m)
}

// fail shows that something could not be read or done, with the error's text, which names no person.
func (c *Console) fail(w http.ResponseWriter, r *http.Request, place string, err error) {
	c.log.ErrorContext(r.Context(), "a page failed", slog.String("path", r.URL.Path), slog.Any("error", err))
	c.showMessage(w, r, http.StatusServiceUnavailable, message{
		frame: c.framed(r, place, "This cannot be shown now"), Level: "bad", Text: err.Error(), Back: "/",
	})
}
