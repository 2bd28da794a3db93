package main

import (
	"crypto/sha256"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/certpurge/certpurge/internal/config"
	"github.com/certpurge/certpurge/internal/httpapi/auth"
)

func TestConfigurationSaysWhoIsLetIn(t *testing.T) {
	t.Parallel()
	token := strings.Repeat("t", 43)
	path := filepath.Join(t.TempDir(), "enqueuer.yaml")
	file := fmt.Sprintf(`
jwt:
  hs256_secret: %s
  accept_short_secret: true
  jwks_url: https://lms.example/jwks.json
  jwks_refresh: 5m
  audiences: [openedx]
  issuers: [https://lms.example/oauth2]
  service_user: driver
  max_lifetime: 2h
  rate: 3
  burst: 4
tokens:
  - {name: portal, sha256: %x, rights: [enqueue, requeue], rate: 5, burst: 6}
`, strings.Repeat("s", 24), sha256.Sum256([]byte(token)))
	if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := config.LoadEnqueuer(path, []string{"CERTPURGE_MYSQL_DSN=u:p@tcp(h:1)/certpurge"})
	if err != nil {
		t.Fatal(err)
	}
	letIn := auth.Config{JWT: cfg.JWT, Tokens: cfg.Tokens}
	jwt := letIn.JWT
	if jwt.HS256Secret.Reveal() != strings.Repeat("s", 24) || !jwt.AcceptShortSecret ||
		jwt.JWKSURL != "https://lms.example/jwks.json" || jwt.JWKSFile != "" ||
		jwt.JWKSRefresh != 5*time.Minute || jwt.Audiences[0] != "openedx" || jwt.Issuers[0] != "https://lms.example/oauth2" ||
		jwt.ServiceUser != "driver" ||
		jwt.MaxLifetime != 2*time.Hour || jwt.Rate != 3 || jwt.Burst != 4 {
		t.Errorf("got %+v, want the section jwt", jwt)
	}
	a, err := auth.New(letIn)
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://certpurge/", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	caller, err := a.Authenticate(r)
	if err != nil || caller.Name != "portal" || caller.Rights != auth.Enqueue|auth.Requeue {
		t.Errorf("got %+v, %v, want the caller of the file", caller, err)
	}
	start := time.Now()
	letIn.Now = func() time.Time { return start }
	limiter := auth.NewLimiter(letIn)
	for range 6 {
		if wait := limiter.Take(caller); wait != 0 {
			t.Fatalf("got a wait of %s within the burst", wait)
		}
	}
	if wait := limiter.Take(caller); wait == 0 {
		t.Error("got no wait beyond the burst")
	}
}
