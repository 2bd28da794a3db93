package httpapi_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/certpurge/certpurge/internal/purge"
)

const driverPath = "/api/v1/retire_user/"

func TestEveryDriverPathTakesItsBody(t *testing.T) {
	t.Parallel()
	for path, body := range map[string]string{
		"/api/v1/retire_user":                      `{"lms_user_id": 42, "original_username": "Ada"}`,
		"/api/v2/user/retire":                      `{"username": "Ada"}`,
		"/user/retire":                             `{"username": "Ada"}`,
		"/demographics/api/v1/retire_demographics": `{"lms_user_id": 42}`,
		"/api/v1/retire":                           `{"edx_lms_user_id": 42}`,
		"/certpurge/api/v1/retire_user":            `{"lms_user_id": 42, "original_username": "redacted"}`,
		"/certpurge//api/v1/retire_user":           `{"lms_user_id": 42, "original_username": "cleaned up"}`,
		"/certpurge/api/v1/./x/../retire_user":     `{"lms_user_id": 42}`,
	} {
		for _, slash := range []string{"", "/"} {
			t.Run(path+slash, func(t *testing.T) {
				t.Parallel()
				h := newHarness(t)
				if strings.HasPrefix(path, "/certpurge") {
					h.server.PathPrefix = "/certpurge"
				}
				if strings.Contains(body, "cleaned up") {
					delete(h.names, "Ada") // with the row
				}
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				go h.endOnceAsked(ctx, purge.Done, "")
				got := h.call(http.MethodPost, path+slash, body)
				if got.status != http.StatusNoContent || got.body != "" {
					t.Errorf("got %d %q, want an empty 204", got.status, got.body)
				}
				if again := h.call(http.MethodPost, path+slash, body); again.status != http.StatusNoContent {
					t.Errorf("again: got %d", again.status)
				}
			})
		}
	}
}

func TestEveryEndHasItsAnswer(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		state  purge.State
		reason purge.Reason
		want   int
		code   string
	}{
		{purge.Done, "", http.StatusNoContent, ""},
		{purge.Done, purge.ReasonNothingToPurge, http.StatusNoContent, ""},
		{purge.Done, purge.ReasonFilesMissing, http.StatusOK, "files_missing"},
		{purge.Failed, purge.ReasonFilesMissing, http.StatusFailedDependency, "files_missing"},
		{purge.Refused, purge.ReasonNotRetiring, http.StatusConflict, "not_retiring"},
		{purge.Refused, purge.ReasonUnknownUser, http.StatusConflict, "unknown_user"},
		{purge.Failed, purge.ReasonUnrecognised, http.StatusUnprocessableEntity, "unrecognised_reference"},
		{purge.Failed, purge.ReasonHeld, http.StatusLocked, "held"},
		{purge.Failed, purge.ReasonNoPermission, http.StatusFailedDependency, "no_permission"},
		{purge.Failed, purge.ReasonGaveUp, http.StatusFailedDependency, "gave_up"},
		{purge.Queued, purge.ReasonRetained, http.StatusLocked, "retained"},
	} {
		t.Run(string(tc.state)+" "+string(tc.reason), func(t *testing.T) {
			t.Parallel()
			h := newHarness(t)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			go h.endOnceAsked(ctx, tc.state, tc.reason)
			h.call(http.MethodPost, driverPath, `{"lms_user_id": 42}`).is(t, tc.want, tc.code)
			if tc.state == purge.Done { // and the same to one who asks again
				h.call(http.MethodPost, driverPath, `{"lms_user_id": 42}`).is(t, tc.want, tc.code)
			}
		})
	}
}

func TestNoEndIsAnswerThatTheDriverMisunderstands(t *testing.T) {
	t.Parallel()
	final := []int{http.StatusConflict, http.StatusUnprocessableEntity, http.StatusLocked, http.StatusFailedDependency}
	for _, state := range []purge.State{purge.Refused, purge.Failed} {
		for _, reason := range append(purge.Reasons(), "") {
			h := newHarness(t)
			ctx, cancel := context.WithCancel(t.Context())
			go h.endOnceAsked(ctx, state, reason)
			got := h.call(http.MethodPost, driverPath, `{"lms_user_id": 42}`)
			cancel()
			if !slices.Contains(final, got.status) {
				t.Errorf("%s: %s: got %d", state, reason, got.status)
			}
		}
	}
}

func TestAnswerIsHeldUntilTheEndOrForAWhile(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t)
		begun := time.Now()
		got := h.call(http.MethodPost, driverPath, `{"lms_user_id": 42}`)
		got.is(t, http.StatusServiceUnavailable, "running")
		if took := time.Since(begun); took != time.Minute || got.header.Get("Retry-After") == "" {
			t.Errorf("held for %v, Retry-After %q", took, got.header.Get("Retry-After"))
		}
		// Asking again is no new submission: it would wake a task that waits for its retry.
		time.AfterFunc(3*time.Second, func() {
			if h.accepts != 1 {
				t.Errorf("got %d submissions, want 1", h.accepts)
			}
			h.end(purge.Done, "")
		})
		begun = time.Now()
		h.call(http.MethodPost, driverPath, `{"lms_user_id": 42}`).is(t, http.StatusNoContent, "")
		if took := time.Since(begun); took < 3*time.Second || took > 4*time.Second {
			t.Errorf("held for %v", took)
		}
	})
}

func TestAFailureIsNotifiedOnceAndThenTriedAnew(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t)
		time.AfterFunc(time.Second, func() { h.end(purge.Failed, purge.ReasonHeld) })
		h.call(http.MethodPost, driverPath, `{"lms_user_id": 42}`).is(t, http.StatusLocked, "held")
		time.AfterFunc(time.Second, func() { h.end(purge.Done, "") }) // an operator has released the hold
		h.call(http.MethodPost, driverPath, `{"lms_user_id": 42}`).is(t, http.StatusNoContent, "")
	})
}

func TestAnEndBetweenTwoCallsIsOldNews(t *testing.T) {
	t.Parallel()
	for reason, want := range map[purge.Reason]int{
		purge.ReasonHeld:   http.StatusNoContent,
		purge.ReasonGaveUp: http.StatusFailedDependency,
	} {
		synctest.Test(t, func(t *testing.T) {
			h := newHarness(t)
			h.call(http.MethodPost, driverPath, `{"lms_user_id": 42}`).is(t, http.StatusServiceUnavailable, "running")
			h.end(purge.Failed, reason)
			time.AfterFunc(time.Second, func() { // if it is tried anew
				if h.accepts == 2 {
					h.end(purge.Done, "")
				}
			})
			h.call(http.MethodPost, driverPath, `{"lms_user_id": 42}`).is(t, want, "")
		})
	}
}

func TestADriverThatComesBackTomorrowBeginsAnew(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t)
		h.call(http.MethodPost, driverPath, `{"lms_user_id": 42}`).is(t, http.StatusServiceUnavailable, "running")
		h.end(purge.Failed, purge.ReasonGaveUp)
		time.Sleep(24 * time.Hour) //nolint:forbidigo // the bubble's clock
		time.AfterFunc(time.Second, func() { h.end(purge.Done, "") })
		h.call(http.MethodPost, driverPath, `{"lms_user_id": 42}`).is(t, http.StatusNoContent, "")
	})
}

func TestNoMoreThanTheLimitAreHeld(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t)
		h.server.MaxHeld = 4            // and 2 for each of one or two callers
		h.call(http.MethodGet, "/", "") // makes the handler
		var wg sync.WaitGroup
		for _, user := range []int{42, 43} {
			wg.Go(func() {
				h.call(http.MethodPost, driverPath, fmt.Sprintf(`{"lms_user_id": %d}`, user)).is(t, http.StatusServiceUnavailable,
					"running")
			})
		}
		synctest.Wait()
		begun := time.Now()
		h.call(http.MethodPost, driverPath, `{"lms_user_id": 44}`).is(t, http.StatusServiceUnavailable, "running")
		if time.Since(begun) > time.Second || h.accepts != 3 {
			t.Errorf("got %d submissions, held for %v: want the third accepted and answered at once", h.accepts,
				time.Since(begun))
		}
		wg.Wait()
	})
}

func TestStoppingLetsTheHeldGo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t)
		time.AfterFunc(time.Second, func() { h.server.Stop() })
		begun := time.Now()
		h.call(http.MethodPost, driverPath, `{"lms_user_id": 42}`).is(t, http.StatusServiceUnavailable, "running")
		if took := time.Since(begun); took != time.Second {
			t.Errorf("held for %v, want 1s", took)
		}
	})
}

func TestBodiesThatTheDriverFaceRefuses(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		body   string
		status int
		code   string
	}{
		"empty":               {``, 400, "not_json"},
		"not JSON":            {`lms_user_id=42`, 400, "not_json"},
		"a list":              {`[42]`, 400, "wrong_type"},
		"a string":            {`{"lms_user_id": "42"}`, 400, "wrong_type"},
		"a float":             {`{"lms_user_id": 42.0}`, 400, "wrong_type"},
		"an exponent":         {`{"lms_user_id": 4.2e1}`, 400, "wrong_type"},
		"beyond 64 bits":      {`{"lms_user_id": 99999999999999999999}`, 400, "wrong_type"},
		"zero":                {`{"lms_user_id": 0}`, 400, "user_id_out_of_range"},
		"negative":            {`{"lms_user_id": -42}`, 400, "user_id_out_of_range"},
		"2^31":                {`{"lms_user_id": 2147483648}`, 400, "user_id_out_of_range"},
		"null":                {`{"lms_user_id": null}`, 400, "wrong_members"},
		"no user":             {`{}`, 400, "wrong_members"},
		"two of them":         {`{"lms_user_id": 42, "edx_lms_user_id": 42}`, 400, "wrong_members"},
		"name without id":     {`{"original_username": "Ada"}`, 400, "wrong_members"},
		"trailing garbage":    {`{"lms_user_id": 42}}`, 400, "not_json"},
		"two objects":         {`{"lms_user_id": 42}{"lms_user_id": 43}`, 400, "not_json"},
		"twice":               {`{"lms_user_id": 42, "lms_user_id": 43}`, 400, "duplicate_member"},
		"twice, escaped":      {`{"lms_user_id": 42, "lms\u005fuser_id": 43}`, 400, "duplicate_member"},
		"other case":          {`{"LMS_User_ID": 42}`, 400, "unknown_member"},
		"unknown member":      {`{"lms_user_id": 42, "email": "ada@example.com"}`, 400, "unknown_member"},
		"another database":    {`{"lms_user_id": 43, "original_username": "Bob"}`, 409, "names_another_user"},
		"unknown name":        {`{"username": "Bob"}`, 409, "unknown_name"},
		"name in other case":  {`{"username": "ada"}`, 409, "unknown_name"},
		"name with spaces":    {`{"username": "Ada "}`, 409, "unknown_name"},
		"redacted name":       {`{"username": "redacted"}`, 409, "redacted_name"},
		"empty name":          {`{"username": ""}`, 400, "wrong_name"},
		"name of 151":         {`{"username": "` + strings.Repeat("ä", 151) + `"}`, 400, "wrong_name"},
		"broken UTF-8":        {"{\"username\": \"\xff\"}", 400, "not_json"},
		"another user's name": {`{"lms_user_id": 43, "original_username": "Ada"}`, 409, "names_another_user"},
		"too large":           {`{"username": "` + strings.Repeat("a", 70_000) + `"}`, 413, "body_too_large"},
		"deep":                {strings.Repeat(`{"username":`, 5000), 400, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHarness(t)
			got := h.call(http.MethodPost, driverPath, tc.body)
			got.is(t, tc.status, tc.code)
			if h.accepts > 0 {
				t.Error("something was accepted")
			}
			if !strings.Contains(h.log.String(), `"code":"`+tc.code) { // the driver throws the body away
				t.Errorf("the log does not say why: %s", h.log)
			}
			for _, personal := range []string{"Ada", "ada@", "Bob", "äää", "aaa"} {
				if strings.Contains(got.body+h.log.String(), personal) {
					t.Errorf("the answer or the log holds %q:\n%s\n%s", personal, got.body, h.log)
				}
			}
		})
	}
}

// The driver takes a 404 for success, so a user ID that the LMS database does not hold has to be an error: retirement
// keeps the user's row, and a missing one means that certpurge reads another database than the driver.
func TestAnUnknownUserIsNoSuccessForTheDriver(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ body, code string }{
		{`{"lms_user_id": 4711}`, "unknown_user"},
		{`{"edx_lms_user_id": 4711}`, "unknown_user"},
		{`{"lms_user_id": 4711, "original_username": "redacted"}`, "unknown_user"},
		{`{"lms_user_id": 4711, "original_username": "Bob"}`, "unknown_user"},
		{`{"lms_user_id": 4711, "original_username": "Ada"}`, "names_another_user"}, // the name is that of user 42
		{`{"username": "Bob"}`, "unknown_name"},
	} {
		for _, path := range []string{
			"/api/v1/retire_user/", "/api/v2/user/retire/", "/user/retire/", "/demographics/api/v1/retire_demographics/",
			"/api/v1/retire/",
		} {
			t.Run(path+tc.body, func(t *testing.T) {
				t.Parallel()
				h := newHarness(t)
				h.call(http.MethodPost, path, tc.body).is(t, http.StatusConflict, tc.code)
				if h.accepts > 0 {
					t.Error("a request was accepted")
				}
			})
		}
	}
}

func TestTroubleOfOursIsAskedForAgain(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.broken = errors.New("connection refused")
	for _, body := range []string{`{"lms_user_id": 42}`, `{"username": "Ada"}`} {
		got := h.call(http.MethodPost, driverPath, body)
		got.is(t, http.StatusServiceUnavailable, "unavailable")
		if strings.Contains(got.body, "refused") || !strings.Contains(h.log.String(), "connection refused") {
			t.Errorf("the cause belongs into the log, not into the answer: %s", got.body)
		}
	}
	h = newHarness(t)
	h.call(http.MethodPost, driverPath, `{"lms_user_id": 42}`, "Authorization: Bearer outage").is(t,
		http.StatusServiceUnavailable, "keys_unavailable")
}

func TestWhatIsNotQueuedYetIsAcceptedAllTheSame(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.queueErr = fmt.Errorf("%w: connection refused", purge.ErrNotQueued)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go h.endOnceAsked(ctx, purge.Done, "")
	h.call(http.MethodPost, driverPath, `{"lms_user_id": 42}`).is(t, http.StatusNoContent, "")
	h.call(http.MethodPost, "/v1/requests", `{"user_id": 43}`).is(t, http.StatusAccepted, "")
}

func TestUnknownPathsAreNoSuccessForTheDriver(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.server.PathPrefix = "/certpurge"
	for _, path := range []string{
		"/", "/api/v1/retire_user/", "/certpurgeX/api/v1/retire_user/",
		"/certpurgeapi/v1/retire_user/", "/certpurge/api/v3/user/retire/", "/certpurge", "/certpurge/v1",
	} {
		h.call(http.MethodPost, path, `{"lms_user_id": 42}`).is(t, http.StatusBadRequest, "unknown_path")
		h.call(http.MethodGet, path, "").is(t, http.StatusBadRequest, "unknown_path") // after a redirect
	}
	got := h.call(http.MethodGet, "/certpurge"+driverPath, "")
	got.is(t, http.StatusMethodNotAllowed, "method_not_allowed")
	if got.header.Get("Allow") != http.MethodPost {
		t.Errorf("got Allow %q", got.header.Get("Allow"))
	}
	h.call(http.MethodDelete, "/certpurge/v1/requests/1", "").is(t, http.StatusMethodNotAllowed, "method_not_allowed")
	for _, hidden := range []string{"certpurgeX", "certpurgeapi", "v3"} {
		if strings.Contains(h.log.String(), hidden) {
			t.Errorf("the log holds what a client wrote into a path: %s", h.log)
		}
	}
}

func TestCallersNeedTheirRight(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ method, path, body, right string }{
		{http.MethodPost, driverPath, `{"lms_user_id": 4711}`, "enqueue"},
		{http.MethodPost, "/v1/requests", `{"user_id": 42}`, "enqueue"},
		{http.MethodGet, "/v1/requests", "", "read"},
		{http.MethodGet, "/v1/requests/1", "", "read"},
		{http.MethodGet, "/v1/users/42/evidence", "", "read"},
		{http.MethodPost, "/v1/requests/1/requeue", "", "requeue"},
	} {
		h := newHarness(t) // of its own: an address is refused a few times only
		h.call(http.MethodPost, "/v1/requests", `{"user_id": 42}`).is(t, http.StatusAccepted, "")
		got := h.call(tc.method, tc.path, tc.body, "Authorization: ")
		got.is(t, http.StatusUnauthorized, "credentials_missing")
		if !strings.HasPrefix(got.header.Get("WWW-Authenticate"), "Bearer ") {
			t.Errorf("%s %s: got the challenge %q", tc.method, tc.path, got.header.Get("WWW-Authenticate"))
		}
		others := strings.ReplaceAll("enqueue,read,requeue", tc.right, "")
		if tc.right == "enqueue" {
			others = "read,requeue"
		}
		h.call(tc.method, tc.path, tc.body, "Authorization: Bearer "+others).is(t, http.StatusForbidden, "right_missing")
		if got := h.call(tc.method, tc.path, tc.body, "Authorization: Bearer "+tc.right); got.status == http.StatusForbidden {
			t.Errorf("%s %s with the right %s: got %d", tc.method, tc.path, tc.right, got.status)
		}
	}
}

func TestAPanicIsTroubleOfOurs(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.server.Users = nil
	h.call(http.MethodPost, driverPath, `{"lms_user_id": 42}`).is(t, http.StatusServiceUnavailable, "internal")
	if log := h.log.String(); !strings.Contains(log, "panic") || !strings.Contains(log, "httpapi.(*Server)") {
		t.Errorf("the log says %s, want the stack", log)
	}
}

func FuzzDriverBody(f *testing.F) {
	for _, seed := range []string{
		`{"lms_user_id": 42, "original_username": "Ada"}`, `{"username": "Ada"}`,
		`{"edx_lms_user_id": 2147483647}`, `{`, `null`, "\ufeff{}",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		h := newHarness(t)
		h.server.Hold = 0
		got := h.call(http.MethodPost, driverPath, string(body))
		switch got.status {
		case http.StatusServiceUnavailable: // accepted: then it is a user whom we know
			if h.accepts != 1 {
				t.Errorf("got %d for %q", got.status, body)
			}
		case 400, 409, 413:
			if h.accepts != 0 {
				t.Errorf("got %d, but something was accepted of %q", got.status, body)
			}
		default:
			t.Errorf("got %d for %q", got.status, body)
		}
	})
}
