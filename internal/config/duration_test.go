package config_test

import (
	"testing"
	"time"

	"github.com/certpurge/certpurge/internal/config"
)

func TestDurations(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]time.Duration{
		"30d":    720 * time.Hour,
		"1d12h":  36 * time.Hour,
		"1d90m":  25*time.Hour + 30*time.Minute,
		"90s":    90 * time.Second,
		"0d":     0,
		"1.5h":   90 * time.Minute,
		"65535d": 65535 * 24 * time.Hour,
	} {
		got, err := config.ParseDuration(text)
		if err != nil || got != want {
			t.Errorf("%q: got %v, %v; want %v", text, got, err, want)
		}
		if again, err := config.ParseDuration(config.FormatDuration(got)); err != nil || again != want {
			t.Errorf("%q: written as %q, read as %v, %v", text, config.FormatDuration(got), again, err)
		}
	}
	for _, text := range []string{"", "d", "-1d", "1.5d", "1d-2h", "1dd", "1d 2h", "12", "99999d", "1h2d"} {
		if got, err := config.ParseDuration(text); err == nil {
			t.Errorf("%q: got %v, want an error", text, got)
		}
	}
	for d, want := range map[time.Duration]string{
		720 * time.Hour: "30d", 36 * time.Hour: "1d12h", 10 * time.Minute: "10m", 2 * time.Second: "2s", 0: "0s",
		time.Hour: "1h", 90 * time.Second: "1m30s", 10 * time.Hour: "10h", 20 * time.Minute: "20m",
	} {
		if got := config.FormatDuration(d); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// TestSettingsTakeDays in the file and in the environment.
func TestSettingsTakeDays(t *testing.T) {
	t.Parallel()
	file := write(t, "enqueuer.yaml", "serve:\n  keep_keys: 14d\n")
	cfg, err := config.LoadEnqueuer(file, []string{dsnVariable, "CERTPURGE_WATCH_ASK_AGAIN_AFTER=1d12h"})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := cfg.Serve.KeepKeys, 14*24*time.Hour; got != want {
		t.Errorf("keep_keys: got %v, want %v", got, want)
	}
	if got, want := cfg.Watch.AskAgainAfter, 36*time.Hour; got != want {
		t.Errorf("ask_again_after: got %v, want %v", got, want)
	}
}
