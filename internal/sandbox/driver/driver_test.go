package driver_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/sandbox/demo/dataset"
	"github.com/certpurge/certpurge/internal/sandbox/driver"
)

var done = dataset.End{State: purge.Done}

func TestTheDriverRetiresWithTheRealServerAndWorker(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	license := w.driver(driver.LicenseManager)

	t.Log("no worker is there for a minute; the driver keeps asking")
	waited, once := time.Duration(0), sync.Once{}
	license.Wait = func(_ context.Context, d time.Duration) {
		if waited += d; waited > time.Minute {
			once.Do(w.startWorker)
		}
	}
	first := w.learner(done)
	if got := w.retire(license, first, true, "204"); got.Calls < 4 {
		t.Errorf("got %d calls, want some 503 before the success", got.Calls)
	}
	license.Wait = func(context.Context, time.Duration) {}

	t.Log("every kind of user")
	for _, u := range w.data.Users {
		if !u.Enqueued {
			continue
		}
		switch u.Want.Reason {
		case purge.ReasonFilesMissing:
			if u.Want.State == purge.Done { // the LMS's record of the retirement says so
				w.retire(license, w.named(u.ID), true, `"code":"files_missing"`)
			} else {
				w.retire(license, w.named(u.ID), false, "424 Client Error: Failed Dependency")
			}
		case purge.ReasonShared:
			w.retire(license, w.named(u.ID), false, "424 Client Error: Failed Dependency")
		case purge.ReasonNotRetiring:
			w.retire(license, driver.Learner{ID: u.ID, Name: "unknown"}, false, "409 Client Error: Conflict")
		case purge.ReasonHeld, purge.ReasonRetained:
			w.retire(license, w.named(u.ID), false, "423 Client Error: Locked")
		case purge.ReasonUnrecognised:
			w.retire(license, w.named(u.ID), false, "422 Client Error: Unprocessable Entity")
		default:
			w.retire(license, w.named(u.ID), true, "204")
		}
	}
	t.Log("an LMS database that is not the driver's")
	w.retire(license, driver.Learner{ID: first.ID, Name: "another database"}, false, "409 Client Error: Conflict")
	stranger := driver.Learner{ID: 2_000_000_000, Name: "another database"}
	for _, service := range []driver.Service{
		driver.LicenseManager, driver.Ecommerce, driver.Credentials, driver.Demographics,
	} {
		w.retire(w.driver(service), stranger, false, "409 Client Error: Conflict")
	}
	if got := w.retire(license, first, true, "204"); got.Calls != 1 {
		t.Errorf("done before: got %d calls", got.Calls)
	}

	t.Log("by name")
	for _, service := range []driver.Service{driver.Ecommerce, driver.Credentials} {
		w.retire(w.driver(service), first, true, "204")
		w.retire(w.driver(service), driver.Learner{Name: strings.ToUpper(first.Name)}, false, "409 Client Error: Conflict")
	}
	w.retire(w.driver(driver.Demographics), first, true, "204")

	t.Log("failed, then mended")
	held := w.learner(dataset.End{State: purge.Failed, Reason: purge.ReasonHeld})
	if got := w.retire(license, held, false, "423 Client Error: Locked"); got.Calls != 1 {
		t.Errorf("got %d calls, want the failure at once", got.Calls)
	}
	w.releaseHolds()
	if got := w.retire(license, held, true, "204"); got.Calls != 1 {
		t.Errorf("mended: got %d calls, want the success at once", got.Calls)
	}

	t.Log("a token that has expired")
	stale, err := w.env.Callers.JWT(time.Now().Add(-2 * time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	license.Token = stale
	if got := w.retire(license, first, false, "401 Client Error: Unauthorized"); got.Calls != 1 {
		t.Errorf("got %d calls", got.Calls)
	}
}

// releaseHolds is what mends a held request.
func (w *world) releaseHolds() {
	w.t.Helper()
	for _, bucket := range dataset.Buckets() {
		for _, o := range w.env.Storage.Objects(bucket, "") {
			if o.TemporaryHold || o.EventBasedHold {
				if err := w.env.Storage.SetGenerationHold(bucket, o.Name, o.Generation, false, false); err != nil {
					w.t.Fatal(err)
				}
			}
		}
	}
}

// The model of the driver is held to the table of docs/integrations.md.
func TestTreatmentOfAnswers(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		service   driver.Service
		answers   []string // status and body, one for each call; the last one for all others
		completed bool
		recorded  string
		calls     int // 0: many
	}{
		"204":                    {driver.LicenseManager, []string{"204 "}, true, "204", 1},
		"200 with JSON":          {driver.LicenseManager, []string{`200 {}`}, true, "{}", 1},
		"202 does not mean wait": {driver.LicenseManager, []string{`202 {}`}, true, "{}", 1},
		"empty 200":              {driver.LicenseManager, []string{"200 "}, false, "JSONDecodeError", 1},
		"404, license manager":   {driver.LicenseManager, []string{"404 {}"}, true, "True", 1},
		"404, ecommerce":         {driver.Ecommerce, []string{"404 {}"}, false, "404 Client Error", 1},
		"429":                    {driver.LicenseManager, []string{"429 {}"}, false, "429 Client Error", 1},
		"409":                    {driver.LicenseManager, []string{"409 {}"}, false, "409 Client Error: Conflict", 1},
		"three 503":              {driver.LicenseManager, []string{"503 ", "503 ", "503 ", "204 "}, true, "204", 4},
		"503 for ever": {
			driver.LicenseManager,
			[]string{"503 "},
			false,
			"503 Server Error: Service Unavailable for url: ", 0,
		},
		"504 twice": {driver.LicenseManager, []string{"504 "}, false, "504 Server Error", 2},
		"504 once":  {driver.LicenseManager, []string{"504 ", "204 "}, true, "204", 2},
		"302":       {driver.LicenseManager, []string{"302 "}, false, "405 Client Error", 1},
		"307":       {driver.LicenseManager, []string{"307 "}, true, "204", 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			calls := 0
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/elsewhere" {
					if r.Method != http.MethodPost {
						w.WriteHeader(http.StatusMethodNotAllowed)
						return
					}
					w.WriteHeader(http.StatusNoContent)
					return
				}
				status, body, _ := strings.Cut(tc.answers[min(calls, len(tc.answers)-1)], " ")
				calls++
				w.Header().Set("Location", "/elsewhere")
				w.WriteHeader(map[string]int{
					"200": 200, "202": 202, "204": 204, "302": 302, "307": 307, "404": 404, "409": 409, "429": 429, "503": 503,
					"504": 504,
				}[status])
				_, _ = w.Write([]byte(body))
			}))
			defer server.Close()
			d := driver.Driver{
				Service: tc.service, BaseURL: server.URL, Client: server.Client(),
				Wait: func(context.Context, time.Duration) {},
			}
			got, err := d.Retire(t.Context(), driver.Learner{ID: 42, Name: "Ada"})
			if err != nil || got.Completed != tc.completed || !strings.Contains(got.Recorded, tc.recorded) || tc.calls > 0 &&
				got.Calls != tc.calls {
				t.Errorf("got %+v, %v, want %+v", got, err, tc)
			}
			if tc.calls == 0 && (got.Calls < 6 || got.Calls > 30) {
				t.Errorf("got %d calls in ten minutes, want about ten", got.Calls)
			}
		})
	}
}
