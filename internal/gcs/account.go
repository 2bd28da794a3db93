package gcs

import (
	"context"
	"encoding/json"
	"path"
	"strings"
	"time"

	"cloud.google.com/go/auth"
	"cloud.google.com/go/compute/metadata"

	"github.com/certpurge/certpurge/internal/purge"
)

// Account is the account that a Store uses.
type Account struct {
	Name  string // an address, or what kind of account it is; empty if that is not known
	Found string // where the credentials were found
}

// account is what is known of the credentials that were found.
type account struct {
	credentials *auth.Credentials // nil: requests carry none
	found       string
}

// metadataTimeout limits the request for the account's name, which is only shown to operators.
const metadataTimeout = 3 * time.Second

// Account obtains an access token, and returns the account that it is for.
func (s *Store) Account(ctx context.Context) (Account, error) {
	a := Account{Found: s.account.found}
	if s.account.credentials == nil {
		return a, nil
	}
	ctx, cancel := context.WithTimeout(ctx, s.cfg.CallTimeout)
	defer cancel()
	if _, err := s.account.credentials.Token(ctx); err != nil {
		if purge.ClassOf(err) == purge.Transient { // not from our own wrapper: the context's end
			return a, &purge.Error{Class: purge.Unavailable, Cause: err, Text: "no access token could be obtained in time"}
		}
		return a, err
	}
	a.Name = nameOf(ctx, s.account.credentials.JSON())
	return a, nil
}

// nameOf reads the account from a file of credentials; without one they are those of the machine, which knows its
// account.
func nameOf(ctx context.Context, file []byte) string {
	if len(file) == 0 {
		ctx, cancel := context.WithTimeout(ctx, metadataTimeout)
		defer cancel()
		name, err := metadata.EmailWithContext(ctx, "default")
		if err != nil {
			return "" // the token works; nothing else depends on the name
		}
		return purge.Printable(name)
	}
	var f struct {
		Type          string `json:"type"`
		ClientEmail   string `json:"client_email"`
		Impersonation string `json:"service_account_impersonation_url"`
	}
	if err := json.Unmarshal(file, &f); err != nil {
		return ""
	}
	switch {
	case f.ClientEmail != "":
		return purge.Printable(f.ClientEmail)
	case f.Impersonation != "": // …/serviceAccounts/NAME:generateAccessToken
		name, _, _ := strings.Cut(path.Base(f.Impersonation), ":")
		return purge.Printable(name)
	case f.Type == "authorized_user":
		return "the login of a person (gcloud auth application-default login)"
	default:
		return purge.Printable(f.Type)
	}
}
