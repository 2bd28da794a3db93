package gcs

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestAccountsAreNamedByTheirFiles(t *testing.T) {
	t.Parallel()
	for file, want := range map[string]string{
		`{"type":"service_account","client_email":"certpurge@example.iam.gserviceaccount.com"}`: "certpurge@example.iam.gserviceaccount.com",
		`{"type":"external_account","service_account_impersonation_url":"https://iamcredentials.googleapis.com/v1/projects/-/` +
			`serviceAccounts/certpurge@example.iam.gserviceaccount.com:generateAccessToken"}`: "certpurge@example.iam.gserviceaccount.com",
		`{"type":"external_account"}`: "external_account", `{"type":"authorized_user"}`: "the login of a person (gcloud " +
			"auth application-default login)",
		"no JSON": "",
	} {
		if got := nameOf(t.Context(), []byte(file)); got != want {
			t.Errorf("%s: got %q, want %q", file, got, want)
		}
	}
}

// TestTheMachinesAccountIsAskedFor stands in for the metadata server.
func TestTheMachinesAccountIsAskedFor(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasSuffix(r.URL.Path, "/instance/service-accounts/default/email") {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		w.Header().Set("Metadata-Flavor", "Google")
		_, _ = w.Write([]byte("node@example.iam.gserviceaccount.com"))
	}))
	defer server.Close()
	t.Setenv("GCE_METADATA_HOST", strings.TrimPrefix(server.URL, "http://"))
	if got := nameOf(t.Context(), nil); got != "node@example.iam.gserviceaccount.com" {
		t.Errorf("got %q", got)
	}
}
