package certificate

import (
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
)

// Signature is over the canonical JSON of the document without its member signature.
type Signature struct {
	Algorithm string `json:"algorithm"` // Ed25519
	KeyID     string `json:"key_id"`
	PublicKey string `json:"public_key"` // base64 of the key in its PKIX form, as in its PEM file
	Value     string `json:"value"`      // base64
}

const algorithm = "Ed25519"

// KeyID names a public key: the first 16 digits of the SHA-256 of its PKIX form.
func KeyID(public ed25519.PublicKey) string {
	sum := sha256.Sum256(pkix(public))
	return hex.EncodeToString(sum[:8])
}

func pkix(public ed25519.PublicKey) []byte {
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		panic(err) // it knows Ed25519
	}
	return der
}

// signed is what a signature is over.
func (c *Certificate) signed() ([]byte, error) {
	unsigned := *c
	unsigned.Signature = nil
	return unsigned.Encode()
}

// Sign signs the document.
func (c *Certificate) Sign(key ed25519.PrivateKey) error {
	text, err := c.signed()
	if err != nil {
		return err
	}
	public := key.Public().(ed25519.PublicKey) //nolint:errcheck,forcetypeassert // as the package says
	c.Signature = &Signature{
		Algorithm: algorithm, KeyID: KeyID(public), PublicKey: base64.StdEncoding.EncodeToString(pkix(public)),
		Value: base64.StdEncoding.EncodeToString(ed25519.Sign(key, text)),
	}
	return nil
}

// errSignature is what a changed document has.
var errSignature = errors.New("the signature does not fit: the document was changed after it was signed")

// CheckSignature compares a signed document with its signature, and, if public is not nil, that with a key that the
// caller trusts.
func (c *Certificate) CheckSignature(public ed25519.PublicKey) error {
	s := c.Signature
	if s == nil {
		return errors.New("the document is not signed")
	}
	der, err := base64.StdEncoding.DecodeString(s.PublicKey)
	if err != nil {
		return fmt.Errorf("reading the public key of the signature: %w", err)
	}
	own, err := parsePublic(der)
	if err != nil {
		return fmt.Errorf("reading the public key of the signature: %w", err)
	}
	if s.Algorithm != algorithm || s.KeyID != KeyID(own) {
		return fmt.Errorf("the signature is of algorithm %q and key %q: expected %s and %s", s.Algorithm, s.KeyID, algorithm,
			KeyID(own))
	}
	value, err := base64.StdEncoding.DecodeString(s.Value)
	if err != nil {
		return fmt.Errorf("reading the signature: %w", err)
	}
	text, err := c.signed()
	if err != nil {
		return err
	}
	if !ed25519.Verify(own, text, value) {
		return errSignature
	}
	if public != nil && !public.Equal(own) {
		return fmt.Errorf("the document is signed with the key %s, not with %s", s.KeyID, KeyID(public))
	}
	return nil
}

// readKey reads the private key that signs, as "openssl genpkey -algorithm ed25519" writes it: PKCS#8 in PEM.
func readKey(path string) (ed25519.PrivateKey, error) {
	der, err := readPEM(path, "PRIVATE KEY")
	if err != nil {
		return nil, err
	}
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, fmt.Errorf("%s holds no private key in PKCS#8 form", path) // the cause may quote the key
	}
	private, ok := key.(ed25519.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("%s holds a key of another algorithm: expected %s", path, algorithm)
	}
	return private, nil
}

// ReadPublicKey reads a public key, as "openssl pkey -pubout" writes it: PKIX in PEM.
func ReadPublicKey(path string) (ed25519.PublicKey, error) {
	der, err := readPEM(path, "PUBLIC KEY")
	if err != nil {
		return nil, err
	}
	key, err := parsePublic(der)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return key, nil
}

func parsePublic(der []byte) (ed25519.PublicKey, error) {
	key, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		return nil, fmt.Errorf("it is no public key in PKIX form: %w", err)
	}
	public, ok := key.(ed25519.PublicKey)
	if !ok {
		return nil, fmt.Errorf("it is a %T: expected %s", key, algorithm)
	}
	return public, nil
}

// maxKey is far above any key.
const maxKey = 64 << 10

// readPEM reads the only block of a file.
func readPEM(path, kind string) ([]byte, error) {
	file, err := os.Open(path) //nolint:gosec // the operator names the file
	if err != nil {
		return nil, fmt.Errorf("reading a key: %w", err)
	}
	defer func() { _ = file.Close() }() // only read from
	text, err := io.ReadAll(io.LimitReader(file, maxKey))
	if err != nil {
		return nil, fmt.Errorf("reading a key: %w", err)
	}
	block, _ := pem.Decode(text)
	switch {
	case block == nil:
		return nil, fmt.Errorf("%s is no PEM file: expected -----BEGIN %s-----", path, kind)
	case block.Type != kind:
		return nil, fmt.Errorf("%s holds a %s: expected -----BEGIN %s-----", path, block.Type, kind)
	}
	return block.Bytes, nil
}
