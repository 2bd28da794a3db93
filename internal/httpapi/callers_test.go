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
		h := newHouse(t) // 10 places
		h.call(http.MethodGet, "/", "")
		var greedy sync.WaitGroup
		waited := make(chan time.Duration, 30)
		for user := range 30 {
			greedy.Go(func() {
				begun := time.Now()
				h.call(http.MethodPost, driverPath, fmt.Sprintf(`{"lms_user_id": %d}`, 42+user%3), "Authorization: Bearer greedy@enqueue")
				waited <- time.Since(begun)
			})
		}
		synctest.Wait()
		begun := time.Now()
		h.call(http.MethodPost, driverPath, `{"lms_user_id": 44}`, "Authorization: Bearer driver@enqueue").is(t, http.StatusServiceUnavailable, "running")
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

// TestTheLedgerKnowsWhoAsked, by which face and from where; and so does the log.
func TestTheLedgerKnowsWhoAsked(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.server.Hold = 0
	h.call(http.MethodPost, "/v1/requests", `{"user_id": 42}`, "Authorization: Bearer portal@enqueue").is(t, http.StatusAccepted, "")
	h.call(http.MethodPost, driverPath, `{"lms_user_id": 43}`, "Authorization: Bearer driver@enqueue")
	h.call(http.MethodGet, "/v1/requests", "", "Authorization: Bearer portal@enqueue").is(t, http.StatusForbidden, "right_missing")
	h.call(http.MethodGet, "/v1/requests", "", "Authorization: ").is(t, http.StatusUnauthorized, "credentials_missing")
	var by []string
	for _, w := range h.wishes {
		by = append(by, w.By)
	}
	if got, want := strings.Join(by, "; "), "token portal, v1, 192.0.2.1; token driver, driver, 192.0.2.1"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	lines := strings.Split(strings.TrimSpace(h.log.String()), "\n")
	for i, want := range []string{
		`"address":"192.0.2.1","face":"v1","caller":"portal","caller_kind":"token"`, `"face":"driver","caller":"driver","caller_kind":"token"`,
		`"status":403`, `"status":401`,
	} {
		if i >= len(lines) || !strings.Contains(lines[i], want) || !strings.Contains(lines[i], `"address":"192.0.2.1"`) {
			t.Errorf("line %d: got %s, want %s", i+1, lines[min(i, len(lines)-1)], want)
		}
	}
}

// TestRefusedCredentialsAreLimited for each address, where nobody takes that for the end.
func TestRefusedCredentialsAreLimited(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	for range 10 {
		h.call(http.MethodGet, "/v1/requests", "", "Authorization: ").is(t, http.StatusUnauthorized, "credentials_missing")
	}
	got := h.call(http.MethodGet, "/v1/requests", "", "Authorization: ")
	got.is(t, http.StatusTooManyRequests, "refused_too_often")
	if got.header.Get("Retry-After") == "" {
		t.Error("it does not say when to come back")
	}
	h.call(http.MethodPost, driverPath, `{"lms_user_id": 42}`, "Authorization: ").is(t, http.StatusUnauthorized, "credentials_missing")
	h.call(http.MethodGet, "/v1/requests", "").is(t, http.StatusOK, "") // who is let in does not wait
}

// TestAKeyBelongsToItsCaller: the same one of another caller is another key.
func TestAKeyBelongsToItsCaller(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	const key = "Idempotency-Key: ticket-1"
	h.call(http.MethodPost, "/v1/requests", `{"user_id": 42}`, key, "Authorization: Bearer one@enqueue", "Content-Type: application/json").is(t, http.StatusAccepted, "")
	h.call(http.MethodPost, "/v1/requests", `{"user_id": 43}`, key, "Authorization: Bearer two@enqueue", "Content-Type: application/json").is(t, http.StatusAccepted, "")
	h.call(http.MethodPost, "/v1/requests", `{"user_id": 43}`, key, "Authorization: Bearer one@enqueue", "Content-Type: application/json").
		is(t, http.StatusUnprocessableEntity, "key_reused")
	h.acceptErr = fmt.Errorf("request 1: %w", purge.ErrTooManyKeys)
	h.call(http.MethodPost, "/v1/requests", `{"user_id": 42}`, "Idempotency-Key: ticket-2", "Content-Type: application/json").is(t, http.StatusConflict, "too_many_keys")
}
