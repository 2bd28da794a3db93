package console_test

import (
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/certpurge/certpurge/internal/certificate"
	"github.com/certpurge/certpurge/internal/login"
	"github.com/certpurge/certpurge/internal/mysql"
)

// seed is the private key of these tests.
var seed = []byte("a seed of thirty-two characters!")

// signingKey writes the key into a file, as openssl does.
func signingKey(t *testing.T) (path string) {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(ed25519.NewKeyFromSeed(seed))
	if err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(t.TempDir(), "key.pem")
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestCertificateIsThreeClicksAway goes from the search to the page of one user, and of another of whom something is left.
func TestCertificateIsThreeClicksAway(t *testing.T) {
	t.Parallel()
	o := newOffice(t, mysql.RoleEnqueuer, "/ops")
	user, _ := o.purged("a")
	left, _ := o.user("b", held)
	v := o.as("alice", login.View)
	_, body := v.get(http.StatusOK, "/users/"+number(user))
	if !strings.Contains(body, "Certificate of erasure") {
		t.Errorf("got %s", body)
	}
	path := "/users/" + number(user) + "/certificate"
	status, body, header := v.send(http.MethodGet, path, nil)
	if status != http.StatusOK || header.Get("Content-Security-Policy") != certificate.ContentSecurityPolicy() ||
		!strings.HasPrefix(header.Get("Content-Type"), "text/html") {
		t.Errorf("got %d %v", status, header)
	}
	wants(t, "the page", text(body), "user "+number(user))
	status, body, header = v.send(http.MethodGet, path+"?form=json", nil)
	if status != http.StatusOK || header.Get("Content-Disposition") != `attachment; filename="erasure-`+number(user)+`.json"` {
		t.Errorf("got %d %v", status, header)
	}
	document, err := certificate.Parse(strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	public, _ := ed25519.NewKeyFromSeed(seed).Public().(ed25519.PublicKey)
	if err := document.CheckSignature(public); err != nil || document.UserID != user {
		t.Errorf("got user %d, %v", document.UserID, err)
	}
	if _, body, _ = v.send(http.MethodGet, "/users/"+number(left)+"/certificate?form=json", nil); !strings.Contains(body,
		`"kind":"statement"`) {
		t.Errorf("of a user with a held file: got %s", body)
	}
	for path, want := range map[string]int{
		"/users/999999/certificate": http.StatusNotFound, "/users/x/certificate": http.StatusBadRequest,
	} {
		if status, _, _ := v.send(http.MethodGet, path, nil); status != want {
			t.Errorf("%s: got %d, want %d", path, status, want)
		}
	}
}
