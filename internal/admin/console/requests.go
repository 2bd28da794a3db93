package console

import (
	"context"
	"html/template"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/certpurge/certpurge/internal/cli"
	"github.com/certpurge/certpurge/internal/mysql"
	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/queue"
)

// What one visit of the list may read.
const (
	pageSize   = 50
	maxCounted = 10_000 // requests that are counted
	maxChecked = 20_000 // rows that are checked
)

// list is the page of requests.
type list struct {
	frame

	Filter  filter
	Rows    []mysql.Request
	Figures []figure
	Sum     int64
	Exact   bool // the figures are of all that the filter chooses
	Counted bool // there are figures
	Checked int
	Next    template.URL // the query of the next page; empty if there is none
	Further bool         // this is not the first page
	Cut     bool         // fewer rows than a page holds, and there may be more
	CanAll  bool         // requests of this filter can be queued again
	Command string       // that does the same

	States  []purge.State
	Reasons []purge.Reason
	Sources []purge.Source
	Queues  []string
}

// figure is a number of requests, and the query that lists them.
type figure struct {
	mysql.Tally

	Query template.URL
}

func (c *Console) serveRequests(w http.ResponseWriter, r *http.Request) {
	if q := strings.TrimSpace(r.URL.Query().Get("q")); q != "" {
		c.serveFound(w, r, q)
		return
	}
	f, err := parseFilter(r.URL.Query())
	if err != nil {
		c.reject(w, r, err)
		return
	}
	page := list{
		frame: c.framed(r, "Requests", "Requests"), Filter: f, Further: f.after.ID != 0,
		States: purge.States(), Reasons: purge.Reasons(), Sources: purge.Sources(), Queues: queue.Queues(),
	}
	bounds := mysql.Bounds{Page: pageSize, Count: maxCounted, Check: maxChecked}
	if f.search.Ticket != "" {
		bounds.Check /= 2 // each row is checked up in the events, too
	}
	if f.Plain() || page.Further {
		bounds.Count = 0
	}
	hits, err := c.sources.Records.Search(r.Context(), f.search, f.after, bounds)
	if err != nil {
		c.fail(w, r, "Requests", err)
		return
	}
	page.Rows, page.Checked = hits.Requests, hits.Checked
	if hits.Next != nil {
		page.Next = f.Query(position(*hits.Next)...)
		page.Cut = len(hits.Requests) < pageSize
	}
	counts, exact := hits.Counts, hits.Whole
	if f.Plain() {
		counts, exact = c.cachedCounts(r.Context(), f.search)
	}
	if !page.Further {
		page.addFigures(counts, exact)
	}
	page.CanAll = f.search.State == "" || f.search.State == purge.Failed || f.search.State == purge.Refused
	page.Command = requeueCommand(f)
	c.show(w, r, http.StatusOK, "requests", page)
}

// cachedCounts are the figures of a filter by state and reason; nil if they could not be read yet.
func (c *Console) cachedCounts(ctx context.Context, s mysql.Search) (chosen []mysql.Tally, exact bool) {
	all := c.tallies.get(ctx, c)
	if !all.Known() {
		return nil, false
	}
	chosen = []mysql.Tally{}
	for _, t := range all.Value {
		if (s.State == "" || t.State == s.State) && (s.Reason == "" || t.Reason == s.Reason) {
			chosen = append(chosen, t)
		}
	}
	return chosen, true
}

func (l *list) addFigures(counts []mysql.Tally, exact bool) {
	l.Counted, l.Exact = counts != nil, exact
	for _, t := range counts {
		l.Sum += t.Count
		more := []string{"state", string(t.State)}
		if t.Reason != "" {
			more = append(more, "reason", string(t.Reason))
		}
		l.Figures = append(l.Figures, figure{Tally: t, Query: l.Filter.Query(more...)})
	}
}

// rows are requests as a table shows them, with boxes to choose them or without.
type rows struct {
	Rows   []mysql.Request
	Base   string
	Choose bool
}

func newRows(all []mysql.Request, base string, choose bool) rows { return rows{all, base, choose} }

// requeueable reports whether a request can be queued again.
func requeueable(r mysql.Request) bool { return r.State == purge.Failed || r.State == purge.Refused }

// requeueCommand is the command that queues the requests of a filter again, for those who may not, or not here. Of what
// commands cannot choose, the ids have to be given.
func requeueCommand(f filter) string {
	command := "enqueuer requeue"
	for key := range f.Values {
		if key != "state" && key != "reason" && key != "user" {
			return command + " REQUEST_ID..."
		}
	}
	if reason := f.search.Reason; reason != "" {
		command += " --reason " + string(reason)
	}
	if user := f.search.User; user != 0 {
		command += " --user " + strconv.FormatInt(int64(user), 10)
	}
	if command == "enqueuer requeue" {
		command += " --all"
	}
	return command + " --execute"
}

// serveFound leads from what a person typed to the request or the user.
func (c *Console) serveFound(w http.ResponseWriter, r *http.Request, q string) {
	if strings.Trim(q, "0123456789") == "" {
		c.serveNumber(w, r, q)
		return
	}
	if key, err := purge.CallerKey("", q); err == nil { // a command's; those of callers need their name
		hits, err := c.sources.Records.Search(r.Context(), mysql.Search{Key: key}, mysql.Position{}, mysql.Bounds{Page: 1})
		if err != nil {
			c.fail(w, r, "Requests", err)
			return
		}
		if len(hits.Requests) == 1 {
			c.redirect(w, r, "/requests/"+id(hits.Requests[0].ID))
			return
		}
	}
	c.redirect(w, r, "/requests?"+url.Values{"ticket": {q}}.Encode())
}

func (c *Console) serveNumber(w http.ResponseWriter, r *http.Request, q string) {
	var request, user bool
	if n, err := parseRequestID(q); err == nil {
		rows, err := c.sources.Records.Requests(r.Context(), []purge.RequestID{n})
		if err != nil {
			c.fail(w, r, "Requests", err)
			return
		}
		request = len(rows) > 0
	}
	if n, err := purge.ParseUserID(q); err == nil {
		known, err := c.knownUser(r.Context(), n)
		if err != nil {
			c.fail(w, r, "Requests", err)
			return
		}
		user = known
	}
	switch {
	case request && user:
		c.show(w, r, http.StatusOK, "choose", struct {
			frame

			Number string
		}{c.framed(r, "Requests", "Request or user "+q), q})
	case request:
		c.redirect(w, r, "/requests/"+q)
	case user:
		c.redirect(w, r, "/users/"+q)
	default:
		c.notFound(w, r, "There is no request and no user "+q+".")
	}
}

// redirect sends a browser to another page; to is without the base.
func (c *Console) redirect(w http.ResponseWriter, r *http.Request, to string) {
	http.Redirect(w, r, c.about.Base+to, //nolint:gosec // to is a path of ours, with what was typed in its query
		http.StatusSeeOther)
}

func (c *Console) notFound(w http.ResponseWriter, r *http.Request, text string) {
	c.showMessage(w, r, http.StatusNotFound, message{
		frame: c.framed(r, "Requests", "Not found"), Level: "warn", Text: text, Back: "/requests",
	})
}

// reject shows an error: one of what the visitor has sent, or another.
func (c *Console) reject(w http.ResponseWriter, r *http.Request, err error) {
	if !isInput(err) {
		c.fail(w, r, "Requests", err)
		return
	}
	c.showMessage(w, r, http.StatusBadRequest, message{
		frame: c.framed(r, "Requests", "This cannot be read"), Level: "warn", Text: err.Error(), Back: "/requests",
	})
}

// exportPause is how long a client may take for one page of an export.
const exportPause = time.Minute

// serveExport writes all requests of a filter as they are read.
func (c *Console) serveExport(w http.ResponseWriter, r *http.Request) {
	f, err := parseFilter(r.URL.Query())
	if err != nil {
		c.reject(w, r, err)
		return
	}
	format, kind := cli.Format(r.URL.Query().Get("format")), "text/csv"
	switch format {
	case "csv":
	case "json":
		kind = "application/json"
	default:
		c.reject(w, r, badAddress("format: expected csv or json"))
		return
	}
	w.Header().Set("Content-Type", kind+"; charset=utf-8")
	w.Header().Set("Content-Disposition", `attachment; filename="requests.`+string(format)+`"`)
	control := http.NewResponseController(w)
	out := cli.NewRequestList(w, format)
	err = c.sources.Records.EachFound(r.Context(), f.search, func(page []mysql.Request) error {
		_ = control.SetWriteDeadline(time.Now().Add(exportPause)) // it cannot be moved in a test without a server
		return out.Add(page)
	})
	if err == nil {
		err = out.Close()
	}
	if err != nil { // what was sent must not look whole
		c.log.WarnContext(r.Context(), "an export was cut", slog.Any("error", err))
		panic(http.ErrAbortHandler)
	}
}
