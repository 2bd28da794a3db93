package notify_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/certpurge/certpurge/internal/config"
	"github.com/certpurge/certpurge/internal/notify"
	"github.com/certpurge/certpurge/internal/sandbox/sandboxtest"
)

func verdictOf(level *string, known *bool) func(context.Context) (string, string, bool) {
	return func(context.Context) (string, string, bool) { return *level, "it is " + *level, *known }
}

// TestAReceiverThatIsDownForAnHourLosesNothing: a thousand requests end meanwhile. The receiver is called rarely, by
// one call at a time, and gets each event once.
func TestAReceiverThatIsDownForAnHourLosesNothing(t *testing.T) {
	t.Parallel()
	const many = 1000
	w := newWorld(t)
	w.advance(-time.Minute)
	n := w.begun()
	w.advance(time.Minute)
	w.receiver.answers(status(http.StatusInternalServerError))
	w.manyEnded(many / 2)
	w.once(n)
	w.rounds(n, 30*time.Minute)
	w.manyEnded(many / 2)
	w.rounds(n, 30*time.Minute)
	if calls, most := w.receiver.counted(); calls > 40 || calls < 10 || most > 8 {
		t.Errorf("while it failed it got %d calls, and %d at the same time; want 10 to 40, and the first 8 at most", calls, most)
	}
	if got := w.waiting(); got != many {
		t.Errorf("%d wait, want %d", got, many)
	}
	w.receiver.answers(nil)
	w.rounds(n, 10*time.Minute) // more than the longest pause
	if got := w.waiting(); got != 0 {
		t.Errorf("%d still wait", got)
	}
	got := w.receiver.subjects()
	if calls, _ := w.receiver.counted(); calls != many || len(got) != many {
		t.Errorf("got %d calls about %d requests, want each of %d once", calls, len(got), many)
	}
}

// TestOneCallAtATimeWhileTheReceiverFails looks at the calls after the first ones failed.
func TestOneCallAtATimeWhileTheReceiverFails(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.advance(-time.Minute)
	n := w.begun()
	w.advance(time.Minute)
	w.manyEnded(100)
	w.receiver.answers(status(http.StatusServiceUnavailable))
	if sum := w.once(n); sum.Failed != 8 || sum.Found != 100 {
		t.Errorf("got %+v, want the first eight in vain", sum)
	}
	if sum := w.once(n); sum.Failed != 0 {
		t.Errorf("at once again: got %+v, want a pause", sum)
	}
	for range 5 {
		w.advance(5 * time.Minute)
		if sum := w.once(n); sum.Failed != 1 {
			t.Errorf("after a pause: got %+v, want one try", sum)
		}
	}
	w.receiver.answers(nil)
	w.advance(5 * time.Minute)
	if sum := w.once(n); sum.Delivered != 100 || sum.Failed != 0 {
		t.Errorf("well again: got %+v, want all delivered in one round", sum)
	}
}

func TestAnswersThatAreNoSuccess(t *testing.T) {
	t.Parallel()
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		t.Error("a redirect was followed")
	}))
	t.Cleanup(elsewhere.Close)
	header := func(code int, name, value string) func(http.ResponseWriter, *http.Request, received) bool {
		return func(w http.ResponseWriter, _ *http.Request, _ received) bool {
			w.Header().Set(name, value)
			w.WriteHeader(code)
			return false
		}
	}
	for name, tc := range map[string]struct {
		answer func(http.ResponseWriter, *http.Request, received) bool
		said   string
		pause  time.Duration // at least
	}{
		"error":        {status(http.StatusInternalServerError), "500 Internal Server Error", 0},
		"bad gateway":  {status(http.StatusBadGateway), "502 Bad Gateway", 0},
		"not found":    {status(http.StatusNotFound), "404 Not Found", 0},
		"not modified": {status(http.StatusNotModified), "304 Not Modified, and redirects are not followed", 0},
		"redirect": {
			header(http.StatusTemporaryRedirect, "Location", elsewhere.URL),
			"307 Temporary Redirect, and redirects are not followed", 0,
		},
		"gone":        {status(http.StatusGone), "410 Gone", time.Hour},
		"retry after": {header(http.StatusTooManyRequests, "Retry-After", "900"), "429 Too Many Requests", 15 * time.Minute},
		"retry after for ever": {
			header(http.StatusServiceUnavailable, "Retry-After", "4000000000"), "503 Service Unavailable", time.Hour,
		},
		"no answer": {func(_ http.ResponseWriter, r *http.Request, _ received) bool {
			<-r.Context().Done()
			return false
		}, "no answer within 1s", 0},
		"broken off": {func(http.ResponseWriter, *http.Request, received) bool { panic(http.ErrAbortHandler) }, "EOF", 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			n := w.begun(func(c *config.Notify) { c.Timeout = time.Second })
			w.ended(1)
			w.receiver.answers(tc.answer)
			if sum := w.once(n); sum.Failed != 1 || sum.Delivered != 0 {
				t.Fatalf("got %+v, want one try in vain", sum)
			}
			f, _, err := w.enqueuer.NotifyFigures(t.Context())
			if err != nil || f.Answer != tc.said || f.Failures != 1 || f.FailingSince.IsZero() || f.Waiting != 1 {
				t.Errorf("got %+v, %v; want the answer %q", f, err, tc.said)
			}
			if pause := f.NextAt.Sub(w.Now()); pause < tc.pause-time.Second || pause > max(tc.pause, time.Second) {
				t.Errorf("it pauses for %v, want %v", pause, tc.pause)
			}
			w.receiver.answers(nil)
			w.advance(time.Hour)
			if sum := w.once(n); sum.Delivered != 1 {
				t.Errorf("later: got %+v, want it delivered", sum)
			}
			if f, _, err := w.enqueuer.NotifyFigures(t.Context()); err != nil || f.Failures != 0 || !f.FailingSince.IsZero() ||
				f.Waiting != 0 || f.DeliveredAt.IsZero() {
				t.Errorf("later: got %+v, %v", f, err)
			}
		})
	}
}

func TestRetryAfterADate(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	n := w.begun()
	w.ended(1)
	w.receiver.answers(func(rw http.ResponseWriter, _ *http.Request, _ received) bool {
		rw.Header().Set("Retry-After", w.Now().Add(20*time.Minute).UTC().Format(http.TimeFormat))
		rw.WriteHeader(http.StatusServiceUnavailable)
		return false
	})
	w.once(n)
	w.receiver.answers(nil)
	w.advance(19 * time.Minute)
	if sum := w.once(n); sum.Delivered != 0 {
		t.Errorf("before the date: got %+v", sum)
	}
	w.advance(time.Minute)
	if sum := w.once(n); sum.Delivered != 1 {
		t.Errorf("after the date: got %+v", sum)
	}
}

// TestASenderThatIsKilledSendsTheSameAgain: the receiver accepted, and nothing was written down.
func TestASenderThatIsKilledSendsTheSameAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	n := w.begun()
	w.ended(3)
	n.Ledger = unwritten{n.Ledger}
	if _, err := n.Once(t.Context()); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
	w.once(w.notifier())
	all := w.receiver.all()
	bodies := map[string]string{}
	for _, e := range all {
		if before, ok := bodies[e.ID]; ok && before != e.Body {
			t.Errorf("got another body:\n%s\n%s", before, e.Body)
		}
		bodies[e.ID] = e.Body
	}
	if len(all) != 6 || len(bodies) != 3 {
		t.Errorf("got %d calls with %d ids, want each of three twice", len(all), len(bodies))
	}
}

// TestAnotherProcessTakesOver has two processes, of which the one that leads hangs and then loses its connection.
func TestAnotherProcessTakesOver(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	n, other := w.begun(), w.notifier()
	w.ended(1)
	sending, hang := make(chan struct{}), make(chan struct{})
	send := n.Send
	n.Send = func(ctx context.Context, id string, body []byte, now time.Time) notify.Answer {
		close(sending)
		<-hang
		return send(ctx, id, body, now)
	}
	ended := make(chan error, 1)
	go func() { _, err := n.Once(t.Context()); ended <- err }()
	sandboxtest.Receive(t, "the leader sends", sending)
	if sum := w.once(other); sum.Led || sum.Delivered != 0 {
		t.Errorf("while the other leads: got %+v", sum)
	}
	var holder int
	err := w.db.Root.QueryRowContext(t.Context(), "SELECT IS_USED_LOCK(?)", "certpurge_notify:"+w.db.Ledger).Scan(&holder)
	if err != nil {
		t.Fatal(err)
	}
	w.db.ExecUnchecked(t, fmt.Sprintf("KILL CONNECTION %d", holder))
	sandboxtest.Eventually(t, "the other process leads", func() bool { return w.once(other).Led })
	close(hang)
	if err := sandboxtest.Receive(t, "the end of the first", ended); err != nil {
		t.Errorf("got %v", err)
	}
	all := w.receiver.all()
	if len(all) != 2 || all[0].ID != all[1].ID || w.waiting() != 0 {
		t.Errorf("got %+v, want one event, twice with the same id", all)
	}
}

func TestAnEventThatIsRefusedHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	n := w.begun()
	refused := fmt.Sprintf("requests/%d", w.ended(1)[0])
	w.receiver.answers(func(w http.ResponseWriter, _ *http.Request, e received) bool {
		if e.Subject == refused {
			w.WriteHeader(http.StatusBadRequest)
		}
		return e.Subject != refused
	})
	w.rounds(n, time.Hour)
	calls, _ := w.receiver.counted()
	if calls < 10 || calls > 40 {
		t.Errorf("it was tried %d times in an hour, want 10 to 40", calls)
	}
	w.ended(20)
	w.rounds(n, 6*time.Minute)
	if got := w.receiver.subjects(); len(got) != 20 {
		t.Errorf("got %d others, want 20", len(got))
	}
}

func TestStoppingDoesNotWaitForTheReceiver(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	n := w.begun(func(c *config.Notify) { c.Timeout = time.Minute })
	w.ended(1)
	called := make(chan struct{})
	w.receiver.answers(func(_ http.ResponseWriter, r *http.Request, _ received) bool {
		close(called)
		<-r.Context().Done()
		return false
	})
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { _, err := n.Once(ctx); ended <- err }()
	sandboxtest.Receive(t, "the call", called)
	stop()
	if err := sandboxtest.Receive(t, "the end", ended); err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	f, _, err := w.enqueuer.NotifyFigures(t.Context())
	if err != nil || f.Failures != 0 || f.Waiting != 1 {
		t.Errorf("got %+v, %v; want it to wait, and nothing said of the receiver", f, err)
	}
	w.receiver.answers(nil)
	if sum := w.once(w.notifier()); sum.Delivered != 1 {
		t.Errorf("got %+v, want it delivered at once by the next process", sum)
	}
}

func TestOldNotificationsAreGivenUp(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	n := w.begun()
	w.receiver.answers(status(http.StatusInternalServerError))
	w.ended(2)
	w.once(n)
	w.advance(maxAge - time.Minute)
	if sum := w.once(n); sum.GivenUp != 0 {
		t.Errorf("too early: got %+v", sum)
	}
	w.advance(time.Hour)
	if sum := w.once(n); sum.GivenUp != 2 || w.waiting() != 0 {
		t.Errorf("got %+v, want two given up", sum)
	}
	w.receiver.answers(nil)
	again, err := w.enqueuer.RetryNotifications(t.Context(), w.Now())
	if sum := w.once(n); err != nil || again != 2 || sum.Delivered != 2 || len(w.receiver.subjects()) != 2 {
		t.Errorf("retried: got %d, %v, %+v; want both delivered", again, err, sum)
	}
	w.advance(maxAge + 25*time.Hour)
	w.once(n)
	if rows := w.db.DumpTable(t, w.db.Ledger+".notifications"); len(rows) != 0 {
		t.Errorf("got %v, want them forgotten", rows)
	}
	if sum := w.once(w.notifier()); sum.Found != 0 {
		t.Errorf("got %+v, want nothing told again", sum)
	}
}

func TestEachKeySigns(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	sender, err := notify.NewSender(config.Notify{
		URL: w.receiver.URL, Secret: config.NewSecret("whsec_" + strings.Repeat("AAAA", 8) + " " + secret), Timeout: time.Minute,
	}, "v0")
	if err != nil {
		t.Fatal(err)
	}
	body, err := notify.TestEvent("one", "certpurge", w.Now())
	if err != nil {
		t.Fatal(err)
	}
	// The receiver knows the second key only, and checks it.
	if answer := sender.Send(t.Context(), "one", body, w.Now()); !answer.Delivered || answer.Text != "204 No Content" {
		t.Errorf("got %+v", answer)
	}
	if got := w.receiver.all()[0].Header.Get("webhook-signature"); strings.Count(got, "v1,") != 2 {
		t.Errorf("got the signatures %q, want two", got)
	}
}

func TestTheReceiverIsChecked(t *testing.T) {
	t.Parallel()
	authority := sandboxtest.NewAuthority(t)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	server.TLS = serverTLS(t, authority)
	server.StartTLS()
	defer server.Close()
	for name, tc := range map[string]struct {
		tls  config.TLS
		said string
	}{
		"its authority is known": {config.TLS{CAFile: authority.File}, "200 OK"},
		"it is not":              {config.TLS{}, "unknown authority"},
		"another name":           {config.TLS{CAFile: authority.File, ServerName: "hooks.example"}, "hooks.example"},
	} {
		sender, err := notify.NewSender(config.Notify{
			URL: server.URL, Secret: config.NewSecret(secret), Timeout: time.Minute, TLS: tc.tls,
		}, "v0")
		if err != nil {
			t.Fatal(err)
		}
		answer := sender.Send(t.Context(), "one", []byte("{}"), time.Now())
		if !strings.Contains(answer.Text, tc.said) || answer.Delivered != (name == "its authority is known") ||
			strings.Contains(answer.Text, server.URL) {
			t.Errorf("%s: got %+v, want %q", name, answer, tc.said)
		}
	}
}
