package httpapi_test

import (
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/certpurge/certpurge/internal/purge"
)

const ada = `{"lms_user_id": 42}`

func TestTheEndIsNotifiedWhereNothingIsHeldBack(t *testing.T) {
	t.Parallel()
	for reason, want := range map[purge.Reason]int{
		"": http.StatusNoContent, purge.ReasonHeld: http.StatusLocked,
		purge.ReasonNotRetiring: http.StatusConflict,
	} {
		synctest.Test(t, func(t *testing.T) {
			h := newHarness(t)
			h.server.Hold = 0
			h.call(http.MethodPost, driverPath, ada).is(t, http.StatusServiceUnavailable, "running")
			h.call(http.MethodPost, driverPath, ada).is(t, http.StatusServiceUnavailable, "running")
			state := purge.Failed
			if reason == "" {
				state = purge.Done
			}
			h.end(state, reason)
			h.call(http.MethodPost, driverPath, ada).is(t, want, string(reason))
		})
	}
}

func TestTheEndIsNotifiedWhileAllPlacesAreTaken(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t)
		h.server.MaxHeld = 1
		h.call(http.MethodPost, driverPath, ada).is(t, http.StatusServiceUnavailable, "running")
		h.end(purge.Done, "")
		held := make(chan struct{})
		go func() {
			defer close(held)
			h.call(http.MethodPost, driverPath, `{"lms_user_id": 43}`).is(t, http.StatusServiceUnavailable, "running")
		}()
		synctest.Wait()
		h.call(http.MethodPost, driverPath, ada).is(t, http.StatusNoContent, "")
		<-held
	})
}

// A worker checked the user before the LMS moved them on, or before an operator fixed what was wrong, and says so after
// the driver has asked.
func TestTheEndOfAnOlderAttemptIsOldNews(t *testing.T) {
	t.Parallel()
	for _, reason := range []purge.Reason{purge.ReasonNotRetiring, purge.ReasonHeld, purge.ReasonGaveUp} {
		synctest.Test(t, func(t *testing.T) {
			h := newHarness(t)
			h.call(http.MethodPost, "/v1/requests", `{"user_id": 42}`).is(t, http.StatusAccepted, "")
			h.rows[1].State, h.rows[1].Attempts = purge.Running, 1
			time.AfterFunc(time.Second, func() {
				h.mu.Lock()
				defer h.mu.Unlock()
				h.rows[1].State, h.rows[1].Reason = purge.Failed, reason
			})
			time.AfterFunc(2*time.Second, func() { h.end(purge.Done, "") })
			h.call(http.MethodPost, driverPath, ada).is(t, http.StatusNoContent, "")
			if h.accepts != 3 {
				t.Errorf("%s: got %d submissions, want the program's, the driver's, and one more", reason, h.accepts)
			}
		})
	}
}

func TestDoneIsLookedAtAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t)
		h.call(http.MethodPost, driverPath, ada).is(t, http.StatusServiceUnavailable, "running")
		h.end(purge.Done, "")
		h.links[42] = true // a backup was restored
		h.call(http.MethodPost, driverPath, ada).is(t, http.StatusServiceUnavailable, "running")
	})
}

func TestWhatIsNotQueuedYetIsAskedForAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t)
		h.queueErr = fmt.Errorf("%w: connection refused", purge.ErrNotQueued)
		for want := 1; want <= 2; want++ {
			h.call(http.MethodPost, driverPath, ada).is(t, http.StatusServiceUnavailable, "running")
			if h.accepts != want {
				t.Errorf("got %d submissions, want %d", h.accepts, want)
			}
		}
		h.queueErr = nil
		h.call(http.MethodPost, driverPath, ada).is(t, http.StatusServiceUnavailable, "running")
		h.call(http.MethodPost, driverPath, ada).is(t, http.StatusServiceUnavailable, "running")
		if h.accepts != 3 {
			t.Errorf("got %d submissions, want no more once the task is there", h.accepts)
		}
	})
}

func TestAnotherRunOfTheDriverBeginsAnew(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t)
		h.call(http.MethodPost, driverPath, ada).is(t, http.StatusServiceUnavailable, "running")
		h.end(purge.Failed, purge.ReasonGaveUp)
		time.AfterFunc(time.Second, func() { h.end(purge.Done, "") }) // an operator has fixed the cause
		h.call(http.MethodPost, driverPath, ada, "Authorization: Bearer enqueue").is(t, http.StatusNoContent, "")
		if h.accepts != 2 {
			t.Errorf("got %d submissions, want 2", h.accepts)
		}
	})
}

func TestADateIsLookedAtByANewAttempt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t)
		time.AfterFunc(time.Second, func() { h.end(purge.Queued, purge.ReasonRetained) })
		h.call(http.MethodPost, driverPath, ada).is(t, http.StatusLocked, "retained")
		time.AfterFunc(time.Second, func() { h.end(purge.Done, "") }) // an operator has removed the retention
		h.call(http.MethodPost, driverPath, ada).is(t, http.StatusNoContent, "")
		if h.accepts != 2 {
			t.Errorf("got %d submissions, want one for each call", h.accepts)
		}
	})
}
