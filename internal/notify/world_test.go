package notify_test

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/certpurge/certpurge/internal/config"
	"github.com/certpurge/certpurge/internal/mysql"
	"github.com/certpurge/certpurge/internal/notify"
	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/sandbox/lms"
	"github.com/certpurge/certpurge/internal/sandbox/sandboxtest"
)

func TestMain(m *testing.M) { os.Exit(sandboxtest.Main(m)) }

const (
	secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	maxAge = 7 * 24 * time.Hour
)

// world is a ledger, a receiver and a clock.
type world struct {
	t        *testing.T
	db       *sandboxtest.Database
	enqueuer *mysql.Store // under the rights of grants.sql
	worker   *mysql.Store
	receiver *receiver
	users    int
	many     int // of manyEnded
	*clock
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, db: sandboxtest.MySQL(t, lms.Mixed), receiver: newReceiver(t), clock: &clock{now: time.Now().Truncate(time.Microsecond)}}
	accounts := w.db.Grant(t)
	migrator := w.open(accounts.Migrate)
	if _, err := migrator.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	for role, account := range map[mysql.Role]lms.Account{
		mysql.RoleEnqueuer: accounts.Enqueuer, mysql.RoleWorker: accounts.Worker,
	} {
		if err := migrator.Grant(t.Context(), role, account.String()); err != nil {
			t.Fatal(err)
		}
	}
	w.enqueuer, w.worker = w.open(accounts.Enqueuer), w.open(accounts.Worker)
	return w
}

func (w *world) open(account lms.Account) *mysql.Store {
	w.t.Helper()
	store, err := mysql.Open(mysql.Config{
		MySQL: config.MySQL{
			DSN: config.NewSecret(w.db.LedgerDSN(account)), MaxOpenConnections: 16, Batch: 16, ConnectTimeout: time.Minute,
			QueryTimeout: time.Minute,
		},
		LMS: config.LMS{Database: w.db.LMS, ClearHistory: true},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = store.Close() })
	return store
}

// clock is one that tests move.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// notifier makes one with the settings that an operator would have.
func (w *world) notifier(change ...func(*config.Notify)) *notify.Notifier {
	w.t.Helper()
	cfg := config.DefaultEnqueuer().Notify
	cfg.URL, cfg.Secret, cfg.MaxAge = w.receiver.URL, config.NewSecret(secret), maxAge
	for _, c := range change {
		c(&cfg)
	}
	sender, err := notify.NewSender(cfg, "v0")
	if err != nil {
		w.t.Fatal(err)
	}
	return &notify.Notifier{
		Notify: cfg, Ledger: w.enqueuer, Send: sender.Send, Now: w.Now, Log: slog.New(slog.DiscardHandler), Meter: meter{},
	}
}

// meter counts nothing.
type meter struct{}

func (meter) Sent(int, int, int)         {}
func (meter) Waits(int64, time.Duration) {}

// begun is a notifier that has made its first round, so that what ends from now on is told.
func (w *world) begun(change ...func(*config.Notify)) *notify.Notifier {
	w.t.Helper()
	n := w.notifier(change...)
	w.once(n)
	return n
}

func (w *world) once(n *notify.Notifier) notify.Summary {
	w.t.Helper()
	sum, err := n.Once(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	return sum
}

// rounds lets a notifier work for some time, by the clock.
func (w *world) rounds(n *notify.Notifier, d time.Duration) {
	w.t.Helper()
	const step = 20 * time.Second
	for ; d > 0; d -= step {
		w.advance(step)
		w.once(n)
	}
}

// submit requests the purge of new users who are retiring.
func (w *world) submit(users int) (requests []purge.RequestID) {
	w.t.Helper()
	var submissions []purge.Submission
	for range users {
		w.users++
		user := purge.UserID(w.db.AddRetiringUser(w.t, fmt.Sprintf("learner%d", w.users), "COMPLETE"))
		submissions = append(submissions, purge.Submission{
			User: user, Key: purge.DefaultKey(user), Source: purge.SourceAPI, By: "token secret-name", Ticket: "PRIV-7",
		})
	}
	accepted, err := w.enqueuer.Accept(w.t.Context(), submissions)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, a := range accepted {
		requests = append(requests, a.Request)
	}
	return requests
}

// end ends requests as a worker does.
func (w *world) end(report purge.Report, requests ...purge.RequestID) {
	w.t.Helper()
	rows, err := w.enqueuer.Requests(w.t.Context(), requests)
	if err != nil {
		w.t.Fatal(err)
	}
	var ending sync.WaitGroup
	for some := range slices.Chunk(rows, 64) {
		for _, row := range some {
			ending.Go(func() {
				attempt, err := w.worker.Begin(w.t.Context(), purge.Task{Request: row.ID, User: row.UserID})
				if err == nil {
					_, err = w.worker.Record(w.t.Context(), attempt, report)
				}
				if err != nil {
					w.t.Error(err)
				}
			})
		}
		ending.Wait()
	}
	if now := time.Now().Truncate(time.Microsecond); w.Now().Before(now) { // the worker's clock is the machine's
		w.advance(now.Sub(w.Now()))
	}
}

// ended submits and ends requests as done.
func (w *world) ended(users int) []purge.RequestID {
	w.t.Helper()
	requests := w.submit(users)
	w.end(purge.Report{State: purge.Done}, requests...)
	return requests
}

// manyEnded writes requests that have ended, a millisecond after each other, the last one now.
func (w *world) manyEnded(n int) {
	w.t.Helper()
	w.many += n
	w.db.Exec(w.t, "INSERT INTO "+w.db.Ledger+".requests (idempotency_key, user_id, source, state, ended_as, requested_at,"+
		" opened_at, updated_at, finished_at) SELECT CONCAT('many:', ? + seq), ? + seq, 'backfill', 'done', 'done:', ?, ?, ?,"+
		" ? - INTERVAL (? - seq * 1000) MICROSECOND FROM "+sandboxtest.Numbers(n), 100_000+w.many, 100_000+w.many,
		w.Now().UTC(), w.Now().UTC(), w.Now().UTC(), w.Now().UTC(), n*1000)
}

// finishedAt moves the end of a request.
func (w *world) finishedAt(request purge.RequestID, at time.Time) {
	w.t.Helper()
	w.db.Exec(w.t, "UPDATE "+w.db.Ledger+".requests SET finished_at = ? WHERE id = ?", at.UTC(), request)
}

func (w *world) waiting() int64 {
	w.t.Helper()
	f, _, err := w.enqueuer.NotifyFigures(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	return f.Waiting
}

// received is one event, as the receiver read it.
type received struct {
	SpecVersion, ID, Source, Type, Subject, Time, DataContentType string

	Data   map[string]any
	Body   string
	Header http.Header
}

// receiver is a server that accepts events, and checks each with the library of Standard Webhooks.
type receiver struct {
	*httptest.Server

	t      *testing.T
	mu     sync.Mutex
	events []received
	calls  int
	at     int // calls that are being answered
	most   int // of these at the same time
	answer func(w http.ResponseWriter, r *http.Request, e received) (accepted bool)
}

func newReceiver(t *testing.T) *receiver {
	t.Helper()
	r := &receiver{t: t}
	r.Server = httptest.NewServer(r)
	t.Cleanup(func() { r.CloseClientConnections(); r.Close() })
	return r
}

// answers says how the receiver answers from now on; nil for 204.
func (r *receiver) answers(answer func(w http.ResponseWriter, r *http.Request, e received) (accepted bool)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answer, r.calls, r.most = answer, 0, 0
}

// status answers each call with a status, and accepts none.
func status(code int) func(http.ResponseWriter, *http.Request, received) bool {
	return func(w http.ResponseWriter, _ *http.Request, _ received) bool {
		w.WriteHeader(code)
		return false
	}
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	body, err := io.ReadAll(request.Body)
	if err != nil {
		return // the sender broke off
	}
	e := received{Body: string(body), Header: request.Header}
	if err := json.Unmarshal(body, &e); err != nil {
		r.t.Errorf("%v: %s", err, body)
	}
	r.verify(body, request.Header)
	r.mu.Lock()
	r.calls++
	r.at++
	r.most = max(r.most, r.at)
	answer := r.answer
	r.mu.Unlock()
	accepted := true
	if answer == nil {
		w.WriteHeader(http.StatusNoContent)
	} else {
		accepted = answer(w, request, e)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.at--
	if accepted {
		r.events = append(r.events, e)
	}
}

// verify checks a signature. The clock of a test may be ahead, so the time is not compared with now.
func (r *receiver) verify(body []byte, header http.Header) {
	webhook, err := standardwebhooks.NewWebhook(secret)
	if err == nil {
		err = webhook.VerifyIgnoringTimestamp(body, header)
	}
	if err != nil {
		r.t.Errorf("%v: %v", err, header)
	}
}

// all are the events that were accepted.
func (r *receiver) all() []received {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.events)
}

// subjects counts the accepted events by what they are about, each id once.
func (r *receiver) subjects() map[string]int {
	ids, counts := map[string]bool{}, map[string]int{}
	for _, e := range r.all() {
		if !ids[e.ID] {
			counts[e.Subject]++
		}
		ids[e.ID] = true
	}
	return counts
}

// counted are how many calls there were, and how many of them at the same time.
func (r *receiver) counted() (calls, most int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.calls, r.most
}

// unwritten is a ledger in which nothing is written down about deliveries: the sender was killed before it could.
type unwritten struct{ notify.Ledger }

func (unwritten) SaveDeliveries(context.Context, []mysql.Delivery, mysql.Receiver, time.Time) error {
	return context.Canceled
}

// serverTLS is the TLS of a server with a certificate of an authority.
func serverTLS(t *testing.T, authority *sandboxtest.Authority) *tls.Config {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(authority.Issue(t, "server", "127.0.0.1"))
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
}

// stale is a ledger as a process reads it that looked right before another one told the same ends.
type stale struct{ notify.Ledger }

func (s stale) EndsAfter(ctx context.Context, after mysql.End, limit int) ([]mysql.End, error) {
	ends, err := s.Ledger.EndsAfter(ctx, after, limit)
	for i := range ends {
		ends[i].Notified = false
	}
	return ends, err
}
