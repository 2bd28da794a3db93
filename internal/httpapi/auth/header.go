package auth

import (
	"net/http"
	"strings"
)

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
		// Which one was meant cannot be told, and a proxy may check another than we.
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
