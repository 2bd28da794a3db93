package dashboard

import (
	"bytes"
	"crypto/rand"
	"html"
	"net/http"
	"regexp"
	"strings"
)

// page serves what is not the API: the dashboard's files, and its one page for every other path.
func (d *Dashboard) page(w http.ResponseWriter, r *http.Request, next http.Handler, path string) {
	if isFile(path) {
		if strings.HasSuffix(path, ".map") {
			http.NotFound(w, r) // six megabytes of source maps
			return
		}
		w.Header().Set("Cache-Control", "private, max-age=86400") // their names change with their content
		next.ServeHTTP(w, r)
		return
	}
	page := recorder{header: http.Header{}, status: http.StatusOK}
	next.ServeHTTP(&page, r)
	if page.status != http.StatusOK {
		http.Error(w, "The dashboard's page could not be made.", http.StatusInternalServerError)
		return
	}
	nonce := rand.Text()
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", "default-src 'none'; script-src 'nonce-"+nonce+"'; style-src 'nonce-"+nonce+
		"'; img-src 'self' data:; "+
		"connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
	_, _ = w.Write(rewrite(page.body.Bytes(), d.overview(), nonce)) // the client has gone
}

// isFile reports whether a path is one of the files that come with the page.
func isFile(path string) bool {
	return strings.HasPrefix(path, "/static/") || files.MatchString(path)
}

var (
	files = regexp.MustCompile(`^/[0-9A-Za-z-]+\.(png|ico|json|txt)$`)
	// foreign are the fonts from another host. The manifest would be requested without the login, and is of no use here.
	foreign = regexp.MustCompile(`<link rel="(stylesheet" href="https://|manifest")[^>]*>`)
)

// narrow makes the page usable on a phone: its menu, which would cover half of the screen, starts closed, and what is
// side by side moves one below the other. (Names of asynqmon v0.7.2 and its component library.)
const narrow = `<style>@media (max-width: 700px) { ` +
	`.MuiGrid-item.MuiGrid-grid-xs-6 { max-width: 100%; flex-basis: 100%; } }</style>` +
	`<script>try { if (innerWidth <= 700 && !localStorage.getItem("asynqmon:state")) ` +
	`localStorage.setItem("asynqmon:state", '{"settings":{"isDrawerOpen":false}}') } catch (e) {}</script>`

// outcomes is a line at the foot of each page, because what the pages call failed are tasks that asynq tries again: a
// request that failed has ended, and its task counts as processed.
const outcomes = `<style>#outcomes { position: fixed; bottom: 0; left: 0; right: 0; z-index: 2000; ` +
	`padding: .5em 1em; text-align: center; font: 14px/1.4 sans-serif; background: #fff3cd; color: #332701; ` +
	`border-top: 1px solid #b58900 } #outcomes a { color: inherit } body { padding-bottom: 3em }</style>` +
	`<p id="outcomes" role="note">These pages count tasks: a request that failed has ended, ` +
	`so its task is not under Failed. How requests ended is on the <a href="OVERVIEW">overview</a>.</p>`

// overview is the address of the page with the outcomes: the dashboard is one level below it.
func (d *Dashboard) overview() string { return d.root[:strings.LastIndexByte(d.root, '/')+1] }

// rewrite removes from the page what it would load from other hosts, and allows its own scripts, and the styles that
// they make, in the policy. It adds a line that leads to the overview.
func rewrite(page []byte, overview, nonce string) []byte {
	page = foreign.ReplaceAll(page, nil)
	page = bytes.Replace(page, []byte("</body>"),
		[]byte(strings.Replace(outcomes, "OVERVIEW", html.EscapeString(overview), 1)+"</body>"), 1)
	page = bytes.Replace(page, []byte("<head>"), []byte("<head>"+narrow), 1)
	page = bytes.ReplaceAll(page, []byte("<style"), []byte(`<style nonce="`+nonce+`"`))
	page = bytes.ReplaceAll(page, []byte("<script"), []byte(`<script nonce="`+nonce+`"`))
	return bytes.Replace(page, []byte("<head>"), []byte(`<head><meta property="csp-nonce" content="`+nonce+`"/>`), 1)
}

// recorder keeps an answer.
type recorder struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (r *recorder) Header() http.Header         { return r.header }
func (r *recorder) WriteHeader(status int)      { r.status = status }
func (r *recorder) Write(b []byte) (int, error) { return r.body.Write(b) }
