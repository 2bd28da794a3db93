package console_test

import (
	"net/http"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/certpurge/certpurge/internal/telemetry"
)

// TestChartsShowTheDay looks, waits, and looks again.
func TestChartsShowTheDay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := busy()
		w.paces = func() []telemetry.BucketFigures {
			return []telemetry.BucketFigures{
				{Kind: "delete", Rate: 1000, Ceiling: 4000},
				{Kind: "delete", Rate: 500, Ceiling: 4000},
				{Kind: "read", Rate: 9, Ceiling: 9},
			}
		}
		pages := w.open(t, "")
		defer pages.Close()
		begun := time.Now()
		pages.Now = func() time.Time { return now.Add(time.Since(begun)) }
		get(t, pages, "/")
		synctest.Wait()
		_, body := get(t, pages, "/")
		for _, want := range []string{
			"In the last 24 hours 288 were done, 0 refused, 3 failed.", `<div class="top">5</div>`,
			`<th scope="row">2026-11-01 02:05</th><td>12</td><td>0</td><td>3</td>`,
		} {
			if !strings.Contains(body, want) {
				t.Errorf("got\n%s\nwant %q", body, want)
			}
		}
		if got := strings.Count(body, `<rect class="done"`); got != 288 {
			t.Errorf("got %d bars of what was done", got)
		}
		failed := regexp.MustCompile(`<rect class="failed" x="([^"]*)" y="([^"]*)" width="[^"]*" height="([^"]*)"`).
			FindAllStringSubmatch(body, -1)
		// Slot 281 of 288 begins at 02:30; three of five failed, on top of the one that was done.
		if len(failed) != 1 || failed[0][1] != "843" || failed[0][2] != "24" || failed[0][3] != "72" {
			t.Errorf("got bars of what failed %q", failed)
		}
		if strings.Contains(body, "chart-open") {
			t.Error("one sample makes no line")
		}
		counted := w.counted.Load()
		time.Sleep(10 * time.Minute) //nolint:forbidigo // in a bubble
		_, _ = get(t, pages, "/")
		synctest.Wait()
		_, body = get(t, pages, "/")
		for _, want := range []string{
			"1,200,057 requests are open now.", "The oldest that is due waits for 2 h 10 min now.",
			"It may send 1,500 a second now, of 8,000 at most", `<polyline class="rate"`, `<polyline class="ceiling"`,
			"In the last 24 hours 288 were done",
		} {
			if !strings.Contains(body, want) {
				t.Errorf("later: got\n%s\nwant %q", body, want)
			}
		}
		if more := w.counted.Load() - counted; more > 8 {
			t.Errorf("%d slots were counted again ten minutes later", more)
		}
	})
}

func TestNothingIsDrawnBeforeItIsKnown(t *testing.T) {
	t.Parallel()
	w := busy()
	w.ledger = http.ErrServerClosed
	text := w.read(t)
	if !strings.Contains(text, "are being counted") || strings.Contains(text, "In the last 24 hours") {
		t.Errorf("got\n%s", text)
	}
}
