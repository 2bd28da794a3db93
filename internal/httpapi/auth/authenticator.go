package auth

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/certpurge/certpurge/internal/config"
)

// maxToken bounds a token in bytes. Tokens of the LMS have about 1 KiB.
const maxToken = 8 << 10

// Config says whom to let in. New checks again those rules of internal/config that keep strangers out.
type Config struct {
	JWT    config.JWT
	Tokens []config.Token
	Log    *slog.Logger

	// Transport carries the requests for the key set; nil means one with time-outs.
	Transport http.RoundTripper
	// Now is the clock of the claims; nil means time.Now.
	Now func() time.Time
}

// Authenticator identifies callers. Make one with New, and let Run keep its keys fresh. It is safe for concurrent use.
type Authenticator struct {
	tokens tokens
	jwt    *verifier // nil: no JSON Web Token is accepted
	keys   *keySet   // nil: no key set
}

// New makes an Authenticator. It reads the key set if that is a file; one behind a URL is fetched by Run, or when the
// first token requests it. Its errors are mistakes of the configuration.
func New(cfg Config) (*Authenticator, error) {
	a := &Authenticator{}
	var err error
	if a.tokens, err = newTokens(cfg.Tokens); err != nil {
		return nil, err
	}
	if cfg.JWT.JWKSURL != "" || cfg.JWT.JWKSFile != "" {
		if a.keys, err = newKeySet(cfg); err != nil {
			return nil, err
		}
	}
	if a.keys != nil || !cfg.JWT.HS256Secret.IsZero() {
		if a.jwt, err = newVerifier(cfg, a.keys); err != nil {
			return nil, err
		}
	}
	if a.jwt == nil && len(a.tokens) == 0 {
		return nil, errors.New("letting callers in: neither jwt.hs256_secret, jwt.jwks_url, jwt.jwks_file nor tokens " +
			"is configured")
	}
	return a, nil
}

// Run fetches the key set at once and keeps it fresh until ctx is done. Without a key set it only waits.
func (a *Authenticator) Run(ctx context.Context) {
	if a.keys == nil {
		<-ctx.Done()
		return
	}
	a.keys.run(ctx)
}

// Ready returns an error while there is a key set to be had and none was read yet. Callers with other credentials are
// let in all the same.
func (a *Authenticator) Ready() error {
	if a.keys == nil {
		return nil
	}
	return a.keys.ready()
}

// Authenticate says who sends the request. Its error is an [*Error] that says how to answer. It may wait for the key
// set to be fetched, but not longer than the request's context.
func (a *Authenticator) Authenticate(r *http.Request) (Caller, error) {
	scheme, token, err := credentials(r.Header)
	if err != nil {
		return Caller{}, err
	}
	// No static token has a dot in it.
	switch isJWT := strings.Contains(token, "."); {
	case isJWT && a.jwt != nil:
		return a.jwt.verify(r.Context(), token)
	case isJWT:
		return Caller{}, refuse(TokenUnknown)
	case scheme == schemeJWT:
		return Caller{}, refuse(TokenMalformed)
	default:
		return a.tokens.find(token)
	}
}

const (
	schemeJWT    = "jwt"
	schemeBearer = "bearer"
)

// credentials takes the scheme, in lower case, and the token out of the one Authorization header.
func credentials(h http.Header) (scheme, token string, err error) {
	values := h.Values("Authorization")
	if len(values) == 0 {
		return "", "", refuse(CredentialsMissing)
	}
	if len(values) > 1 {
		// Which one was meant is not known, and a proxy may check another than we.
		return "", "", refuse(CredentialsMalformed)
	}
	scheme, token, _ = strings.Cut(values[0], " ")
	scheme, token = strings.ToLower(scheme), strings.TrimLeft(token, " ")
	switch {
	case scheme != schemeJWT && scheme != schemeBearer:
		return "", "", refuse(SchemeUnknown)
	case len(token) > maxToken:
		return "", "", refuse(TokenTooLarge)
	case token == "" || strings.ContainsFunc(token, isNoTokenCharacter):
		return "", "", refuse(CredentialsMalformed)
	}
	return scheme, token, nil
}

// isNoTokenCharacter refuses what is not in RFC 6750's b64token.
func isNoTokenCharacter(r rune) bool {
	letterOrDigit := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
	return !letterOrDigit && !strings.ContainsRune("-._~+/=", r)
}
