package auth_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/certpurge/certpurge/internal/config"
	"github.com/certpurge/certpurge/internal/httpapi/auth"
)

// lms is a server that answers with a key set, or with whatever is put in its place.
type lms struct {
	*httptest.Server

	answer  atomic.Pointer[http.HandlerFunc]
	fetches atomic.Int64
}

func newLMS(tb testing.TB) *lms {
	tb.Helper()
	s := &lms{}
	s.publish(jwk("old", &oldKey().PublicKey))
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.fetches.Add(1)
		(*s.answer.Load())(w, r)
	}))
	tb.Cleanup(s.Close)
	return s
}

func (s *lms) answerWith(h http.HandlerFunc) { s.answer.Store(&h) }

func (s *lms) publish(keys ...object) { s.answerWith(text(jwks(keys...))) }

// text answers 200 with a document.
func text(document string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, document) }
}

func status(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(code)
		_, _ = io.WriteString(w, jwks(jwk("next", &nextKey().PublicKey)))
	}
}

// clock is a time that tests move.
type clock struct{ passed atomic.Int64 }

func (c *clock) now() time.Time       { return now.Add(time.Duration(c.passed.Load())) }
func (c *clock) pass(d time.Duration) { c.passed.Add(int64(d)) }

// fromURL accepts tokens of the key set at a URL, and no others.
func fromURL(tb testing.TB, address string, c *clock) auth.Config {
	tb.Helper()
	cfg := full(tb)
	cfg.Tokens, cfg.JWT.HS256Secret, cfg.JWT.JWKSFile, cfg.JWT.JWKSURL = nil, config.Secret{}, "", address
	cfg.Now = c.now
	return cfg
}

func oldToken() string    { return "JWT " + rs256(oldKey(), object{"kid": "old"}, goodClaims()) }
func nextToken() string   { return "JWT " + rs512(nextKey(), object{"kid": "next"}, goodClaims()) }
func bareToken() string   { return "JWT " + rs256(nextKey(), nil, goodClaims()) }
func reusedToken() string { return "JWT " + rs256(nextKey(), object{"kid": "old"}, goodClaims()) }

func TestNewKeyIsFetchedWhenATokenNamesIt(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		token string
		keys  []object
		old   auth.Code // what becomes of the old key's token
	}{
		"added":             {nextToken(), []object{jwk("old", &oldKey().PublicKey), jwk("next", &nextKey().PublicKey)}, ""},
		"in place":          {nextToken(), []object{jwk("next", &nextKey().PublicKey)}, auth.KeyUnknown},
		"without an id":     {bareToken(), []object{jwk("next", &nextKey().PublicKey)}, auth.KeyUnknown},
		"under the same id": {reusedToken(), []object{jwk("old", &nextKey().PublicKey)}, auth.SignatureInvalid},
		"id used for both": {
			reusedToken(),
			[]object{jwk("old", &oldKey().PublicKey), jwk("old", &nextKey().PublicKey)},
			"",
		},
		"key without any id": {bareToken(), []object{jwk("", &nextKey().PublicKey, object{"kid": nil})}, auth.KeyUnknown},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, c := newLMS(t), &clock{}
			a := newAuthenticator(t, fromURL(t, s.URL, c))
			assertCode(t, a, oldToken(), "") // Fetches the set: nothing else has.
			s.publish(test.keys...)
			for range 100 {
				assertCode(t, a, test.token, auth.KeysUnavailable) // A 401 would be final for the driver.
			}
			if got := s.fetches.Load(); got != 1 {
				t.Errorf("got %d fetches within a minute, want 1", got)
			}
			c.pass(time.Minute)
			assertCode(t, a, test.token, "")
			if got := s.fetches.Load(); got != 2 {
				t.Errorf("got %d fetches, want a second one for the new key", got)
			}
			c.pass(time.Minute)
			assertCode(t, a, oldToken(), test.old)
		})
	}
}

// A token with an unknown key, sent just before the LMS changes its key, must not cost the driver its learners; and a
// flood of them must not have the LMS asked more than once a minute.
func TestJunkBeforeARotationRefusesNoToken(t *testing.T) {
	t.Parallel()
	for name, junk := range map[string]string{
		"unknown id":                  "JWT " + rs256(newKey(), object{"kid": "junk"}, goodClaims()),
		"known id, another signature": "JWT " + rs256(newKey(), object{"kid": "old"}, goodClaims()),
		"no id":                       "JWT " + rs256(newKey(), nil, goodClaims()),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, c := newLMS(t), &clock{}
			a := newAuthenticator(t, fromURL(t, s.URL, c))
			assertCode(t, a, oldToken(), "")
			c.pass(time.Minute)
			if caller, err := a.Authenticate(request(t, junk)); codeOf(t, err) != auth.KeyUnknown &&
				codeOf(t, err) != auth.SignatureInvalid || caller != (auth.Caller{}) {
				t.Errorf("the set that was fetched for it has no such key: got %v, want 401", err)
			}
			s.publish(jwk("next", &nextKey().PublicKey))
			for range 59 {
				assertCode(t, a, junk, auth.KeysUnavailable)
				assertCode(t, a, nextToken(), auth.KeysUnavailable)
				assertCode(t, a, bareToken(), auth.KeysUnavailable)
				c.pass(time.Second)
			}
			_, err := a.Authenticate(request(t, nextToken()))
			if e, ok := errors.AsType[*auth.Error](err); !ok || e.After != time.Second || e.Challenge() != "" {
				t.Errorf("got %+v, want the second that is left", err)
			}
			c.pass(time.Second)
			assertCode(t, a, nextToken(), "")
			if got := s.fetches.Load(); got != 3 {
				t.Errorf("got %d fetches within two minutes, want 3", got)
			}
		})
	}
}

// A fetch that began before the token came may have met the key set of before the rotation.
func TestAFetchUnderWayTellsNothingAgainstAToken(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		w := &wire{answer: func(*http.Request) (string, error) {
			<-release
			return jwks(jwk("old", &oldKey().PublicKey)), nil
		}}
		a := inBubble(t, w, nil)
		codes := make(chan auth.Code, 2)
		for range 2 {
			go func() {
				_, err := a.Authenticate(request(t, nextToken()))
				codes <- codeOf(t, err)
			}()
			synctest.Wait()
		}
		close(release)
		got := []auth.Code{<-codes, <-codes}
		slices.Sort(got)
		if !slices.Equal(got, []auth.Code{auth.KeyUnknown, auth.KeysUnavailable}) {
			t.Errorf("got %q, want 401 only for the token that the fetch was begun for", got)
		}
	})
}

func TestTokensOfKnownKeysFetchNothing(t *testing.T) {
	t.Parallel()
	s, c := newLMS(t), &clock{}
	a := newAuthenticator(t, fromURL(t, s.URL, c))
	for _, authorization := range []string{
		oldToken(), "JWT " + rs256(oldKey(), object{"kid": "old"}, goodClaims(object{"exp": 1})),
		"JWT " + hs256(nil, nil, goodClaims()), "JWT x.y.z",
	} {
		_, _ = a.Authenticate(request(t, authorization))
		c.pass(time.Minute)
	}
	if got := s.fetches.Load(); got != 1 {
		t.Errorf("got %d fetches, want the first one only", got)
	}
}

func TestOutageLeavesTheOldKeys(t *testing.T) {
	t.Parallel()
	big := jwk("big", &nextKey().PublicKey, object{"x": strings.Repeat("x", 256<<10)})
	many := make([]object, 17)
	for i := range many {
		many[i] = jwk("next", &nextKey().PublicKey)
	}
	for name, answer := range map[string]http.HandlerFunc{
		"500": status(http.StatusInternalServerError),
		"404": status(http.StatusNotFound),
		"204": status(http.StatusNoContent),
		"201": status(http.StatusCreated),
		"redirect": func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/elsewhere" {
				text(jwks(jwk("next", &nextKey().PublicKey)))(w, r)
				return
			}
			http.Redirect(w, r, "/elsewhere", http.StatusFound)
		},
		"connection":     func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"empty":          text(""),
		"HTML":           text("<html>Sign in</html>"),
		"another JSON":   text(`{"error":"maintenance"}`),
		"null":           text("null"),
		"list":           text("[]"),
		"no keys":        text(`{"keys":[]}`),
		"keys an object": text(`{"keys":{}}`),
		"keys twice":     text(`{"keys":[],` + jwks(jwk("next", &nextKey().PublicKey))[1:]),
		"cut off":        text(jwks(jwk("next", &nextKey().PublicKey))[:200]),
		"garbage after":  text(jwks(jwk("next", &nextKey().PublicKey)) + "x"),
		"too large":      text(jwks(big, jwk("next", &nextKey().PublicKey))),
		"too many":       text(jwks(many...)),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, c := newLMS(t), &clock{}
			var log lockedBuffer
			cfg := fromURL(t, s.URL, c)
			cfg.Log = slog.New(slog.NewTextHandler(&log, nil))
			a := newAuthenticator(t, cfg)
			assertCode(t, a, oldToken(), "")
			s.answerWith(answer)
			c.pass(time.Minute)
			assertCode(t, a, nextToken(), auth.KeysUnavailable) // It may well be right: only the driver would not ask again.
			assertCode(t, a, oldToken(), "")
			assertCode(t, a, reusedToken(), auth.KeysUnavailable)
			if err := a.Ready(); err != nil {
				t.Errorf("got %v, want an Authenticator with keys to be ready", err)
			}
			if got := log.String(); !strings.Contains(got, "fetching the key set failed") || strings.Contains(got, s.URL) {
				t.Errorf("logged %q, want the failure without the address", got)
			}
			s.publish(jwk("next", &nextKey().PublicKey))
			c.pass(time.Minute)
			assertCode(t, a, nextToken(), "")
		})
	}
}

// lockedBuffer takes the lines of goroutines.
type lockedBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

func TestLMSThatWasNeverReached(t *testing.T) {
	t.Parallel()
	s, c := newLMS(t), &clock{}
	s.answerWith(status(http.StatusBadGateway))
	a := newAuthenticator(t, fromURL(t, s.URL, c))
	if err := a.Ready(); err == nil {
		t.Error("got no error before the first fetch")
	}
	for _, token := range []string{oldToken(), bareToken()} {
		assertCode(t, a, token, auth.KeysUnavailable)
	}
	if err := a.Ready(); err == nil || !strings.Contains(err.Error(), "502") {
		t.Errorf("got %v, want what is wrong", err)
	}
	s.publish(jwk("old", &oldKey().PublicKey))
	c.pass(time.Minute)
	assertCode(t, a, oldToken(), "")
	if err := a.Ready(); err != nil {
		t.Error(err)
	}
}

func TestKeysThatMustNotBeUsed(t *testing.T) {
	t.Parallel()
	small, err := rsa.GenerateKey(rand.Reader, 1024) //nolint:gosec // Refusing it is the test.
	if err != nil {
		t.Fatal(err)
	}
	private := func(key *rsa.PrivateKey) object {
		number := func(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }
		return object{"d": number(key.D.Bytes()), "p": number(key.Primes[0].Bytes()), "q": number(key.Primes[1].Bytes())}
	}
	symmetric := object{"kty": "oct", "kid": "next", "k": base64.RawURLEncoding.EncodeToString([]byte(secret))}
	for name, test := range map[string]struct {
		key   object
		token string
		want  auth.Code
	}{
		"private key": {jwk("next", &nextKey().PublicKey, private(nextKey())), nextToken(), auth.KeyUnknown},
		"1024 bits": {
			jwk("next", &small.PublicKey), "JWT " + rs256(small, object{"kid": "next"}, goodClaims()),
			auth.KeyUnknown,
		},
		"for encryption": {jwk("next", &nextKey().PublicKey, object{"use": "enc"}), nextToken(), auth.KeyUnknown},
		"for PS256":      {jwk("next", &nextKey().PublicKey, object{"alg": "PS256"}), nextToken(), auth.KeyUnknown},
		"for RS256 only": {
			jwk("next", &nextKey().PublicKey, object{"alg": "RS256"}), nextToken(),
			auth.AlgorithmNotAllowed,
		},
		"symmetric": {
			symmetric, "JWT " + hs256([]byte(secret), object{"kid": "next"}, goodClaims()),
			auth.AlgorithmNotAllowed,
		},
		"symmetric for RS256": {symmetric, nextToken(), auth.KeyUnknown},
		"symmetric, said RSA": {
			jwk("next", &nextKey().PublicKey, object{"n": symmetric["k"]}), nextToken(),
			auth.KeyUnknown,
		},
		"even exponent": {jwk("next", &nextKey().PublicKey, object{"e": "Ag"}), nextToken(), auth.SignatureInvalid},
		"exponent 1":    {jwk("next", &nextKey().PublicKey, object{"e": "AQ"}), nextToken(), auth.KeyUnknown},
		"huge exponent": {
			jwk("next", &nextKey().PublicKey, object{"e": strings.Repeat("_", 40)}), nextToken(),
			auth.KeyUnknown,
		},
		"id of other case":  {jwk("NEXT", &nextKey().PublicKey), nextToken(), auth.KeyUnknown},
		"kty of other case": {jwk("next", &nextKey().PublicKey, object{"kty": "rsa"}), nextToken(), auth.KeyUnknown},
		"no modulus":        {jwk("next", &nextKey().PublicKey, object{"n": nil}), nextToken(), auth.KeyUnknown},
		"empty":             {object{}, nextToken(), auth.KeyUnknown},
		"certificate of others": {
			jwk("next", &nextKey().PublicKey, object{"x5c": []string{"AAAA"}}), nextToken(),
			auth.KeyUnknown,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, c := newLMS(t), &clock{}
			s.publish(test.key, jwk("old", &oldKey().PublicKey)) // It does not keep the others from being used.
			a := newAuthenticator(t, fromURL(t, s.URL, c))
			assertCode(t, a, oldToken(), "")
			c.pass(time.Minute)
			assertCode(t, a, test.token, test.want)
		})
	}
}

func TestKeySetFileIsReadAgain(t *testing.T) {
	t.Parallel()
	c := &clock{}
	cfg := full(t)
	cfg.Now = c.now
	a := newAuthenticator(t, cfg)
	assertCode(t, a, nextToken(), auth.KeyUnknown)
	if err := os.WriteFile(cfg.JWT.JWKSFile, []byte(jwks(jwk("next", &nextKey().PublicKey))), 0o600); err != nil {
		t.Fatal(err)
	}
	c.pass(time.Minute)
	assertCode(t, a, nextToken(), "")
	c.pass(time.Minute)
	assertCode(t, a, oldToken(), auth.KeyUnknown)
	if err := os.Remove(cfg.JWT.JWKSFile); err != nil {
		t.Fatal(err)
	}
	c.pass(time.Minute)
	assertCode(t, a, oldToken(), auth.KeysUnavailable)
	assertCode(t, a, nextToken(), "")
}

func TestUnusableKeySetFilesAreRefusedAtTheStart(t *testing.T) {
	t.Parallel()
	der, err := x509.MarshalPKIXPublicKey(&oldKey().PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	for name, document := range map[string]string{
		"empty": "", "no keys": `{"keys":[]}`, "one key, not a set": string(marshal(jwk("old", &oldKey().PublicKey))),
		"PEM": string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := full(t)
			cfg.JWT.JWKSFile = writeJWKS(t, document)
			if _, err := auth.New(cfg); err == nil || !strings.HasPrefix(err.Error(), "reading jwt.jwks_file: ") {
				t.Errorf("got %v, want the file to be refused", err)
			}
		})
	}
}

func TestRunWithoutAKeySetOnlyWaits(t *testing.T) {
	t.Parallel()
	cfg := full(t)
	cfg.JWT.JWKSFile = ""
	a := newAuthenticator(t, cfg)
	if err := a.Ready(); err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	a.Run(ctx)
}
