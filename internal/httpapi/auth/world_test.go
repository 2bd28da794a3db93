package auth_test

import (
	"crypto"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/certpurge/certpurge/internal/config"
	"github.com/certpurge/certpurge/internal/httpapi/auth"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	secret      = "0123456789abcdef0123456789abcdef"
	serviceUser = "retirement_service_worker"
	audience    = "openedx"
	issuer      = "https://lms.example.org/oauth2"
	staticToken = "Zm9yLXRlc3RzLW9ubHktZm9yLXRlc3RzLW9ubHktMDAx" // 33 bytes in base64url
)

// now is the time in which the tokens of the tests are valid.
var now = time.Unix(1_800_000_000, 0)

// Signing here is done with the standard library, so that the library under the verifier is not checked by itself.

// two keys of the LMS, the second of which is the next one.
var (
	oldKey  = sync.OnceValue(newKey)
	nextKey = sync.OnceValue(newKey)
)

func newKey() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
}

// part encodes one part of a token.
func part(v any) string {
	text, ok := v.([]byte)
	if !ok {
		text = marshal(v)
	}
	return base64.RawURLEncoding.EncodeToString(text)
}

func marshal(v any) []byte {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return text
}

// object is a JSON object.
type object = map[string]any

// goodClaims are those of a token of the LMS, changed by changes; nil takes a claim away.
func goodClaims(changes ...object) object {
	claims := object{
		"aud": audience, "iss": issuer, "exp": now.Add(time.Hour).Unix(), "iat": now.Unix(),
		"preferred_username": serviceUser,
		"grant_type":         "client-credentials", "scopes": []string{"read", "write"}, "version": "1.2.0", "sub": "8a4f6d",
		"filters":       []string{},
		"is_restricted": false, "email_verified": true,
	}
	for _, change := range changes {
		maps.Copy(claims, change)
	}
	maps.DeleteFunc(claims, func(_ string, v any) bool { return v == nil })
	return claims
}

// hs256 makes a token signed with a secret.
func hs256(key []byte, header object, claims any) string {
	h := object{"alg": "HS256", "typ": "JWT"}
	maps.Copy(h, header)
	return sign(key, part(h)+"."+part(claims))
}

// sign adds a signature with a secret.
func sign(key []byte, input string) string {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(input))
	return input + "." + part(mac.Sum(nil))
}

// rs256 and rs512 make a token signed with an RSA key.
func rs256(key *rsa.PrivateKey, header object, claims any) string {
	return signRSA(key, crypto.SHA256, "RS256", header, claims)
}

func rs512(key *rsa.PrivateKey, header object, claims any) string {
	return signRSA(key, crypto.SHA512, "RS512", header, claims)
}

func signRSA(key *rsa.PrivateKey, hash crypto.Hash, algorithm string, header object, claims any) string {
	h := object{"alg": algorithm, "typ": "JWT"}
	maps.Copy(h, header)
	input := part(h) + "." + part(claims)
	digest := sha256.Sum256([]byte(input))
	sum := digest[:]
	if hash == crypto.SHA512 {
		long := sha512.Sum512([]byte(input))
		sum = long[:]
	}
	signature, err := rsa.SignPKCS1v15(rand.Reader, key, hash, sum)
	if err != nil {
		panic(err)
	}
	return input + "." + part(signature)
}

// jwk is a public key as the LMS publishes it, changed by changes.
func jwk(id string, key *rsa.PublicKey, changes ...object) object {
	o := object{
		"kty": "RSA", "kid": id, "n": base64.RawURLEncoding.EncodeToString(key.N.Bytes()),
		"e": base64.RawURLEncoding.EncodeToString(big.NewInt(int64(key.E)).Bytes()),
	}
	for _, change := range changes {
		maps.Copy(o, change)
	}
	maps.DeleteFunc(o, func(_ string, v any) bool { return v == nil })
	return o
}

// jwks is a key set.
func jwks(keys ...object) string {
	return string(marshal(object{"keys": keys}))
}

// writeJWKS puts a key set into a file and returns its path.
func writeJWKS(tb testing.TB, document string) string {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), "jwks.json")
	if err := os.WriteFile(path, []byte(document), 0o600); err != nil {
		tb.Fatal(err)
	}
	return path
}

func sha256Hex(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

// full accepts everything that can be accepted.
func full(tb testing.TB) auth.Config {
	tb.Helper()
	return auth.Config{
		JWT: config.JWT{
			HS256Secret: config.NewSecret(secret), JWKSFile: writeJWKS(tb, jwks(jwk("old", &oldKey().PublicKey))),
			JWKSRefresh: time.Hour,
			Audiences:   []string{"lms-key", audience}, Issuers: []string{"https://other.example.org", issuer},
			ServiceUser: serviceUser, MaxLifetime: 24 * time.Hour,
			Rate: 2, Burst: 4,
		},
		Tokens: []config.Token{
			{
				Name: "other", SHA256: sha256Hex("x" + staticToken), Rights: []string{"enqueue", "read", "requeue"}, Rate: 1,
				Burst: 1,
			},
			{
				Name: "portal", SHA256: sha256Hex(staticToken), Rights: []string{"enqueue", "read"},
				Rate: 1, Burst: 2,
			},
		},
		Now: func() time.Time { return now },
	}
}

func newAuthenticator(tb testing.TB, cfg auth.Config) *auth.Authenticator {
	tb.Helper()
	a, err := auth.New(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	return a
}

// request is one with these Authorization headers.
func request(tb testing.TB, authorizations ...string) *http.Request {
	tb.Helper()
	r, err := http.NewRequestWithContext(tb.Context(), http.MethodPost, "http://certpurge/v1/requests", http.NoBody)
	if err != nil {
		tb.Fatal(err)
	}
	for _, a := range authorizations {
		r.Header.Add("Authorization", a)
	}
	return r
}

// codeOf returns the code of a refusal, and "" where there is none.
func codeOf(tb testing.TB, err error) auth.Code {
	tb.Helper()
	if err == nil {
		return ""
	}
	e, ok := errors.AsType[*auth.Error](err)
	if !ok {
		tb.Fatalf("got an error of type %T: %v, want *auth.Error", err, err)
	}
	return e.Code
}

// assertCode authenticates a request with that header.
func assertCode(tb testing.TB, a *auth.Authenticator, authorization string, want auth.Code) {
	tb.Helper()
	caller, err := a.Authenticate(request(tb, authorization))
	if got := codeOf(tb, err); got != want {
		tb.Errorf("got %q, want %q", got, want)
	}
	if (err == nil) != (caller != auth.Caller{}) {
		tb.Errorf("got caller %+v with error %v", caller, err)
	}
}

// assertTellsNothing looks for pieces of the credentials in all that an error says.
func assertTellsNothing(tb testing.TB, err error, credentials ...string) {
	tb.Helper()
	e, ok := errors.AsType[*auth.Error](err)
	if !ok {
		return
	}
	said := fmt.Sprintf("%v %+v %#v %s %s", err, err, err, e.Challenge(), e.Sentence())
	for _, c := range credentials {
		for _, piece := range strings.FieldsFunc(c, func(r rune) bool { return r == ' ' || r == '.' }) {
			if len(piece) >= 8 && strings.Contains(said, piece) {
				tb.Errorf("got %s, which holds %q", said, piece)
			}
		}
	}
}
