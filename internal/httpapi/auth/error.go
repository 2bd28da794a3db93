package auth

import (
	"errors"
	"fmt"
	"net/http"
	"time"
)

// Code says what was wrong with a request's credentials, for programs and for metrics. Codes do not change.
type Code string

// The codes, by the status of their answer.
const (
	// 401.
	CredentialsMissing   Code = "credentials_missing"
	CredentialsMalformed Code = "credentials_malformed"
	SchemeUnknown        Code = "scheme_unknown"
	TokenTooLarge        Code = "token_too_large"
	TokenMalformed       Code = "token_malformed"
	TokenUnknown         Code = "token_unknown"
	AlgorithmNotAllowed  Code = "algorithm_not_allowed"
	KeyUnknown           Code = "key_unknown"
	SignatureInvalid     Code = "signature_invalid"
	ClaimMissing         Code = "claim_missing"
	TokenExpired         Code = "token_expired"
	TokenNotYetValid     Code = "token_not_yet_valid" //nolint:gosec // A word about tokens, not one of them.
	AudienceWrong        Code = "audience_wrong"
	IssuerWrong          Code = "issuer_wrong"
	LifetimeTooLong      Code = "lifetime_too_long"

	// 403.
	UserNotAllowed  Code = "user_not_allowed"
	TokenRestricted Code = "token_restricted"
	RightMissing    Code = "right_missing"

	// 503: the token may be right, but the keys to check it could not be fetched since it came. A 401 would be final for
	// the driver.
	KeysUnavailable Code = "keys_unavailable"
)

// Values of the challenge's attribute error, RFC 6750, section 3.1.
const (
	invalidRequest    = "invalid_request"
	invalidToken      = "invalid_token"
	insufficientScope = "insufficient_scope"
)

// meanings say how each code is answered. The sentences are for people and hold only characters that RFC 6750 allows in
// error_description.
var meanings = map[Code]struct {
	status    int
	challenge string // the attribute error, or "" for a challenge without one
	sentence  string
}{
	CredentialsMissing: {http.StatusUnauthorized, "", "the request has no Authorization header"},
	CredentialsMalformed: {
		http.StatusUnauthorized, invalidRequest,
		"expected one Authorization header with a scheme, a blank and a token",
	},
	SchemeUnknown:  {http.StatusUnauthorized, "", "expected the scheme JWT or Bearer"},
	TokenTooLarge:  {http.StatusUnauthorized, invalidToken, "the token is larger than 8 KiB"},
	TokenMalformed: {http.StatusUnauthorized, invalidToken, "the token is not well formed"},
	TokenUnknown:   {http.StatusUnauthorized, invalidToken, "the token is not known"},
	AlgorithmNotAllowed: {
		http.StatusUnauthorized, invalidToken,
		"the token is signed with an algorithm that is not accepted",
	},
	KeyUnknown:       {http.StatusUnauthorized, invalidToken, "the token names a key that is not in the key set"},
	SignatureInvalid: {http.StatusUnauthorized, invalidToken, "the signature of the token is wrong"},
	ClaimMissing:     {http.StatusUnauthorized, invalidToken, "the token needs the claims exp and iat"},
	TokenExpired:     {http.StatusUnauthorized, invalidToken, "the token has expired"},
	TokenNotYetValid: {http.StatusUnauthorized, invalidToken, "the token is not valid yet"},
	AudienceWrong:    {http.StatusUnauthorized, invalidToken, "the token is for another audience"},
	IssuerWrong:      {http.StatusUnauthorized, invalidToken, "the token is from another issuer"},
	LifetimeTooLong: {http.StatusUnauthorized, invalidToken, "the token is valid for longer than jwt.max_lifetime " +
		"from now on"},
	TokenRestricted: {http.StatusForbidden, insufficientScope, "the token of a superuser is restricted, or lacks the " +
		"scope read or write"},
	UserNotAllowed: {http.StatusForbidden, insufficientScope, "the user of the token is neither the retirement service " +
		"user nor a superuser"},
	RightMissing:    {http.StatusForbidden, insufficientScope, "the caller has no right to do this"},
	KeysUnavailable: {http.StatusServiceUnavailable, "", "the keys to check the token cannot be fetched now"},
}

// Error is why a request is not let through. It never holds a piece of a token.
type Error struct {
	Code Code
	// Right is the right that is missing, with RightMissing.
	Right Rights
	// After is the time until the keys may be fetched again, with KeysUnavailable; 0 if that is not known.
	After time.Duration
}

func refuse(code Code) error { return &Error{Code: code} }

// codeOf returns the code of an [*Error], or "".
func codeOf(err error) Code {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	return ""
}

// Error gives the code and the sentence.
func (e *Error) Error() string { return fmt.Sprintf("%s: %s", e.Code, e.Sentence()) }

// Sentence says in words what is wrong; the caller may read it.
func (e *Error) Sentence() string {
	if e.Right != 0 {
		return fmt.Sprintf("the caller has no right to %s", e.Right)
	}
	return meanings[e.Code].sentence
}

// Status is the HTTP status of the answer: 401, 403 or 503.
func (e *Error) Status() int {
	if m, ok := meanings[e.Code]; ok {
		return m.status
	}
	return http.StatusUnauthorized
}

// Challenge is the value of the answer's header WWW-Authenticate as in RFC 6750, section 3, or "" where there is none.
func (e *Error) Challenge() string {
	m, ok := meanings[e.Code]
	if ok && m.status == http.StatusServiceUnavailable {
		return ""
	}
	challenge := `Bearer realm="certpurge"`
	if m.challenge != "" {
		challenge += fmt.Sprintf(`, error="%s", error_description="%s"`, m.challenge, e.Sentence())
	}
	if e.Right != 0 {
		challenge += fmt.Sprintf(`, scope="%s"`, e.Right)
	}
	return challenge
}
