package gcs

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/certpurge/certpurge/internal/config"
)

// TestASlowPageHasTimeToAnswer: by default a call has 30 seconds; a page may take ten of them, and fail once before.
func TestASlowPageHasTimeToAnswer(t *testing.T) {
	t.Parallel()
	client, closeIdle, err := newHTTPClient(t.Context(),
		Config{GCS: config.GCS{CallTimeout: 30 * time.Second, Anonymous: true}},
		&account{}, &clock{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(closeIdle)
	checker := client.Transport.(withoutACL).next.(pacer).next.(answerChecker) //nolint:errcheck // a panic tells as much as a failure
	network, ok := checker.next.(observed).next.(*http.Transport)
	if !ok || network.ResponseHeaderTimeout <= 12*time.Second || network.ResponseHeaderTimeout > 15*time.Second {
		t.Errorf("got %v to answer", network.ResponseHeaderTimeout)
	}
}

// TestAClosedAnswerHoldsNothing: its content is another answer's by then.
func TestAClosedAnswerHoldsNothing(t *testing.T) {
	t.Parallel()
	const page = `{"kind": "storage#objects"}`
	closed := &checkedBody{newAnswerBody()}
	if n, err := closed.readFrom(strings.NewReader(page), 1<<10); err != nil || n != int64(len(page)) {
		t.Fatalf("got %d, %v", n, err)
	}
	for range 2 {
		if err := closed.Close(); err != nil {
			t.Error(err)
		}
	}
	first, second := newAnswerBody(), newAnswerBody()
	if first == second {
		t.Error("the content of an answer that was closed twice is given to two others")
	}
	if _, err := first.readFrom(strings.NewReader(page), 1<<10); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(closed); !errors.Is(err, http.ErrBodyReadAfterClose) {
		t.Errorf("got %q, %v of a closed answer", got, err)
	}
	if answer, ok := first.shape(); !ok || answer.kind != listingKind {
		t.Errorf("got %+v, %v", answer, ok)
	}
}

// TestTheLatestDateIsRead, and once a second although every answer holds it.
func TestTheLatestDateIsRead(t *testing.T) {
	t.Parallel()
	var c clock
	begun := time.Date(2026, time.March, 2, 12, 0, 0, 0, time.UTC)
	read := func(theirs string, ours time.Duration) Reading {
		c.read(http.Header{"Date": {theirs}}, begun.Add(ours), begun.Add(ours))
		return c.latest.Load().Reading
	}
	const first, second = "Mon, 02 Mar 2026 12:00:01 GMT", "Mon, 02 Mar 2026 12:00:02 GMT"
	want := read(first, 0)
	if got := read(first, 500*time.Millisecond); got != want {
		t.Errorf("the same second: got %v, want %v", got, want)
	}
	if got := read(second, 600*time.Millisecond); !got.Theirs.Equal(begun.Add(2*time.Second)) || got.After.Equal(want.After) {
		t.Errorf("the next second: got %v", got)
	}
	if got := read(second, time.Hour); !got.After.Equal(begun.Add(time.Hour)) {
		t.Errorf("a clock that stands: got %v, want the latest reading", got)
	}
	if got := read("no date", 2*time.Hour); !got.After.Equal(begun.Add(time.Hour)) {
		t.Errorf("no date: got %v, want the reading before it", got)
	}
}
