package gcs

import (
	"bytes"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/certpurge/certpurge/internal/config"
)

// inBubble runs a test of a pace on a clock of its own. lines returns what was logged so far.
func inBubble(t *testing.T, limits config.Rate, test func(t *testing.T, p *pace, lines func() []string)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		t.Helper()
		var log bytes.Buffer
		p := newPace(limits, slog.New(slog.NewTextHandler(&log, nil)))
		test(t, p, func() []string { return strings.Split(strings.TrimSpace(log.String()), "\n") })
	})
}

// send takes tokens as fast as they come for some time, and returns how many.
func send(p *pace, d time.Duration) int {
	n := 0
	for end := time.Now().Add(d); time.Now().Before(end); {
		if p.take(true) {
			n++
			continue
		}
		pause(max(time.Millisecond, p.untilToken()))
	}
	return n
}

// pause waits on the bubble's clock.
func pause(d time.Duration) { <-time.After(d) }

func TestPaceBeginsAtItsStart(t *testing.T) {
	t.Parallel()
	inBubble(t, config.Rate{Start: 100, Ceiling: 400}, func(t *testing.T, p *pace, _ func() []string) {
		t.Helper()
		if got := send(p, 10*time.Second); got < 1000 || got > 1030 {
			t.Errorf("got %d requests in 10 s, want 100 a second and a quarter of a second's at once", got)
		}
	})
}

func TestPaceIsHalvedOnceForAllRequestsUnderWay(t *testing.T) {
	t.Parallel()
	inBubble(t, config.Rate{Start: 1000, Ceiling: 1000}, func(t *testing.T, p *pace, lines func() []string) {
		t.Helper()
		sent := time.Now()
		pause(5 * time.Second) // slow answers
		for range 64 {
			p.throttle(sent, 0)
		}
		if got := p.stats(); got.Rate != 500 || got.Halved != 1 || got.Throttled != 64 {
			t.Errorf("after 64 answers to requests of before: got %+v, want the rate halved once", got)
		}
		pause(900 * time.Millisecond)
		p.throttle(time.Now(), 0)
		if got := p.stats(); got.Halved != 1 {
			t.Errorf("within a second: got %+v, want the rate halved once", got)
		}
		pause(200 * time.Millisecond)
		p.throttle(time.Now(), 0)
		if got := p.stats(); got.Halved != 2 || got.Rate > 260 {
			t.Errorf("for a request at the new rate: got %+v, want the rate halved again", got)
		}
		if got := lines(); len(got) != 2 || !strings.Contains(got[0], "rate halved") ||
			!strings.Contains(got[0], "per_second=500") {
			t.Errorf("got log %q, want a line for each time the rate was halved", got)
		}
	})
}

func TestPaceRecoversSlowlyToItsStart(t *testing.T) {
	t.Parallel()
	inBubble(t, config.Rate{Start: 1000, Ceiling: 4000}, func(t *testing.T, p *pace, lines func() []string) {
		t.Helper()
		p.throttle(time.Now(), 0)
		for second, last := 1, 500.0; second <= 48; second++ {
			pause(time.Second)
			got := p.stats().Rate
			if got <= last || got > last+11 {
				t.Fatalf("after %d s: got %v, want a little more than %v", second, got, last)
			}
			last = got
		}
		pause(10 * time.Minute)
		if got := p.stats().Rate; got != 1000 {
			t.Errorf("later: got %v, want 1000: a rate that is not used does not grow", got)
		}
		if got := lines(); len(got) != 2 || !strings.Contains(got[1], "recovered") {
			t.Errorf("got log %q, want one line when it was halved and one when it had recovered", got)
		}
	})
}

func TestPaceNeverStandsStill(t *testing.T) {
	t.Parallel()
	inBubble(t, config.Rate{Start: 1000, Ceiling: 1000}, func(t *testing.T, p *pace, lines func() []string) {
		t.Helper()
		for range 40 {
			p.throttle(time.Now(), 0)
			pause(1001 * time.Millisecond)
		}
		if got := p.stats().Rate; got < 10 || got > 12 {
			t.Errorf("got %v, want a hundredth of the start", got)
		}
		if got := send(p, 10*time.Second); got < 100 || got > 300 {
			t.Errorf("got %d requests in 10 s, want few, but some", got)
		}
		pause(3 * time.Minute)
		if got := p.stats().Rate; got != 1000 {
			t.Errorf("got %v three minutes later, want 1000", got)
		}
		if got := lines(); len(got) > 42 {
			t.Errorf("got %d lines", len(got))
		}
	})
}

func TestPaceGrowsAboveItsStartNoFasterThanTheServiceSpreadsABucket(t *testing.T) {
	t.Parallel()
	inBubble(t, config.Rate{Start: 10, Ceiling: 25}, func(t *testing.T, p *pace, _ func() []string) {
		t.Helper()
		send(p, 20*time.Minute)
		if got := p.stats().Rate; got < 19 || got > 20 {
			t.Errorf("after 20 minutes of want: got %v, want it doubled", got)
		}
		send(p, time.Hour)
		if got := p.stats().Rate; got != 25 {
			t.Errorf("after long: got %v, want the ceiling", got)
		}
		pause(23 * time.Hour)
		if got := p.stats().Rate; got != 25 {
			t.Errorf("on the same day: got %v, want it kept", got)
		}
		pause(2 * time.Hour)
		if got := p.stats().Rate; got != 10 {
			t.Errorf("after a day of little use: got %v, want the start", got)
		}
	})
}

func TestPaceDoesNotGrowWhileTheServiceFails(t *testing.T) {
	t.Parallel()
	inBubble(t, config.Rate{Start: 10, Ceiling: 1000}, func(t *testing.T, p *pace, _ func() []string) {
		t.Helper()
		for range 20 * 60 * 2 {
			send(p, 500*time.Millisecond)
			p.recordServerError()
		}
		if got := p.stats().Rate; got != 10 {
			t.Errorf("above its start: got %v, want 10", got)
		}
		p.throttle(time.Now(), 0)
		for range 60 * 2 {
			pause(500 * time.Millisecond)
			p.recordServerError()
		}
		if got := p.stats().Rate; got != 10 {
			t.Errorf("below its start: got %v, want it recovered", got)
		}
	})
}

func TestPaceStopsForAsLongAsItIsAskedTo(t *testing.T) {
	t.Parallel()
	for name, limits := range map[string]config.Rate{"limited": {Start: 1000, Ceiling: 1000}, "unlimited": {}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inBubble(t, limits, func(t *testing.T, p *pace, _ func() []string) {
				t.Helper()
				p.throttle(time.Now(), 30*time.Second)
				p.throttle(time.Now(), 5*time.Second)
				if p.take(true) || p.untilToken() != 30*time.Second {
					t.Errorf("got a wait of %v, want 30 s", p.untilToken())
				}
				pause(30 * time.Second)
				if !p.take(true) {
					t.Error("after 30 s: no token")
				}
				p.throttle(time.Now(), 365*24*time.Hour)
				if got := p.untilToken(); got != 10*time.Minute {
					t.Errorf("requested a year: got %v, want 10 min", got)
				}
			})
		})
	}
}

func TestRetryAfter(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 10, 30, 12, 0, 0, 0, time.UTC)
	for value, want := range map[string]time.Duration{
		"": 0, "7": 7 * time.Second, "0": 0, "-7": 0, "soon": 0, "99999999999999999999": 0, "1.5": 0,
		"Fri, 30 Oct 2026 12:01:00 GMT": time.Minute, "Fri, 30 Oct 2026 11:59:00 GMT": 0,
	} {
		if got := retryAfter(http.Header{"Retry-After": {value}}, now); got != want {
			t.Errorf("%q: got %v, want %v", value, got, want)
		}
	}
}
