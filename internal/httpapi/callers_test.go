package httpapi_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/certpurge/certpurge/internal/purge"
)

// TestOneCallerLeavesPlacesForOthers has one token hold as many answers as it can, before the driver calls.
func TestOneCallerLeavesPlacesForOthers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t) // 10 places
		h.call(http.MethodGet, "/", "")
		var greedy sync.WaitGroup
		waited := make(chan time.Duration, 30)
		for user := range 30 {
			greedy.Go(func() {
				begun := time.Now()
				h.call(http.MethodPost, driverPath, fmt.Sprintf(`{"lms_user_id": %d}`, 42+user%3),
					"Authorization: Bearer greedy@enqueue")
				waited <- time.Since(begun)
			})
		}
		synctest.Wait()
		begun := time.Now()
		h.call(http.MethodPost, driverPath, `{"lms_user_id": 44}`, "Authorization: Bearer driver@enqueue").is(t,
			http.StatusServiceUnavailable, "running")
		if held := time.Since(begun); held < h.server.Hold {
			t.Errorf("the driver's call was held for %v, want %v", held, h.server.Hold)
		}
		greedy.Wait()
		close(waited)
		held := 0
		for d := range waited {
			if d >= h.server.Hold {
				held++
			}
		}
		if held < 1 || held > 5 {
			t.Errorf("got %d answers of one caller held, want at most half of 10", held)
		}
	})
}

// TestGreedyCallersLeaveAPlaceForTheNext has three tokens hold as many answers as they can, one after the other.
func TestGreedyCallersLeaveAPlaceForTheNext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t) // 10 places
		h.call(http.MethodGet, "/", "")
		var greedy sync.WaitGroup
		for caller := range 3 {
			for range 30 {
				greedy.Go(func() {
					h.call(http.MethodPost, driverPath, `{"lms_user_id": 43}`,
						fmt.Sprintf("Authorization: Bearer greedy%d@enqueue", caller))
				})
			}
			synctest.Wait()
		}
		time.AfterFunc(3*time.Second, func() { h.end(purge.Done, "") })
		begun := time.Now()
		h.call(http.MethodPost, driverPath, `{"lms_user_id": 42}`, "Authorization: Bearer driver@enqueue").is(t,
			http.StatusNoContent, "")
		if held := time.Since(begun); held < 3*time.Second {
			t.Errorf("the driver's call was held for %v, want until the end", held)
		}
		greedy.Wait()
		for range 2 { // all places are free again
			h.call(http.MethodPost, driverPath, `{"lms_user_id": 44}`, "Authorization: Bearer driver@enqueue").is(t,
				http.StatusServiceUnavailable, "running")
		}
	})
}

// TestTheLedgerKnowsWhoAsked, by which face and from where; and so does the log.
func TestTheLedgerKnowsWhoAsked(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.server.Hold = 0
	h.call(http.MethodPost, "/v1/requests", `{"user_id": 42}`, "Authorization: Bearer portal@enqueue").is(t,
		http.StatusAccepted, "")
	h.call(http.MethodPost, driverPath, `{"lms_user_id": 43}`, "Authorization: Bearer driver@enqueue")
	h.call(http.MethodGet, "/v1/requests", "", "Authorization: Bearer portal@enqueue").is(t, http.StatusForbidden,
		"right_missing")
	h.call(http.MethodGet, "/v1/requests", "", "Authorization: ").is(t, http.StatusUnauthorized, "credentials_missing")
	var by []string
	for _, w := range h.submissions {
		by = append(by, w.By)
	}
	if got, want := strings.Join(by, "; "), "token portal, v1, 192.0.2.1; token driver, driver "+
		"LICENSE_MANAGER, 192.0.2.1"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	lines := strings.Split(strings.TrimSpace(h.log.String()), "\n")
	for i, want := range []string{
		`"address":"192.0.2.1","face":"v1","caller":"portal","caller_kind":"token"`,
		`"face":"driver","caller":"driver","caller_kind":"token"`,
		`"status":403`, `"status":401`,
	} {
		if i >= len(lines) || !strings.Contains(lines[i], want) || !strings.Contains(lines[i], `"address":"192.0.2.1"`) {
			t.Errorf("line %d: got %s, want %s", i+1, lines[min(i, len(lines)-1)], want)
		}
	}
}

// TestWhatTheLedgerKeepsOfACallerIsBounded also has names that only a careless configuration can hold.
func TestWhatTheLedgerKeepsOfACallerIsBounded(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.server.Hold, h.server.PathPrefix = 0, "/certpurge"
	for name, want := range map[string]string{
		"superuser":                   "jwt superuser by client portal-1",
		"a\u2028b\x01\r\n\u202e\xffc": "jwt abc by client portal-1",
		strings.Repeat("ä", 150):      "jwt " + strings.Repeat("ä", 62),
	} {
		h.call(http.MethodPost, "/certpurge/user/retire/", `{"username": "Ada"}`, "Authorization: JWT "+name,
			"X-Client: portal-1")
		got := h.submissions[len(h.submissions)-1].By
		if got != want+", driver CREDENTIALS, 192.0.2.1" || len(got) > 160 {
			t.Errorf("got %q with %d bytes, want %q", got, len(got), want)
		}
	}
	h.call(http.MethodPost, "/certpurge/api/v1/retire", `{"lms_user_id": 43}`, "Authorization: JWT service")
	h.call(http.MethodPost, "/certpurge/v1/requests/1/requeue", "", "Authorization: JWT service").is(t,
		http.StatusConflict, "not_failed")
	h.rows[1].State = purge.Failed
	h.call(http.MethodPost, "/certpurge/v1/requests/1/requeue", "", "Authorization: JWT service").is(t,
		http.StatusAccepted, "")
	if got, want := h.submissions[len(h.submissions)-1].By+"; "+h.reopened.By,
		"jwt service, driver, 192.0.2.1; jwt service, v1, 192.0.2.1"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if !strings.Contains(h.log.String(), `"caller":"superuser","caller_kind":"jwt","client":"portal-1"`) {
		t.Errorf("the log lacks the client:\n%s", h.log)
	}
}

// TestAMissingRightIsNoRefusalOfCredentials: the token is right, and others behind its address are not told to wait.
func TestAMissingRightIsNoRefusalOfCredentials(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	for range 20 {
		h.call(http.MethodGet, "/v1/requests", "", "Authorization: Bearer enqueue").is(t, http.StatusForbidden,
			"right_missing")
	}
	h.call(http.MethodGet, "/v1/requests", "", "Authorization: ").is(t, http.StatusUnauthorized, "credentials_missing")
}

func TestATokenOfANewKeyIsNotifiedWhenToComeBack(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	for range 20 { // it is no refusal
		got := h.call(http.MethodPost, driverPath, ada, "Authorization: JWT rotated")
		got.is(t, http.StatusServiceUnavailable, "keys_unavailable")
		if got.header.Get("Retry-After") != "42" || got.header.Get("WWW-Authenticate") != "" {
			t.Errorf("got %v", got.header)
		}
	}
	h.call(http.MethodGet, "/v1/requests", "", "Authorization: ").is(t, http.StatusUnauthorized, "credentials_missing")
}

// TestRefusedCredentialsAreLimited for each address, where the caller does not take that for the end.
func TestRefusedCredentialsAreLimited(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	for range 10 {
		h.call(http.MethodGet, "/v1/requests", "", "Authorization: ").is(t, http.StatusUnauthorized, "credentials_missing")
	}
	got := h.call(http.MethodGet, "/v1/requests", "", "Authorization: ")
	got.is(t, http.StatusTooManyRequests, "refused_too_often")
	if got.header.Get("Retry-After") == "" {
		t.Error("it does not say when to come back")
	}
	h.call(http.MethodPost, driverPath, `{"lms_user_id": 42}`, "Authorization: ").is(t, http.StatusUnauthorized,
		"credentials_missing")
	h.call(http.MethodGet, "/v1/requests", "").is(t, http.StatusOK, "") // who is let in does not wait
}

// TestAKeyBelongsToItsCaller: the same one of another caller is another key.
func TestAKeyBelongsToItsCaller(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	const key = "Idempotency-Key: ticket-1"
	h.call(http.MethodPost, "/v1/requests", `{"user_id": 42}`, key, "Authorization: Bearer one@enqueue",
		"Content-Type: application/json").is(t, http.StatusAccepted, "")
	h.call(http.MethodPost, "/v1/requests", `{"user_id": 43}`, key, "Authorization: Bearer two@enqueue",
		"Content-Type: application/json").is(t, http.StatusAccepted, "")
	h.call(http.MethodPost, "/v1/requests", `{"user_id": 43}`, key, "Authorization: Bearer one@enqueue",
		"Content-Type: application/json").
		is(t, http.StatusUnprocessableEntity, "key_reused")
	h.acceptErr = fmt.Errorf("request 1: %w", purge.ErrTooManyKeys)
	h.call(http.MethodPost, "/v1/requests", `{"user_id": 42}`, "Idempotency-Key: ticket-2",
		"Content-Type: application/json").is(t, http.StatusConflict, "too_many_keys")
	if len(h.bodies) != 2 {
		t.Errorf("the ledger remembers %d bodies, want those of the two keys that were accepted", len(h.bodies))
	}
}
