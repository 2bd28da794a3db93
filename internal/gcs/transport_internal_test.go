package gcs

import (
	"net/http"
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
	checker := client.Transport.(pacer).next.(answerChecker) //nolint:errcheck // a panic tells as much as a failure
	network, ok := checker.next.(observed).next.(*http.Transport)
	if !ok || network.ResponseHeaderTimeout <= 12*time.Second || network.ResponseHeaderTimeout > 15*time.Second {
		t.Errorf("got %v to answer", network.ResponseHeaderTimeout)
	}
}
