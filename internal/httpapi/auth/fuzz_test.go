package auth_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/certpurge/certpurge/internal/httpapi/auth"
)

// FuzzToken changes credentials that are right. Whatever is let in must be one of those that were signed here, byte for
// byte: there must be no second text for the same token. Nothing may panic, and no refusal may repeat what was sent.
func FuzzToken(f *testing.F) {
	c := &clock{}
	cfg := full(f)
	cfg.JWT.JWKSFile = writeJWKS(f, jwks(jwk("old", &oldKey().PublicKey), jwk("next", &nextKey().PublicKey)))
	cfg.Now = c.now
	cfg.JWT.MaxLifetime = 2e9 * time.Second
	a := newAuthenticator(f, cfg)
	lasting := goodClaims(object{"exp": now.Unix() + 1e9}) // A second passes with each try.
	signed := map[string]bool{}
	// The keys are new in each process, so the corpus holds no token that is right for good: changes are made to those of
	// this process, which the fuzzer picks.
	var good []string
	for _, token := range []string{
		hs256([]byte(secret), nil, lasting),
		hs256([]byte(secret), object{"kid": "x"}, goodClaims(lasting, object{"aud": []string{audience}})),
		hs256([]byte(secret), nil, goodClaims(lasting, object{"superuser": true, "preferred_username": "a"})),
		rs256(oldKey(), object{"kid": "old"}, lasting),
		rs512(nextKey(), object{"kid": "next"}, lasting),
		rs256(nextKey(), nil, lasting),
		staticToken,
	} {
		signed[token] = true
		good = append(good, token)
		assertCode(f, a, "Bearer "+token, "")
	}
	// Signed here as well, but not to be let in whatever is done to them.
	good = append(good,
		hs256([]byte(secret), nil, goodClaims(object{"preferred_username": "learner"})),
		hs256([]byte(secret), nil, goodClaims(object{"exp": 1})),
		hs256([]byte(secret), object{"alg": "none"}, goodClaims()),
		hs256(oldKey().N.Bytes(), nil, goodClaims()),
		"x"+staticToken[:30],
	)
	for pick := range good {
		f.Add(pick, 0, 0, "", "JWT ")
		f.Add(pick, len(good[pick]), 0, "=", "Bearer ")
		f.Add(pick, len(good[pick])-1, 1, "A", "jwt ")
		f.Add(pick, strings.IndexByte(good[pick], '.')+1, 1, "f", "JWT ")
		f.Add(pick, 0, len(good[pick]), "eyJhbGciOiJub25lIn0.e30.", "Bearer  ")
	}
	for _, header := range []string{
		`{"alg":"HS256"}`, `{"alg":"none"}`, `{"alg":"RS256","kid":"old"}`,
		`{"alg":"RS256","b64":false}`,
	} {
		f.Add(0, 0, strings.IndexByte(good[0], '.'), part([]byte(header)), "JWT ")
	}
	f.Fuzz(func(t *testing.T, pick, at, cut int, insert, scheme string) {
		token := good[uint(pick)%uint(len(good))]
		at = int(uint(at) % uint(len(token)+1))
		end := at + int(uint(cut)%uint(len(token)-at+1))
		token = token[:at] + insert + token[end:]
		header := scheme + token
		r := &http.Request{Header: http.Header{"Authorization": {header}}}
		caller, err := a.Authenticate(r.WithContext(t.Context()))
		_, sent, _ := strings.Cut(header, " ")
		sent = strings.TrimLeft(sent, " ")
		switch {
		case err == nil && !signed[sent]:
			t.Fatalf("got %+v for %q, which was not signed with the key", caller, header)
		case err == nil && caller.Name != serviceUser && caller.Name != "superuser" && caller.Name != "portal":
			t.Fatalf("got %+v", caller)
		case err != nil:
			assertFixed(t, err)
		}
		c.pass(time.Second)
	})
}

// assertFixed makes sure that a refusal is one of those that there are, with nothing of the request in it.
func assertFixed(t *testing.T, err error) {
	t.Helper()
	code := codeOf(t, err)
	if _, known := statuses[code]; !known || err.Error() != (&auth.Error{Code: code}).Error() {
		t.Errorf("got %v, want one of the fixed refusals", err)
	}
}

// FuzzJWT signs whatever header and claims the fuzzer makes up. Only claims that say all that is requested may be let
// in.
func FuzzJWT(f *testing.F) {
	cfg := full(f)
	a := newAuthenticator(f, cfg)
	f.Add([]byte(`{"alg":"HS256"}`), []byte(claimsText()))
	f.Add([]byte(`{"alg":"HS256","typ":"JWT","kid":"a"}`),
		marshal(goodClaims(object{"superuser": true, "preferred_username": nil})))
	f.Add([]byte(`{"alg":"none"}`), []byte(claimsText()))
	f.Add([]byte(`{"alg":"HS256","crit":["b64"],"b64":false}`), []byte(claimsText()))
	f.Add([]byte(`{"alg":"RS256","kid":"old"}`), []byte(`{"exp":1e999,"iat":null,"aud":[[]],"iss":1}`))
	f.Fuzz(func(t *testing.T, header, claims []byte) {
		_, err := a.Authenticate(request(t, "JWT "+sign([]byte(secret), part(header)+"."+part(claims))))
		if err != nil {
			assertFixed(t, err)
			return
		}
		var h, c object
		if json.Unmarshal(header, &h) != nil || json.Unmarshal(claims, &c) != nil {
			t.Fatalf("let in with %q and %q, which are no JSON", header, claims)
		}
		if h["alg"] != "HS256" || h["crit"] != nil || h["b64"] != nil {
			t.Errorf("let in with the header %q", header)
		}
		at, most := float64(now.Unix()), 31.0 // Fractions of a second are cut off.
		exp, hasExp := c["exp"].(float64)
		iat, hasIat := c["iat"].(float64)
		nbf, _ := c["nbf"].(float64)
		if !hasExp || !hasIat || exp < at-most || iat > at+most || nbf > at+most {
			t.Errorf("let in with the times of %q", claims)
		}
		if !slices.Contains(cfg.JWT.Issuers, fmt.Sprint(c["iss"])) ||
			!slices.ContainsFunc(cfg.JWT.Audiences, func(audience string) bool {
				list, _ := c["aud"].([]any)
				return c["aud"] == audience || slices.Contains(list, any(audience))
			}) {
			t.Errorf("let in with issuer and audience of %q", claims)
		}
		if c["preferred_username"] != serviceUser && c["superuser"] != true {
			t.Errorf("let in with the user of %q", claims)
		}
	})
}
