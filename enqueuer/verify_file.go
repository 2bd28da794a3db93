package main

import (
	"context"
	"crypto/ed25519"
	"strings"
	"time"

	"github.com/dustin/go-humanize/english"

	"github.com/certpurge/certpurge/internal/certificate"
	"github.com/certpurge/certpurge/internal/cli"
	"github.com/certpurge/certpurge/internal/purge"
)

// fileCheck is what verify does with a file.
type fileCheck struct {
	name    string // "-" for standard input
	key     string // the file of a public key that the caller trusts
	offline bool
}

// verifiedFile is what verify FILE -o json prints.
type verifiedFile struct {
	Kind     certificate.Kind `json:"kind"`
	UserID   purge.UserID     `json:"user_id"`
	MadeAt   time.Time        `json:"made_at"`
	KeyID    string           `json:"key_id,omitempty"` // that signed it
	Trusted  bool             `json:"trusted"`          // it is the one that the caller trusts
	Compared bool             `json:"compared"`         // with the ledger
	Troubles []string         `json:"troubles"`
}

// verifyFile checks a certificate: its format, its signature, and, if there is a ledger, whether that says the same.
func (a *app) verifyFile(ctx context.Context, check fileCheck, format cli.Format) error {
	var trusted ed25519.PublicKey
	if check.key != "" {
		var err error
		if trusted, err = certificate.ReadPublicKey(check.key); err != nil {
			return cli.Usage("--key: %w", err)
		}
	}
	c, err := a.readCertificate(check.name)
	if err != nil {
		return err
	}
	v := verifiedFile{Kind: c.Kind, UserID: c.UserID, MadeAt: c.MadeAt, Troubles: []string{}}
	if c.Signature != nil || trusted != nil {
		err := c.CheckSignature(trusted)
		if err != nil {
			v.Troubles = append(v.Troubles, err.Error())
		}
		if c.CheckSignature(nil) == nil { // it may fit another key than the trusted one
			v.KeyID, v.Trusted = c.Signature.KeyID, err == nil && trusted != nil
		}
	}
	if v.Compared = !check.offline && a.hasLedger(); v.Compared {
		_, store, err := a.openStore()
		if err != nil {
			return err
		}
		defer store.Close()
		differences, err := certificate.Compare(ctx, store, c)
		if err != nil {
			return cli.Unavailable(err)
		}
		v.Troubles = append(v.Troubles, differences...)
	}
	return a.printVerifiedFile(v, v.signedText(c.Signature != nil, trusted != nil), format)
}

// hasLedger reports whether any ledger is configured. An auditor's machine has none.
func (a *app) hasLedger() bool {
	if a.path != "" {
		return true
	}
	for _, e := range a.streams.Environ {
		if strings.HasPrefix(e, "CERTPURGE_MYSQL_DSN") {
			return true
		}
	}
	return false
}

// signedText says in words who signed the file. has says whether it has a signature, given whether there is a key that
// the caller trusts.
func (v verifiedFile) signedText(has, given bool) string {
	switch {
	case !has:
		return "not signed"
	case v.KeyID == "":
		return "no signature that fits"
	case v.Trusted:
		return "signed with the given key, " + v.KeyID
	case given:
		return "signed with the key " + v.KeyID + ", which is not the given one"
	}
	return "signed with the key " + v.KeyID + "; use --key to check whose key that is"
}

func (a *app) printVerifiedFile(v verifiedFile, signed string, format cli.Format) (err error) {
	if format == "json" {
		err = a.printJSON(v)
	} else {
		for _, trouble := range v.Troubles {
			a.printf("%s\n", trouble)
		}
		a.printf("%s for user %d of %s\n", v.Kind, v.UserID, v.MadeAt.Format(time.RFC3339))
		a.printf("%s\n", signed)
		if v.Compared {
			a.printf("compared with the ledger\n")
		} else {
			a.printf("not compared with a ledger\n")
		}
	}
	if err == nil && len(v.Troubles) > 0 {
		err = cli.Errorf(cli.ExitNotDone, "this does not hold: %s",
			english.Plural(len(v.Troubles), "trouble", ""))
	}
	return err
}
