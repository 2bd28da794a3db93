package console_test

import (
	"context"
	"html"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/certpurge/certpurge/internal/admin/console"
	"github.com/certpurge/certpurge/internal/certificate"
	"github.com/certpurge/certpurge/internal/config"
	"github.com/certpurge/certpurge/internal/evidence"
	"github.com/certpurge/certpurge/internal/login"
	"github.com/certpurge/certpurge/internal/mysql"
	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/purge/purgetest"
	"github.com/certpurge/certpurge/internal/queue"
	"github.com/certpurge/certpurge/internal/queue/inspect"
	"github.com/certpurge/certpurge/internal/sandbox/lms"
	"github.com/certpurge/certpurge/internal/sandbox/sandboxtest"
)

// office is the console of an enqueuer on real servers, under exactly its rights.
type office struct {
	t       *testing.T
	db      *sandboxtest.Database
	root    *mysql.Store // may do everything
	redis   redis.UniversalClient
	page    *console.Console
	sources console.Sources
	base    string
}

func newOffice(t *testing.T, role mysql.Role, base string) *office {
	t.Helper()
	return newOfficeOn(t, sandboxtest.MySQL(t, lms.Mixed), role, base)
}

func newOfficeOn(t *testing.T, db *sandboxtest.Database, role mysql.Role, base string) *office {
	t.Helper()
	o := &office{t: t, db: db, base: base}
	accounts := o.db.Grant(t)
	open := func(dsn string) *mysql.Store {
		store, err := mysql.Open(mysql.Config{
			MySQL: config.MySQL{
				DSN: config.NewSecret(dsn), MaxOpenConnections: 4, ConnectTimeout: time.Minute, QueryTimeout: time.Minute,
			},
			LMS: config.LMS{Database: o.db.LMS, ClearHistory: true},
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = store.Close() })
		return store
	}
	migrator := open(o.db.LedgerDSN(accounts.Migrate))
	if _, err := migrator.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	own := accounts.Enqueuer
	if role == mysql.RoleWorker {
		own = accounts.Worker
	}
	if err := migrator.Grant(t.Context(), role, own.String()); err != nil {
		t.Fatal(err)
	}
	o.root = open(o.db.RootDSN(o.db.Ledger))
	o.root.Writer = evidence.Writer{Worker: "worker-1:7", Software: "certpurge 1.2.3"}
	var err error
	if o.redis, err = queue.NewRedis(config.Redis{URL: config.NewSecret(sandboxtest.Redis(t))}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = o.redis.Close() })
	store := open(o.db.LedgerDSN(own))
	o.sources = console.Real(store, role, o.redis, func(context.Context) []string { return nil },
		purge.Policy{ExcludedStates: []string{"PENDING"}}, config.DefaultEnqueuer().Tasks)
	if o.sources.Certificate, err = certificate.Maker(store, signingKey(t), certificate.Origin{Software: "certpurge v1"}); err != nil {
		t.Fatal(err)
	}
	o.page = console.New(console.About{Process: "serve", Version: "certpurge v1", Base: base}, o.sources,
		slog.New(slog.NewTextHandler(t.Output(), nil)))
	t.Cleanup(o.page.Close)
	return o
}

// user is a retiring user with a request that has ended.
func (o *office) user(name string, report purge.Report) (user purge.UserID, request purge.RequestID) {
	o.t.Helper()
	user = purge.UserID(o.db.AddRetiringUser(o.t, name, "RETIRING_LMS"))
	return user, o.request(purge.Submission{User: user}, report)
}

// request makes a request; it ends as the report says, unless that is empty.
func (o *office) request(s purge.Submission, report purge.Report) purge.RequestID {
	o.t.Helper()
	if s.Key == "" {
		s.Key = purge.DefaultKey(s.User)
	}
	if s.Source == "" {
		s.Source = purge.SourceAPI
	}
	accepted, err := o.root.Accept(o.t.Context(), []purge.Submission{s})
	if err != nil {
		o.t.Fatal(err)
	}
	task := purge.Task{Request: accepted[0].Request, User: s.User, Certificate: s.Certificate}
	if report.State == "" {
		return task.Request
	}
	attempt, err := o.root.Begin(o.t.Context(), task)
	if err != nil {
		o.t.Fatal(err)
	}
	if _, err := o.root.Record(o.t.Context(), attempt, report); err != nil {
		o.t.Fatal(err)
	}
	return task.Request
}

// purged is a user whose certificate a real purge has erased in a fake bucket with a week of soft delete.
func (o *office) purged(name string) (user purge.UserID, request purge.RequestID) {
	o.t.Helper()
	user = purge.UserID(o.db.AddRetiringUser(o.t, name, "COMPLETE"))
	o.db.AddCertificate(o.t, sandboxtest.Certificate{
		UserID: int(user), DownloadUUID: purgetest.DownloadID, VerifyUUID: purgetest.VerifyID,
	})
	request = o.request(purge.Submission{User: user, By: "token portal, v1, 192.0.2.1", Ticket: "PRIV-7"}, purge.Report{})
	const week = 7 * 24 * time.Hour
	cloud := purgetest.NewCloud()
	cloud.AcceptSoftDelete = true
	cloud.SoftDelete(week)
	for _, file := range purgetest.FourFiles() {
		cloud.Put(file)
	}
	purger := &purge.Purger{
		Users: o.root, Ledger: o.root, Objects: cloud, Locations: purgetest.OneLocation(o.t),
		Settings: func() []purge.BucketSettings { return []purge.BucketSettings{{Bucket: "certs", SoftDelete: week}} },
		Policy:   purge.Policy{ClearHistory: true, AcceptShared: true, AcceptSoftDelete: true, MaxAttempts: 3},
	}
	result, err := purger.Purge(o.t.Context(), purge.Task{Request: request, User: user})
	if err != nil || result.State != purge.Done {
		o.t.Fatalf("got %+v, %v", result, err)
	}
	return user, request
}

// pending is how many tasks wait.
func (o *office) pending() (n int) {
	o.t.Helper()
	depths, err := inspect.Depths(o.t.Context(), o.redis)
	if err != nil {
		o.t.Fatal(err)
	}
	for _, d := range depths {
		n += d.Pending
	}
	return n
}

// states are those of requests, in the order of the ids.
func (o *office) states(ids ...purge.RequestID) string {
	o.t.Helper()
	rows, err := o.root.Requests(o.t.Context(), ids)
	if err != nil {
		o.t.Fatal(err)
	}
	var states []string
	for _, r := range rows {
		states = append(states, string(r.State))
	}
	return strings.Join(states, " ")
}

// events are those of a request, as "kind actor ticket".
func (o *office) events(request purge.RequestID) string {
	o.t.Helper()
	var text string
	err := o.db.Root.QueryRowContext(o.t.Context(), "SELECT COALESCE(GROUP_CONCAT(CONCAT_WS(' ', kind, actor, NULLIF(ticket, '')) "+
		"ORDER BY id SEPARATOR '; '), '') FROM "+o.db.Ledger+".events WHERE request_id = ?", request).Scan(&text)
	if err != nil {
		o.t.Fatal(err)
	}
	return text
}

// visit is a browser that keeps cookies.
type visit struct {
	o       *office
	visitor login.Visitor
	cookies map[string]*http.Cookie
}

func (o *office) as(name string, right login.Right) *visit {
	return &visit{o: o, visitor: login.Visitor{Name: name, Right: right}, cookies: map[string]*http.Cookie{}}
}

func (v *visit) send(method, path string, form url.Values) (status int, body string, header http.Header) {
	v.o.t.Helper()
	r := httptest.NewRequestWithContext(login.With(v.o.t.Context(), v.visitor), method, path,
		strings.NewReader(form.Encode()))
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for _, c := range v.cookies {
		r.AddCookie(c)
	}
	w := httptest.NewRecorder()
	v.o.page.ServeHTTP(w, r)
	for _, c := range w.Result().Cookies() {
		if v.cookies[c.Name] = c; c.MaxAge < 0 {
			delete(v.cookies, c.Name)
		}
	}
	return w.Code, w.Body.String(), w.Header()
}

// text is what a reader sees.
func text(body string) string {
	return html.UnescapeString(strings.Join(strings.Fields(tags.ReplaceAllString(body, " ")), " "))
}

// get opens a page and returns it, and its text.
func (v *visit) get(want int, path string) (body, read string) {
	v.o.t.Helper()
	status, body, _ := v.send(http.MethodGet, path, nil)
	if status != want {
		v.o.t.Errorf("%s: got %d, want %d\n%s", path, status, want, text(body))
	}
	return body, text(body)
}

var hidden = regexp.MustCompile(`<input type="hidden" name="([^"]+)" value="([^"]*)">`)

// confirm opens the question of an operation and sends its form, with more in it.
func (v *visit) confirm(want int, path string, more url.Values) (asked, done string, form url.Values) {
	v.o.t.Helper()
	body, asked := v.get(http.StatusOK, path)
	form = url.Values{}
	for _, m := range hidden.FindAllStringSubmatch(body, -1) {
		form.Add(m[1], html.UnescapeString(m[2]))
	}
	maps.Copy(form, more)
	status, body, _ := v.send(http.MethodPost, path, form)
	if status != want {
		v.o.t.Errorf("%s: got %d, want %d\n%s", path, status, want, text(body))
	}
	return asked, text(body), form
}

func wants(t *testing.T, what, got string, texts ...string) {
	t.Helper()
	for _, want := range texts {
		if !strings.Contains(got, want) {
			t.Errorf("%s lacks %q:\n%s", what, want, got)
		}
	}
}

func lacks(t *testing.T, what, got string, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if strings.Contains(got, text) {
			t.Errorf("%s has %q:\n%s", what, text, got)
		}
	}
}

func number[T ~int64](n T) string { return strconv.FormatInt(int64(n), 10) }
