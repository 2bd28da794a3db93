package httpapi_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/certpurge/certpurge/internal/evidence"
	"github.com/certpurge/certpurge/internal/mysql"
	"github.com/certpurge/certpurge/internal/purge"
)

func TestCreateOne(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	got := h.call(http.MethodPost, "/v1/requests", `{"user_id": 42}`)
	got.is(t, http.StatusAccepted, "")
	if want := `{"request_id":1,"user_id":42,"found":"new","open":true}` + "\n"; got.body != want ||
		got.header.Get("Location") != "/v1/requests/1" {
		t.Errorf("got %s at %s, want %s", got.body, got.header.Get("Location"), want)
	}
	if got := h.call(http.MethodPost, "/v1/requests/", `{"user_id": 42, "queue": "backfill"}`); !strings.Contains(got.body,
		`"found":"queued"`) {
		t.Errorf("again: got %s", got.body)
	}
	if want := []purge.Source{purge.SourceDriver, purge.SourceBackfill}; fmt.Sprint(h.queued) != fmt.Sprint(want) {
		t.Errorf("went into %v, want %v", h.queued, want)
	}
	if source := h.rows[1].Source; source != purge.SourceAPI {
		t.Errorf("got source %s", source)
	}
	h.end(purge.Done, "")
	h.call(http.MethodPost, "/v1/requests", `{"user_id": 42}`).is(t, http.StatusOK, "")
	h.end(purge.Failed, purge.ReasonHeld)
	if got := h.call(http.MethodPost, "/v1/requests", `{"user_id": 42}`); got.status != http.StatusAccepted ||
		!strings.Contains(got.body, `"found":"failed","open":true`) {
		t.Errorf("after a failure: got %d %s", got.status, got.body)
	}
}

func TestIdempotencyKeys(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	create := func(key, body string) answer {
		return h.call(http.MethodPost, "/v1/requests", body, "Idempotency-Key: "+key)
	}
	first := create(`"one"`, `{"user_id": 42}`)
	first.is(t, http.StatusAccepted, "")
	again := create(`one`, `{"user_id": 42}`)
	again.is(t, http.StatusAccepted, "")
	if !strings.Contains(first.body, `"found":"new"`) ||
		!strings.Contains(again.body, `"request_id":1,"user_id":42,"found":"queued"`) {
		t.Errorf("got %s and %s, want the request as it stands", first.body, again.body)
	}
	create("one", `{"user_id": 43}`).is(t, http.StatusUnprocessableEntity, "key_reused")
	create("one", `{"user_id": 42, "queue": "backfill"}`).is(t, http.StatusUnprocessableEntity, "key_reused")
	create("two", `{"user_id": 42}`).is(t, http.StatusAccepted, "")
	if len(h.rows) != 2 {
		t.Errorf("got %d requests, want one for each key", len(h.rows))
	}
	h.rows[1].State, h.rows[1].Reason = purge.Failed, purge.ReasonHeld
	if got := create("one", `{"user_id": 42}`); got.status != http.StatusOK ||
		!strings.Contains(got.body, `"found":"failed","open":false`) {
		t.Errorf("repeated after a failure: got %d %s, want the end, not a new beginning", got.status, got.body)
	}
	for _, key := range []string{`""`, "a b", `"a"b"`, strings.Repeat("k", 256), "ä", `a\b`} {
		create(key, `{"user_id": 42}`).is(t, http.StatusBadRequest, "wrong_key")
	}
	if strings.Contains(h.log.String(), `"one"`) {
		t.Error("the log holds a caller's key")
	}
}

func TestBodiesThatTheNativeFaceRefuses(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		kind, body string
		status     int
		code       string
	}{
		"no type":        {"", `{"user_id": 42}`, 415, "media_type"},
		"form":           {"application/x-www-form-urlencoded", `user_id=42`, 415, "media_type"},
		"malformed type": {"application/json; charset", `{"user_id": 42}`, 415, "media_type"},
		"not JSON":       {"application/json", `42`, 400, "wrong_type"},
		"no user":        {"application/json", `{}`, 400, "wrong_members"},
		"zero":           {"application/json", `{"user_id": 0}`, 400, "user_id_out_of_range"},
		"2^31":           {"application/json", `{"user_id": 2147483648}`, 400, "user_id_out_of_range"},
		"string":         {"application/json", `{"user_id": "42"}`, 400, "wrong_type"},
		"twice":          {"application/json", `{"user_id": 42, "user_id": 42}`, 400, "duplicate_member"},
		"unknown":        {"application/json", `{"user_id": 42, "urgent": true}`, 400, "unknown_member"},
		"unknown queue":  {"application/json", `{"user_id": 42, "queue": "fast"}`, 400, "unknown_queue"},
		"unknown user":   {"application/json; charset=utf-8", `{"user_id": 4711}`, 422, "unknown_user"},
		"too large": {
			"application/json", `{"user_id": ` + strings.Repeat(" ", 70_000) + `42}`, 413,
			"body_too_large",
		},
		"lines: none":         {"application/x-ndjson", "\n\n", 400, "no_users"},
		"lines: some wrong":   {"application/x-ndjson", "42\nAda\n{\"user_id\": 43}\n-1\n", 400, "wrong_lines"},
		"lines: member twice": {"application/x-ndjson", `{"user_id": 42, "user_id": 43}`, 400, "wrong_lines"},
		"lines: unknown user": {"application/x-ndjson", "42\n4711\n4712\n", 422, "unknown_user"},
		"lines: BOM":          {"application/x-ndjson", "\ufeff42\n", 400, "wrong_lines"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHarness(t)
			got := h.call(http.MethodPost, "/v1/requests", tc.body, "Content-Type: "+tc.kind)
			got.is(t, tc.status, tc.code)
			if h.accepts > 0 || strings.Contains(got.body, "Ada") {
				t.Errorf("accepted %d, answered %s", h.accepts, got.body)
			}
		})
	}
}

func TestWrongLinesAreNamed(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	got := h.call(http.MethodPost, "/v1/requests", "42\n\nAda\n43\n0\n", "Content-Type: application/x-ndjson")
	if !strings.Contains(got.body, "line 3: ") || !strings.Contains(got.body, "line 5: ") ||
		strings.Contains(got.body, "line 4") {
		t.Errorf("got %s", got.body)
	}
	got = h.call(http.MethodPost, "/v1/requests", strings.Repeat("x\n", 100), "Content-Type: application/x-ndjson")
	if !strings.Contains(got.body, "line 10: ") || strings.Contains(got.body, "line 11") {
		t.Errorf("got %s, want ten of a hundred", got.body)
	}
}

func TestCreateMany(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.server.MaxBody = 1 << 20
	var body, want strings.Builder
	h.users = nil
	for n := 1; n <= 10_000; n++ {
		h.users = append(h.users, purge.UserID(n))
		if n%2 == 0 {
			fmt.Fprintf(&body, "%d\n", n)
		} else {
			fmt.Fprintf(&body, "{\"user_id\": %d}\r\n", n)
		}
		fmt.Fprintf(&want, "{\"request_id\":%d,\"user_id\":%d,\"found\":\"new\",\"open\":true}\n", n, n)
	}
	body.WriteString("1\n") // again
	got := h.call(http.MethodPost, "/v1/requests", body.String(), "Content-Type: application/x-ndjson")
	if got.status != http.StatusAccepted || got.body != want.String() ||
		got.header.Get("Content-Type") != "application/x-ndjson" {
		t.Errorf("got %d, %d bytes of %s, want %d bytes", got.status, len(got.body), got.header.Get("Content-Type"),
			want.Len())
	}
	h.users = append(h.users, 10_001)
	body.WriteString("10001\n")
	h.call(http.MethodPost, "/v1/requests", body.String(), "Content-Type: application/x-ndjson").is(t,
		http.StatusRequestEntityTooLarge, "too_many")
}

func TestListPagesAndFilters(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	for _, key := range []string{"a", "b", "c"} {
		for _, user := range []int{42, 43} {
			h.call(http.MethodPost, "/v1/requests", fmt.Sprintf(`{"user_id": %d}`, user),
				fmt.Sprintf("Idempotency-Key: %s%d", key, user))
		}
	}
	h.rows[2].State, h.rows[2].Reason = purge.Failed, purge.ReasonHeld
	list := func(query string) (ids []int, next string) {
		t.Helper()
		got := h.call(http.MethodGet, "/v1/requests"+query, "")
		var answer struct {
			Requests []struct {
				RequestID int `json:"request_id"`
			}
			NextCursor string `json:"next_cursor"`
		}
		if err := json.Unmarshal([]byte(got.body), &answer); err != nil || got.status != http.StatusOK {
			t.Fatalf("%s: got %d %s", query, got.status, got.body)
		}
		for _, r := range answer.Requests {
			ids = append(ids, r.RequestID)
		}
		return ids, answer.NextCursor
	}
	for query, want := range map[string]string{
		"":                               "[1 2 3 4 5 6] ",
		"?limit=4":                       "[1 2 3 4] 4",
		"?limit=4&cursor=4":              "[5 6] ",
		"?limit=6":                       "[1 2 3 4 5 6] ",
		"?user_id=43":                    "[2 4 6] ",
		"?user_id=43&limit=2":            "[2 4] 4",
		"?state=failed":                  "[2] ",
		"?state=failed&reason=held":      "[2] ",
		"?user_id=43&reason=held":        "[2] ",
		"?state=done":                    "[] ",
		"?state=queued&cursor=5&limit=1": "[6] ",
	} {
		if ids, next := list(query); fmt.Sprintf("%v %s", ids, next) != want {
			t.Errorf("%s: got %v %s, want %s", query, ids, next, want)
		}
	}
	for _, query := range []string{
		"?user_id=0", "?user_id=Ada", "?state=lost", "?reason=held", "?reason=bad&state=failed", "?cursor=x", "?limit=0",
		"?limit=1001", "?usr_id=42",
		"?state=done&state=failed", "?state=", "?limit=+5",
	} {
		got := h.call(http.MethodGet, "/v1/requests"+query, "")
		got.is(t, http.StatusBadRequest, "wrong_parameter")
		if strings.Contains(got.body, "Ada") {
			t.Errorf("the answer repeats the input: %s", got.body)
		}
	}
}

func TestShowAndRequeue(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.call(http.MethodPost, "/v1/requests", `{"user_id": 42}`)
	if got := h.call(http.MethodGet, "/v1/requests/1/", ""); got.status != http.StatusOK ||
		!strings.Contains(got.body, `"request_id":1,"user_id":42,"source":"api","state":"queued"`) {
		t.Errorf("got %d %s", got.status, got.body)
	}
	h.call(http.MethodPost, "/v1/requests/1/requeue", "").is(t, http.StatusConflict, "not_failed")
	h.end(purge.Done, "")
	h.call(http.MethodPost, "/v1/requests/1/requeue", "").is(t, http.StatusConflict, "not_failed")
	for _, state := range []purge.State{purge.Failed, purge.Refused} {
		h.end(state, purge.ReasonHeld)
		got := h.call(http.MethodPost, "/v1/requests/1/requeue", "")
		if got.status != http.StatusAccepted || !strings.Contains(got.body, `"state":"queued"`) {
			t.Errorf("%s: got %d %s", state, got.status, got.body)
		}
	}
	if len(h.restored) != 2 {
		t.Errorf("put back %v, want a task each time", h.restored)
	}
	for path, want := range map[string]int{
		"/v1/requests/9": 404, "/v1/requests/0": 400, "/v1/requests/x": 400,
		"/v1/requests/99999999999999999999": 400,
	} {
		h.call(http.MethodGet, path, "").is(t, want, "")
		h.call(http.MethodPost, path+"/requeue", "").is(t, want, "")
	}
}

// TestTheLedgerKnowsTicketAndBehalf of every body that may hold them.
func TestTheLedgerKnowsTicketAndBehalf(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	const members = `"ticket": "PRIV-7", "requested_by": "privacy office"`
	const by = "token test for privacy office, v1, 192.0.2.1"
	h.call(http.MethodPost, "/v1/requests", `{"user_id": 42, `+members+`}`).is(t, http.StatusAccepted, "")
	h.call(http.MethodPost, "/v1/requests", "{\"user_id\": 43, "+members+"}\n44\n", "Content-Type: application/x-ndjson").
		is(t, http.StatusAccepted, "")
	want := []string{"42 PRIV-7 " + by, "43 PRIV-7 " + by, "44  token test, v1, 192.0.2.1"}
	for i, w := range h.submissions {
		if got := fmt.Sprint(w.User, " ", w.Ticket, " ", w.By); got != want[i] {
			t.Errorf("submission %d: got %q, want %q", i+1, got, want[i])
		}
	}
	h.end(purge.Failed, purge.ReasonHeld)
	h.call(http.MethodPost, "/v1/requests/1/requeue", "{"+members+"}").is(t, http.StatusAccepted, "")
	if want := (purge.Reopening{By: by, Ticket: "PRIV-7"}); h.reopened != want {
		t.Errorf("got %+v, want %+v", h.reopened, want)
	}
	long := strings.Repeat("ä", 64)
	h.call(http.MethodPost, "/v1/requests", `{"user_id": 42, "ticket": "`+long+`"}`).is(t, http.StatusAccepted, "")
	h.rows[1].Ticket = long
	if got := h.call(http.MethodGet, "/v1/requests/1", ""); !strings.Contains(got.body, `"ticket":"`+long+`"`) {
		t.Errorf("got %s", got.body)
	}
	// A long name of a caller is cut, not that of the person on whose behalf it asks.
	h.call(http.MethodPost, "/v1/requests", `{"user_id": 42, "requested_by": "`+strings.Repeat("b", 64)+`"}`,
		"Authorization: Bearer "+strings.Repeat("a", 150)+"@enqueue").is(t, http.StatusAccepted, "")
	if got := h.submissions[len(h.submissions)-1].By; len(got) != 160 ||
		!strings.HasSuffix(got, "a for "+strings.Repeat("b", 64)+", v1, 192.0.2.1") {
		t.Errorf("got %q", got)
	}

	accepts := h.accepts
	for body, code := range map[string]string{
		`{"user_id": 42, "ticket": "` + long + `x"}`:      "wrong_ticket",
		`{"user_id": 42, "ticket": "a\nb"}`:               "wrong_ticket",
		`{"user_id": 42, "requested_by": "` + long + `"}`: "wrong_requested_by",
		`{"user_id": 42, "requested_by": "\u202eb"}`:      "wrong_requested_by",
		`{"user_id": 42, "ticket": 7}`:                    "wrong_type",
		`{"user_id": 42, "tickets": "x"}`:                 "unknown_member",
	} {
		got := h.call(http.MethodPost, "/v1/requests", body)
		got.is(t, http.StatusBadRequest, code)
		if strings.Contains(got.body, "ää") {
			t.Errorf("the answer repeats the input: %s", got.body)
		}
		got = h.call(http.MethodPost, "/v1/requests", "44\n"+body+"\n", "Content-Type: application/x-ndjson")
		got.is(t, http.StatusBadRequest, "wrong_lines")
		if !strings.Contains(got.body, "line 2: ") {
			t.Errorf("got %s", got.body)
		}
	}
	h.end(purge.Failed, purge.ReasonHeld)
	for body, code := range map[string]string{
		`{"ticket": "a\nb"}`: "wrong_ticket", `{"user_id": 42}`: "unknown_member", `x`: "not_json",
	} {
		h.call(http.MethodPost, "/v1/requests/1/requeue", body).is(t, http.StatusBadRequest, code)
	}
	h.call(http.MethodPost, "/v1/requests/1/requeue", "{}", "Content-Type: text/plain").is(t,
		http.StatusUnsupportedMediaType, "media_type")
	h.call(http.MethodPost, "/v1/requests/1/requeue", "{\"ticket\":\""+strings.Repeat("x", 70_000)+"\"}").is(t,
		http.StatusRequestEntityTooLarge, "body_too_large")
	if h.accepts != accepts || h.rows[1].State != purge.Failed {
		t.Errorf("something was accepted: %d, %+v", h.accepts-accepts, h.rows[1])
	}
}

func TestEvidenceStreams(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	record := mysql.EvidenceRecord{
		Kind: "object", RequestID: 1, UserID: 42, CertificateID: 7, SourceTable: purge.Live,
		Attempt: 1, Bucket: "b", Outcome: purge.Erased, At: new(time.Now().UTC()),
	}
	record.RequestedBy, record.Ticket = "token portal, v1, 10.0.0.7", "PRIV-7"
	record.Listings = []evidence.Listing{{Began: time.Now().UTC(), Ended: time.Now().UTC(), Generations: 3}}
	record.Settings = &evidence.Bucket{Name: "b", SoftDelete: 604800}
	links, others := record, record
	links.Listings, links.Settings = nil, nil
	links.Kind, others.UserID = "links", 43
	h.evidence = []mysql.EvidenceRecord{record, others, links}
	got := h.call(http.MethodGet, "/v1/users/42/evidence", "")
	if got.status != http.StatusOK || strings.Count(got.body, "\n") != 2 || !strings.Contains(got.body, `"bucket":"b"`) {
		t.Errorf("got %d %s", got.status, got.body)
	}
	for _, want := range []string{
		`"requested_by":"token portal, v1, 10.0.0.7","ticket":"PRIV-7","listings":[{"began":`, `"generations":3}]`,
		`"bucket_settings":{"bucket":"b","versioning":false,"soft_delete_seconds":604800,"retention_seconds":0}`,
	} {
		if !strings.Contains(got.body, want) {
			t.Errorf("got %s, want %s in it", got.body, want)
		}
	}
	h.call(http.MethodGet, "/v1/users/4711/evidence", "").is(t, http.StatusNotFound, "unknown_user")
	h.call(http.MethodGet, "/v1/users/44/evidence", "").is(t, http.StatusNotFound, "never_requested")
	h.call(http.MethodPost, "/v1/requests", `{"user_id": 44}`).is(t, http.StatusAccepted, "")
	got = h.call(http.MethodGet, "/v1/users/44/evidence", "")
	got.is(t, http.StatusNotFound, "no_evidence")
	if !strings.Contains(got.body, `"request_id":1`) {
		t.Errorf("a user without evidence: got %s", got.body)
	}
	h.call(http.MethodGet, "/v1/users/0/evidence", "").is(t, http.StatusBadRequest, "wrong_id")
	h.broken = errors.New("gone away")
	h.call(http.MethodGet, "/v1/users/44/evidence", "").is(t, http.StatusServiceUnavailable, "unavailable")
	defer func() {
		if failure := recover(); failure != http.ErrAbortHandler { //nolint:errorlint // recover gives back what was thrown
			t.Errorf("an answer that broke off in the middle ended with %v, want the connection cut", failure)
		}
	}()
	h.call(http.MethodGet, "/v1/users/42/evidence", "")
}

func TestCallersAreHeldToTheirRate(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.wait = 1500 * time.Millisecond
	for _, path := range []string{"/v1/requests", "/v1/requests/1", "/v1/users/1/evidence"} {
		got := h.call(http.MethodGet, path, "")
		got.is(t, http.StatusTooManyRequests, "rate_limited")
		if got.header.Get("Retry-After") != "2" {
			t.Errorf("got Retry-After %q, want 2", got.header.Get("Retry-After"))
		}
	}
	got := h.call(http.MethodPost, driverPath, `{"lms_user_id": 42}`)
	got.is(t, http.StatusServiceUnavailable, "rate_limited") // never 429
	if got.header.Get("Retry-After") != "2" || h.accepts != 0 {
		t.Errorf("got Retry-After %q and %d accepted", got.header.Get("Retry-After"), h.accepts)
	}
}

func FuzzLines(f *testing.F) {
	for _, seed := range []string{"42\n{\"user_id\":43}\n", "42", "\r\n\n 42 \n", "{\"user_id\":1e2}", "\x00"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		h := newHarness(t)
		got := h.call(http.MethodPost, "/v1/requests", string(body), "Content-Type: application/x-ndjson")
		switch got.status {
		case http.StatusAccepted:
			if h.accepts == 0 || h.accepts != strings.Count(got.body, "\n") {
				t.Errorf("%d accepted, answered %q", h.accepts, got.body)
			}
		case 400, 413, 422:
			if h.accepts > 0 {
				t.Errorf("got %d, but something was accepted of %q", got.status, body)
			}
		default:
			t.Errorf("got %d for %q", got.status, body)
		}
	})
}

func FuzzSingle(f *testing.F) {
	for _, seed := range []string{
		`{"user_id": 42}`, `{"user_id": 42, "queue": "backfill"}`, `{"user_id": 1e2}`,
		`{"queue": null, "user_id": 43}`, "\ufeff{}",
	} {
		f.Add([]byte(seed), "key")
	}
	f.Fuzz(func(t *testing.T, body []byte, key string) {
		h := newHarness(t)
		got := h.call(http.MethodPost, "/v1/requests", string(body), "Idempotency-Key: "+key)
		if accepted := got.status == http.StatusAccepted; accepted != (h.accepts == 1) {
			t.Errorf("got %d and %d submissions for %q with %q", got.status, h.accepts, body, key)
		}
	})
}

func TestACallThatBrokeOffIsNoReplay(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.call(http.MethodPost, "/v1/requests", `{"user_id": 42}`).is(t, http.StatusAccepted, "")
	h.end(purge.Failed, purge.ReasonHeld)
	many := func() answer {
		return h.call(http.MethodPost, "/v1/requests", "42\n43\n", "Content-Type: application/x-ndjson",
			"Idempotency-Key: one")
	}
	h.acceptErr = errors.New("gone away")
	many().is(t, http.StatusServiceUnavailable, "unavailable")
	h.acceptErr = nil
	if got := many(); got.status != http.StatusAccepted ||
		!strings.Contains(got.body, `"user_id":42,"found":"failed","open":true`) {
		t.Errorf("tried again: got %d %s, want what had failed before opened", got.status, got.body)
	}
	h.end(purge.Failed, purge.ReasonHeld)
	if got := many(); got.status != http.StatusAccepted ||
		!strings.Contains(got.body, `"user_id":42,"found":"failed","open":false`) {
		t.Errorf("repeated: got %d %s, want the end as it stands", got.status, got.body)
	}
}

func TestManyThatAreAcceptedInPartAreAskedForAgain(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.queueErr, h.partly = fmt.Errorf("%w: connection refused", purge.ErrNotQueued), true
	many := func() answer {
		return h.call(http.MethodPost, "/v1/requests", "42\n43\n", "Content-Type: application/x-ndjson")
	}
	many().is(t, http.StatusServiceUnavailable, "unavailable")
	h.queueErr = nil
	if got := many(); got.status != http.StatusAccepted || strings.Count(got.body, "\n") != 2 {
		t.Errorf("got %d %s", got.status, got.body)
	}
}
