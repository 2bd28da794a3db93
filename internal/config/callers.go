package config

import (
	"fmt"
	"regexp"
	"strings"
)

const (
	// minSecret is what RFC 7518, section 3.2, asks of an HS256 secret: as many bytes as the hash has.
	minSecret = 32
	// minShortSecret is the bound with accept_short_secret: 16 random letters and digits are 95 bits.
	minShortSecret = 16
	// emptySHA256 is the hash of no text at all, which comes out where a variable was not set.
	emptySHA256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
)

var sha256Characters = regexp.MustCompile(`^[0-9a-f]{64}$`)

func isTokenSHA256(s string) bool { return sha256Characters.MatchString(s) && s != emptySHA256 }

// AcceptsCallers reports whether "enqueuer serve" has a way to authenticate callers.
func (e *Enqueuer) AcceptsCallers() bool { return e.JWT.Configured() || len(e.Tokens) > 0 }

// Configured reports whether any JSON Web Token can be accepted.
func (j *JWT) Configured() bool {
	return !j.HS256Secret.IsZero() || j.JWKSURL != "" || j.JWKSFile != ""
}

// Check returns an [*Error] if an entry of the list of tokens with these values would be refused.
func (t *Token) Check() error {
	l := &loader{}
	l.reportBroken(t)
	if len(l.problems) > 0 {
		return &Error{Problems: l.problems}
	}
	return nil
}

func checkJWT(jwt *JWT, report func(path, sentence string)) {
	checkHS256Secret(jwt, report)
	if jwt.JWKSURL != "" && jwt.JWKSFile != "" {
		report("jwt.jwks_file", "must be empty with jwt.jwks_url; keep one of them")
	}
	if !jwt.Configured() {
		return
	}
	if len(jwt.Audiences) == 0 {
		report("jwt.audiences", "must have at least 1 entry when tokens are accepted: a token made for another "+
			"service would do")
	}
	if len(jwt.Issuers) == 0 {
		report("jwt.issuers", "must have at least 1 entry when tokens are accepted")
	}
}

func checkHS256Secret(jwt *JWT, report func(path, sentence string)) {
	secret := jwt.HS256Secret.Reveal()
	minBytes, hint := minSecret, "; jwt.accept_short_secret lowers that to 16, for secrets that are random"
	if jwt.AcceptShortSecret {
		minBytes, hint = minShortSecret, ""
	}
	switch {
	case secret == "":
	case strings.Contains(secret, "-----BEGIN "):
		// The public key is known to everyone, so any client could sign with it.
		report("jwt.hs256_secret", "must not be a key in PEM; public keys belong into jwt.jwks_file")
	case len(secret) < minBytes:
		report("jwt.hs256_secret", fmt.Sprintf("must have at least %d bytes, has %d%s", minBytes, len(secret), hint))
	}
}

func checkTokens(tokens []Token, report func(path, sentence string)) {
	names, hashes := map[string]string{}, map[string]string{}
	for i, token := range tokens {
		checkUnique(names, token.Name, fmt.Sprintf("tokens[%d].name", i), report)
		checkUnique(hashes, token.SHA256, fmt.Sprintf("tokens[%d].sha256", i), report)
	}
}

// checkUnique reports a value that an earlier path has already.
func checkUnique(seen map[string]string, value, path string, report func(path, sentence string)) {
	if first, taken := seen[value]; taken && value != "" {
		report(path, fmt.Sprintf("must be unique, is %s like %s", describe(value), first))
		return
	}
	seen[value] = path
}
