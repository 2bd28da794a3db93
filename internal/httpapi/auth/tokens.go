package auth

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"fmt"

	"github.com/certpurge/certpurge/internal/config"
)

// minToken is the length of 32 bytes in base64url, the shortest form of the least that a token may hold. It keeps words
// that a person has chosen from being tokens: from their hash they could be guessed.
const minToken = 43

// tokens are the static tokens.
type tokens []staticToken

type staticToken struct {
	hash   [sha256.Size]byte
	caller Caller
}

func newTokens(configured []config.Token) (tokens, error) {
	var all tokens
	for _, t := range configured {
		hash, err := hex.DecodeString(t.SHA256)
		if err != nil || len(hash) != sha256.Size {
			return nil, fmt.Errorf("reading the token %q: its sha256 must be 64 hexadecimal digits", t.Name)
		}
		var rights Rights
		for _, name := range t.Rights {
			right, ok := ParseRight(name)
			if !ok {
				return nil, fmt.Errorf("reading the token %q: there is no right %q", t.Name, name)
			}
			rights |= right
		}
		all = append(all, staticToken{hash: [sha256.Size]byte(hash), caller: newCaller(KindToken, t.Name, rights)})
	}
	return all, nil
}

// find returns the caller of a token. It compares with all of them, so that the time shows neither which one it was nor
// how much of a hash was right.
func (all tokens) find(token string) (Caller, error) {
	if len(token) < minToken {
		return Caller{}, refuse(TokenMalformed)
	}
	hash := sha256.Sum256([]byte(token))
	at := -1
	for i := range all {
		at = subtle.ConstantTimeSelect(subtle.ConstantTimeCompare(hash[:], all[i].hash[:]), i, at)
	}
	if at < 0 {
		return Caller{}, refuse(TokenUnknown)
	}
	return all[at].caller, nil
}
