package telemetry_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/certpurge/certpurge/internal/config"
	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/telemetry"
)

// wished remembers what it was requested.
type wished struct{ submissions []purge.Submission }

func (w *wished) Accept(_ context.Context, submissions []purge.Submission) ([]purge.Accepted, error) {
	w.submissions = submissions
	return nil, errors.New("later")
}

func TestWithoutACollectorNothingIsTraced(t *testing.T) {
	t.Parallel()
	tracing, err := telemetry.NewTracing(t.Context(), config.Tracing{SampleRatio: 1}, "test",
		slog.New(slog.DiscardHandler))
	if tracing != nil || err != nil {
		t.Fatalf("got %v, %v", tracing, err)
	}
	defer tracing.Close()
	next := &wished{}
	if tracing.Follow(next) != purge.Requests(next) || tracing.Requests(next) != purge.Requests(next) {
		t.Error("something stands in between")
	}
	ctx, ended := tracing.Attempt(t.Context(), "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	ended(purge.Result{}, nil)
	tracing.StorageRequest(ctx, "list")(http.StatusOK)
	if got := telemetry.Traceparent(ctx); got != "" {
		t.Errorf("got %q", got)
	}
}

func TestABulkIsNotOneTrace(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	for _, tc := range []struct {
		ratio       float64
		submissions int
		traced      bool
	}{{1, 1, true}, {1, 100, true}, {1, 101, false}, {0, 1, false}} {
		tracing, err := telemetry.NewTracing(t.Context(),
			config.Tracing{Endpoint: server.URL, SampleRatio: tc.ratio}, "test", slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		next := &wished{}
		_, _ = tracing.Follow(next).Accept(t.Context(), make([]purge.Submission, tc.submissions)) // it says later
		for _, w := range next.submissions {
			if (w.Trace != "") != tc.traced || w.Trace != "" && !strings.HasSuffix(w.Trace, "-01") {
				t.Errorf("%+v: got trace %q", tc, w.Trace)
			}
		}
		tracing.Close()
	}
}

// TestAnAttemptFollowsWhoAsked logs a line within an attempt: it names the trace, unless the trace is not kept.
func TestAnAttemptFollowsWhoAsked(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	tracing, err := telemetry.NewTracing(t.Context(), config.Tracing{Endpoint: server.URL}, "test",
		slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer tracing.Close()
	const id = "0af7651916cd43dd8448eb211c80319c"
	for parent, want := range map[string]bool{
		"00-" + id + "-b7ad6b7169203331-01": true,
		"00-" + id + "-b7ad6b7169203331-00": false, "": false, "anything": false,
	} {
		var out strings.Builder
		ctx, ended := tracing.Attempt(t.Context(), parent)
		telemetry.NewLogger(&out, config.Log{Level: "info", Format: "json"}).With(slog.Int("n", 1)).InfoContext(ctx, "line")
		ended(purge.Result{}, &purge.Error{Class: purge.Transient, Text: "later"})
		if got := strings.Contains(out.String(), `"n":1,"trace_id":"`+id+`"`); got != want {
			t.Errorf("%q: got %s", parent, out.String())
		}
	}
}
