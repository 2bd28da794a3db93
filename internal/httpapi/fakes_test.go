package httpapi_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/certpurge/certpurge/internal/config"
	"github.com/certpurge/certpurge/internal/httpapi"
	"github.com/certpurge/certpurge/internal/httpapi/auth"
	"github.com/certpurge/certpurge/internal/mysql"
	"github.com/certpurge/certpurge/internal/purge"
)

// harness is a server with a ledger in memory. Tests play the worker.
type harness struct {
	t      *testing.T
	server *httpapi.Server
	http   http.Handler
	log    *bytes.Buffer

	mu          sync.Mutex
	rows        map[purge.RequestID]*mysql.Request
	byKey       map[string]purge.RequestID
	bodies      map[string][32]byte
	accepted    map[string]bool // keys, all of whose body was
	names       map[string]purge.UserID
	users       []purge.UserID
	accepts     int // submissions
	submissions []purge.Submission
	reopened    purge.Reopening
	restored    []purge.OpenRequest
	queued      []purge.Source
	broken      error // of the ledger
	// acceptErr is of the ledger when it accepts.
	acceptErr error
	queueErr  error
	partly    bool                  // of many submissions only the first is accepted while the queue cannot be reached
	links     map[purge.UserID]bool // users with references, of those who are done
	wait      time.Duration         // of the limiter
	evidence  []mysql.EvidenceRecord
}

func newHarness(t *testing.T) *harness {
	t.Helper()
	h := &harness{
		t: t, log: &bytes.Buffer{}, rows: map[purge.RequestID]*mysql.Request{}, byKey: map[string]purge.RequestID{},
		bodies:   map[string][32]byte{},
		accepted: map[string]bool{},
		names:    map[string]purge.UserID{"Ada": 42, "Cleo": 43}, users: []purge.UserID{42, 43, 44},
		links: map[purge.UserID]bool{},
	}
	h.server = &httpapi.Server{
		Intake: intake{h, purge.SourceDriver}, Backfill: intake{h, purge.SourceBackfill}, Ledger: h, Users: h, Queue: h,
		Auth: h, Limiter: h,
		Log:   slog.New(slog.NewJSONHandler(h.log, nil)),
		Serve: config.Serve{Hold: time.Minute, MaxHeld: 10, MaxBody: 64 << 10},
	}
	return h
}

// intake is the entrance of one queue.
type intake struct {
	*harness

	name purge.Source
}

// Accept implements httpapi.Intake.
func (i intake) Accept(_ context.Context, submissions []purge.Submission) ([]purge.Accepted, error) {
	h := i.harness
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := errors.Join(h.broken, h.acceptErr); err != nil {
		return nil, err
	}
	var all []purge.Accepted
	for _, w := range submissions {
		h.accepts++
		h.submissions = append(h.submissions, w)
		h.queued = append(h.queued, i.name)
		id, known := h.byKey[w.Key]
		if !known {
			id = purge.RequestID(len(h.rows) + 1)
			h.byKey[w.Key] = id
			h.rows[id] = &mysql.Request{
				ID: id, UserID: w.User, Source: w.Source, State: purge.Queued,
				RequestedAt: time.Now().UTC(), OpenedAt: time.Now().UTC(),
			}
			all = append(all, purge.Accepted{Request: id, User: w.User, Found: purge.FoundNew, Open: true})
			continue
		}
		row := h.rows[id]
		if row.UserID != w.User {
			return nil, purge.ErrKeyTaken
		}
		a := purge.Accepted{
			Request: id, User: w.User, Found: purge.Found(row.State), Open: !row.State.Ended(),
			Attempts: row.Attempts,
		}
		if row.State.Ended() && !w.Replay && (row.State != purge.Done || h.links[w.User]) {
			row.State, row.Reason, a.Open = purge.Queued, "", true
			row.Attempts++
			a.Attempts++
		}
		all = append(all, a)
	}
	if h.partly && h.queueErr != nil {
		all = all[:1]
	}
	return all, h.queueErr
}

// end does what a worker does: it ends the request of user 42, or leaves it open for a reason.
func (h *harness) end(state purge.State, reason purge.Reason) {
	h.mu.Lock()
	defer h.mu.Unlock()
	row := h.rows[h.byKey[purge.DefaultKey(42)]]
	row.State, row.Reason = state, reason
	row.Attempts++
	if reason == purge.ReasonRetained {
		row.NotBefore = new(time.Now().Add(time.Hour))
	}
}

// endOnceAsked ends the request of user 42 as soon as it is open, every time it is.
func (h *harness) endOnceAsked(ctx context.Context, state purge.State, reason purge.Reason) {
	const user = 42
	ticker := time.NewTicker(time.Millisecond)
	defer ticker.Stop()
	for ctx.Err() == nil {
		h.mu.Lock()
		row := h.rows[h.byKey[purge.DefaultKey(user)]]
		open := row != nil && !row.State.Ended()
		h.mu.Unlock()
		if open {
			h.end(state, reason)
		}
		<-ticker.C
	}
}

func (h *harness) Requests(_ context.Context, ids []purge.RequestID) ([]mysql.Request, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	var rows []mysql.Request
	for _, id := range ids {
		if row := h.rows[id]; row != nil {
			rows = append(rows, *row)
		}
	}
	return rows, h.broken
}

func (h *harness) RequestsAfter(_ context.Context, f mysql.Filter, after purge.RequestID, limit int) ([]mysql.Request,
	error,
) {
	h.mu.Lock()
	defer h.mu.Unlock()
	var rows []mysql.Request
	for id := after + 1; int(id) <= len(h.rows) && len(rows) < limit; id++ {
		row := h.rows[id]
		if (len(f.States) == 0 || slices.Contains(f.States, row.State)) && (f.User == 0 || f.User == row.UserID) &&
			(f.Reason == "" || f.Reason == row.Reason) {
			rows = append(rows, *row)
		}
	}
	return rows, h.broken
}

func (h *harness) EachEvidence(_ context.Context, f mysql.EvidenceFilter, do func(mysql.EvidenceRecord) error) error {
	for _, e := range h.evidence {
		if e.UserID == f.User {
			if err := do(e); err != nil {
				return err
			}
		}
	}
	return h.broken
}

func (h *harness) Reopen(_ context.Context, ids []purge.RequestID, r purge.Reopening) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.reopened = r
	for _, id := range ids {
		h.rows[id].State, h.rows[id].Reason = purge.Queued, ""
	}
	return len(ids), h.broken
}

func (h *harness) SameBody(_ context.Context, key string, fingerprint [32]byte) (same, accepted bool, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	before, known := h.bodies[key]
	if !known {
		h.bodies[key] = fingerprint
		return true, false, h.broken
	}
	return before == fingerprint, h.accepted[key], h.broken
}

func (h *harness) BodyAccepted(_ context.Context, key string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.accepted[key] = true
	return h.broken
}

func (h *harness) ForgetBody(_ context.Context, key string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.bodies, key)
	return h.broken
}

func (h *harness) UnknownUsers(_ context.Context, ids []purge.UserID) ([]purge.UserID, error) {
	return slices.DeleteFunc(slices.Clone(ids), func(id purge.UserID) bool { return slices.Contains(h.users, id) }),
		h.broken
}

func (h *harness) UserByOriginalName(_ context.Context, name string) (purge.UserID, error) {
	if h.broken != nil {
		return 0, h.broken
	}
	if user, ok := h.names[name]; ok {
		return user, nil
	}
	return 0, mysql.ErrNoSuchName
}

func (h *harness) OriginalName(_ context.Context, user purge.UserID) (string, error) {
	for name, id := range h.names {
		if id == user {
			return name, h.broken
		}
	}
	return "", h.broken
}

func (h *harness) Restore(_ context.Context, open []purge.OpenRequest) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.restored = append(h.restored, open...)
	return h.queueErr
}

func (h *harness) Take(auth.Caller) time.Duration { return h.wait }

// Authenticate admits every caller whose token names rights.
func (h *harness) Authenticate(r *http.Request) (auth.Caller, error) {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	switch {
	case scheme == "":
		return auth.Caller{}, &auth.Error{Code: auth.CredentialsMissing}
	case token == "outage":
		return auth.Caller{}, errors.New("the keys are away")
	case token == "rotated":
		return auth.Caller{}, &auth.Error{Code: auth.KeysUnavailable, After: 42 * time.Second}
	case scheme == "JWT":
		return auth.Caller{
			Name: token, Kind: auth.KindJWT, Rights: auth.All, RateKey: "jwt:" + token,
			Client: r.Header.Get("X-Client"),
		}, nil
	}
	c := auth.Caller{Name: "test", Kind: auth.KindToken}
	if name, rights, named := strings.Cut(token, "@"); named {
		c.Name, token = name, rights
	}
	c.RateKey = "token:" + c.Name
	for name := range strings.SplitSeq(token, ",") {
		if right, ok := auth.ParseRight(name); ok {
			c.Rights |= right
		}
	}
	return c, nil
}

// answer is what a client sees.
type answer struct {
	status int
	header http.Header
	body   string
}

// call sends a request with all rights; headers are "Name: value".
func (h *harness) call(method, path, body string, headers ...string) answer {
	h.t.Helper()
	if h.http == nil {
		h.http = h.server.Handler()
		h.t.Cleanup(h.server.Stop)
	}
	r := httptest.NewRequestWithContext(h.t.Context(), method, path, io.Reader(strings.NewReader(body)))
	r.Header.Set("Authorization", "Bearer enqueue,read,requeue")
	r.Header.Set("Content-Type", "application/json")
	for _, header := range headers {
		name, value, _ := strings.Cut(header, ": ")
		r.Header.Set(name, value)
	}
	w := httptest.NewRecorder()
	h.http.ServeHTTP(w, r)
	checkAgainstDocument(h.t, h.server.PathPrefix, r, w.Result())
	return answer{w.Code, w.Header(), w.Body.String()}
}

// is checks status and code of an answer.
func (a answer) is(t *testing.T, status int, code string) {
	t.Helper()
	if a.status != status || code != "" && !strings.Contains(a.body, `"code":"`+code+`"`) {
		t.Errorf("got %d %s, want %d %s", a.status, a.body, status, code)
	}
	if a.status >= 400 && a.header.Get("Content-Type") != "application/problem+json" {
		t.Errorf("%d: got Content-Type %q", a.status, a.header.Get("Content-Type"))
	}
}
