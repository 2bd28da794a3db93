package telemetry_test

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/certpurge/certpurge/internal/telemetry"
)

func TestAwaitWaitsLongerAndLongerAndSaysEachReasonOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		health := telemetry.NewHealth()
		answers := []string{
			"MySQL is away", "MySQL is away", "MySQL is away", "Redis is away", "Redis is away",
			"Redis is away", "Redis is away", "Redis is away", "",
		}
		var said []string
		begun := time.Now()
		err := health.Await(t.Context(), func(context.Context) error { //nolint:contextcheck // the test requests itself
			if _, why := get(t, health.Handler(), "/readyz"); len(said) > 0 && why != "paused: "+said[len(said)-1]+"\n" {
				t.Errorf("it says %q, want the latest of %q", why, said)
			}
			answer := answers[0]
			answers = answers[1:]
			if answer == "" {
				return nil
			}
			return errors.New(answer)
		}, func(error) bool { return false }, func(err error) { said = append(said, err.Error()) })
		if err != nil || !slices.Equal(said, []string{"MySQL is away", "Redis is away"}) {
			t.Errorf("got %v, said %q", err, said)
		}
		if took, want := time.Since(begun), (1+2+4+8+16+30+30+30)*time.Second; took != want {
			t.Errorf("took %v, want %v", took, want)
		}
		if status, _ := get(t, health.Handler(), "/readyz"); status != http.StatusOK {
			t.Errorf("got status %d once all is well", status)
		}
	})
}

func TestAwaitEndsAtWhatDoesNotPassAndWithItsContext(t *testing.T) {
	t.Parallel()
	health := telemetry.NewHealth()
	broken := errors.New("no such right")
	check := func(context.Context) error { return broken }
	none := func(error) { t.Error("a fatal error was said to be a pause") }
	if err := health.Await(t.Context(), check, func(err error) bool { return errors.Is(err, broken) },
		none); !errors.Is(err, broken) {
		t.Errorf("got %v, want the fatal error", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	err := health.Await(ctx, check, func(error) bool { return false }, func(error) { cancel() })
	if status, why := get(t, health.Handler(), "/readyz"); err != nil || status != http.StatusServiceUnavailable ||
		!strings.Contains(why, "no such right") {
		t.Errorf("got %v, %d, %q; want a quiet end, not ready", err, status, why)
	}
}
