package gcs

import (
	"net/http"
	"testing"
	"time"

	"github.com/certpurge/certpurge/internal/purge"
)

// TestASlowPageHasTimeToAnswer: by default a call has 30 seconds; a page may take ten of them, and fail once before.
func TestASlowPageHasTimeToAnswer(t *testing.T) {
	t.Parallel()
	client, closeIdle, err := newHTTPClient(t.Context(), Config{Locations: purge.Locations{}, CallTimeout: 30 * time.Second, Anonymous: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(closeIdle)
	network, ok := client.Transport.(pacer).next.(answerChecker).next.(observed).next.(*http.Transport) // a panic tells as much
	if !ok || network.ResponseHeaderTimeout <= 12*time.Second || network.ResponseHeaderTimeout > 15*time.Second {
		t.Errorf("got %v to answer", network.ResponseHeaderTimeout)
	}
}
