package auth_test

import (
	"net/http"
	"regexp"
	"testing"

	"github.com/certpurge/certpurge/internal/httpapi/auth"
)

// statuses are all codes with the status that each is answered with. Handlers, metrics and operators rely on them.
var statuses = map[auth.Code]int{
	"credentials_missing": 401, "credentials_malformed": 401, "scheme_unknown": 401, "token_too_large": 401,
	"token_malformed": 401,
	"token_unknown":   401, "algorithm_not_allowed": 401, "key_unknown": 401, "signature_invalid": 401,
	"claim_missing": 401,
	"token_expired": 401, "token_not_yet_valid": 401, "audience_wrong": 401, "issuer_wrong": 401, "lifetime_too_long": 401,
	"user_not_allowed": 403, "token_restricted": 403, "right_missing": 403,
	"keys_unavailable": 503, tomorrow: 401,
}

// tomorrow is a code that this version does not know.
const tomorrow auth.Code = "a_code_of_tomorrow"

func TestCodesHaveAStatusAndAChallenge(t *testing.T) {
	t.Parallel()
	// RFC 6750, section 3: the characters of error_description and scope.
	wellFormed := regexp.MustCompile(
		`^Bearer realm="certpurge"(, error="(invalid_request|invalid_token|insufficient_scope)", ` +
			`error_description="[\x20-\x21\x23-\x5b\x5d-\x7e]+")?(, scope="[a-z]+")?$`)
	for code, want := range statuses {
		e := &auth.Error{Code: code}
		if got := e.Status(); got != want {
			t.Errorf("%s: got status %d, want %d", code, got, want)
		}
		got := e.Challenge()
		if wellFormed.MatchString(got) == (want == http.StatusServiceUnavailable) {
			t.Errorf("%s: got challenge %q", code, got)
		}
		if want != 401 != (code == auth.UserNotAllowed || code == auth.TokenRestricted || code == auth.RightMissing ||
			code == auth.KeysUnavailable) {
			t.Errorf("%s has another name", code)
		}
	}
}

func TestChallenges(t *testing.T) {
	t.Parallel()
	for want, e := range map[string]*auth.Error{
		`Bearer realm="certpurge"`: {Code: auth.CredentialsMissing},
		`Bearer realm="certpurge", error="invalid_token", error_description="the token has expired"`: {Code: auth.TokenExpired},
		`Bearer realm="certpurge", error="insufficient_scope", error_description="the caller has no right to requeue", scope="requeue"`: {
			Code: auth.RightMissing, Right: auth.Requeue,
		},
		``: {Code: auth.KeysUnavailable},
	} {
		if got := e.Challenge(); got != want {
			t.Errorf("%s: got %s, want %s", e.Code, got, want)
		}
	}
	if got, want := (&auth.Error{Code: auth.TokenExpired}).Error(), "token_expired: the token has expired"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
