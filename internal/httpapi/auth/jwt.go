package auth

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	josejson "github.com/go-jose/go-jose/v4/json"
	"github.com/go-jose/go-jose/v4/jwt"
)

const (
	// leeway is the difference of clocks that is tolerated.
	leeway = 30 * time.Second
	// lastTime is the end of the year 9999. A time beyond it is a slip, or has overflowed.
	lastTime = 253_402_300_799

	minSecret      = 32 // bytes, RFC 7518, section 3.2
	minShortSecret = 16
)

// verifier checks JSON Web Tokens.
type verifier struct {
	secret   []byte  // nil: no HS256
	keys     *keySet // nil: no RS256 and RS512
	expected jwt.Expected
	issuers  []string
	user     string
	lifetime time.Duration
	now      func() time.Time
}

func newVerifier(cfg Config, keys *keySet) (*verifier, error) {
	v := &verifier{
		keys: keys, expected: jwt.Expected{AnyAudience: cfg.JWT.Audiences}, issuers: cfg.JWT.Issuers,
		user:     cfg.JWT.ServiceUser,
		lifetime: cfg.JWT.MaxLifetime, now: clock(cfg.Now),
	}
	if v.lifetime <= 0 {
		return nil, errors.New("accepting JSON Web Tokens: jwt.max_lifetime must be set")
	}
	if len(cfg.JWT.Audiences) == 0 || len(cfg.JWT.Issuers) == 0 || v.user == "" ||
		slices.Contains(cfg.JWT.Audiences, "") || slices.Contains(v.issuers, "") {
		return nil, errors.New("accepting JSON Web Tokens: jwt.audiences, jwt.issuers and jwt.service_user must be set")
	}
	if cfg.JWT.HS256Secret.IsZero() {
		return v, nil
	}
	v.secret = []byte(cfg.JWT.HS256Secret.Reveal())
	least := minSecret
	if cfg.JWT.AcceptShortSecret {
		least = minShortSecret
	}
	if len(v.secret) < least || bytes.Contains(v.secret, []byte("-----BEGIN ")) {
		return nil, fmt.Errorf("accepting JSON Web Tokens: jwt.hs256_secret must have at least %d bytes and not be "+
			"a key in PEM", least)
	}
	if len(v.secret) < minSecret {
		// The library refuses short ones. HMAC itself fills a key up with zeros (RFC 2104), so this is the same secret.
		v.secret = append(v.secret, make([]byte, minSecret-len(v.secret))...)
	}
	return v, nil
}

// header is what counts in the header of a token. Unknown members are ignored, as RFC 7515 asks.
type header struct {
	Algorithm jose.SignatureAlgorithm `json:"alg"`
	KeyID     *string                 `json:"kid"`
	// Critical members must be understood, and none is. Base64 false changes what is signed.
	Critical josejson.RawMessage `json:"crit"`
	Base64   josejson.RawMessage `json:"b64"`
}

// claims are the claims that count.
type claims struct {
	jwt.Claims

	User       string `json:"preferred_username"`
	Superuser  any    `json:"superuser"`
	Restricted any    `json:"is_restricted"`
	Scopes     any    `json:"scopes"`
	Client     any    `json:"client_id"` // RFC 9068
	Party      any    `json:"azp"`       // OpenID Connect
}

// verify returns the caller of a token.
func (v *verifier) verify(ctx context.Context, token string) (Caller, error) {
	h, err := parseHeader(token)
	if err != nil {
		return Caller{}, err
	}
	var c *claims
	switch {
	case h.Algorithm == jose.HS256 && v.secret != nil:
		c, err = open(token, h.Algorithm, v.secret)
	case (h.Algorithm == jose.RS256 || h.Algorithm == jose.RS512) && v.keys != nil:
		c, err = v.keys.open(ctx, token, h)
	default:
		err = refuse(AlgorithmNotAllowed)
	}
	if err != nil {
		return Caller{}, err
	}
	if err := v.checkClaims(c); err != nil {
		return Caller{}, err
	}
	return v.admit(c)
}

// parseHeader reads a token's header and makes sure that the token is the only encoding of its bytes: base64
// leaves bits over at the end that a lenient decoder ignores.
func parseHeader(token string) (header, error) {
	var first []byte
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return header{}, refuse(TokenMalformed)
	}
	for i, part := range parts {
		decoded, err := base64.RawURLEncoding.Strict().DecodeString(part)
		if err != nil {
			return header{}, refuse(TokenMalformed)
		}
		if i == 0 {
			first = decoded
		}
	}
	var h header
	// This package's JSON distinguishes letter case and refuses members that are there twice, so there is one way to read
	// it.
	if err := josejson.Unmarshal(first, &h); err != nil || h.Critical != nil || h.Base64 != nil {
		return header{}, refuse(TokenMalformed)
	}
	return h, nil
}

// open checks the signature with the key and returns the claims. The key is a secret ([]byte) or an *rsa.PublicKey; the
// library takes its algorithms from that type, and we name the only one that the key may be used with.
func open(token string, algorithm jose.SignatureAlgorithm, key any) (*claims, error) {
	parsed, err := jwt.ParseSigned(token, []jose.SignatureAlgorithm{algorithm})
	if err != nil {
		return nil, refuse(TokenMalformed)
	}
	c := &claims{}
	switch err := parsed.Claims(key, c); {
	case errors.Is(err, jose.ErrCryptoFailure):
		return nil, refuse(SignatureInvalid)
	case err != nil:
		return nil, refuse(TokenMalformed)
	}
	return c, nil
}

// checkClaims checks the claims about time, audience and issuer.
func (v *verifier) checkClaims(c *claims) error {
	if c.Expiry == nil || c.IssuedAt == nil {
		return refuse(ClaimMissing)
	}
	for _, date := range []*jwt.NumericDate{c.Expiry, c.IssuedAt, c.NotBefore} {
		if date != nil && (*date < 0 || *date > lastTime) {
			return refuse(TokenMalformed)
		}
	}
	now := v.now()
	switch err := c.ValidateWithLeeway(v.expected.WithTime(now), leeway); {
	case errors.Is(err, jwt.ErrInvalidAudience):
		return refuse(AudienceWrong)
	case errors.Is(err, jwt.ErrExpired):
		return refuse(TokenExpired)
	case errors.Is(err, jwt.ErrNotValidYet), errors.Is(err, jwt.ErrIssuedInTheFuture):
		return refuse(TokenNotYetValid)
	case err != nil:
		return refuse(TokenMalformed)
	}
	if !slices.Contains(v.issuers, c.Issuer) {
		return refuse(IssuerWrong)
	}
	if c.Expiry.Time().After(now.Add(v.lifetime + leeway)) {
		return refuse(LifetimeTooLong)
	}
	return nil
}

// admit lets in the service user and superusers, as the LMS's own services do. A superuser's token must be one for
// everything: the LMS marks those for which the user has given an application a part of it. The driver's client may be
// a restricted one, and no person logs in as the service user, so its tokens are not requested scopes.
func (v *verifier) admit(c *claims) (Caller, error) {
	isSuperuser, isBool := c.Superuser.(bool)
	name := v.user
	switch {
	case c.User == v.user:
	case !isBool || !isSuperuser:
		return Caller{}, refuse(UserNotAllowed)
	case c.Restricted != nil && c.Restricted != false || !hasScope(c.Scopes, "read") || !hasScope(c.Scopes, "write"):
		return Caller{}, refuse(TokenRestricted)
	default:
		name = superuser
	}
	caller := newCaller(KindJWT, name, All)
	for _, claim := range []any{c.Client, c.Party} {
		if id, ok := claim.(string); ok && caller.Client == "" && clientForm.MatchString(id) {
			caller.Client = id
		}
	}
	return caller, nil
}

// clientForm keeps names and addresses of people out of the logs. OAuth clients of the LMS are called by random letters
// and digits, or by a name such as retirement.
var clientForm = regexp.MustCompile(`^[0-9A-Za-z._-]{1,64}$`)

// hasScope reports whether a claim is a list that holds the scope.
func hasScope(claim any, scope string) bool {
	scopes, _ := claim.([]any)
	return slices.Contains(scopes, any(scope))
}
