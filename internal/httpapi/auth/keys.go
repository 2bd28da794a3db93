package auth

import (
	"crypto/rsa"
	"errors"
	"fmt"

	"github.com/go-jose/go-jose/v4"
	josejson "github.com/go-jose/go-jose/v4/json"
)

const (
	minKeyBits = 2048 // as RFC 7518, section 3.3, asks
	maxKeys    = 16   // a token without a key id is tried with each
)

// publicKey is one usable key of a key set.
type publicKey struct {
	id        string
	algorithm jose.SignatureAlgorithm // "" for both
	key       *rsa.PublicKey
}

// accepts reports whether a token with this header may be signed with the key. A token without a key id may be signed
// with any; so are those of newer LMS releases.
func (k publicKey) accepts(h header) bool {
	return (h.KeyID == nil || *h.KeyID == k.id) && (k.algorithm == "" || k.algorithm == h.Algorithm)
}

// parseKeys reads a JSON Web Key Set. Keys of other kinds are left out: symmetric keys above all, which must never be
// taken from a document that is public. It returns an error where nothing is left.
func parseKeys(document []byte) ([]publicKey, error) {
	var set struct {
		Keys []josejson.RawMessage `json:"keys"`
	}
	if err := josejson.Unmarshal(document, &set); err != nil {
		return nil, errors.New("it is not a JSON Web Key Set") // The library's error may quote the document.
	}
	var usable []publicKey
	for _, raw := range set.Keys {
		if key, ok := parseKey(raw); ok {
			usable = append(usable, key)
		}
	}
	switch {
	case len(usable) == 0:
		return nil, fmt.Errorf("it holds no public RSA key of at least %d bits for RS256 or RS512; keys in it: %d",
			minKeyBits, len(set.Keys))
	case len(usable) > maxKeys:
		return nil, fmt.Errorf("it holds %d keys, more than %d", len(usable), maxKeys)
	}
	return usable, nil
}

func parseKey(raw josejson.RawMessage) (publicKey, bool) {
	var jwk jose.JSONWebKey
	if err := jwk.UnmarshalJSON(raw); err != nil {
		return publicKey{}, false
	}
	key, isPublicRSA := jwk.Key.(*rsa.PublicKey)
	algorithm := jose.SignatureAlgorithm(jwk.Algorithm)
	ok := isPublicRSA && key.N.BitLen() >= minKeyBits && (jwk.Use == "" || jwk.Use == "sig") &&
		(algorithm == "" || algorithm == jose.RS256 || algorithm == jose.RS512)
	return publicKey{id: jwk.KeyID, algorithm: algorithm, key: key}, ok
}
