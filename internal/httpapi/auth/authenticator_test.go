package auth_test

import (
	"crypto/x509"
	"encoding/pem"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/certpurge/certpurge/internal/config"
	"github.com/certpurge/certpurge/internal/httpapi/auth"
)

func TestGoodCredentialsAreLetIn(t *testing.T) {
	t.Parallel()
	a := newAuthenticator(t, full(t))
	service := auth.Caller{Name: serviceUser, Kind: auth.KindJWT, Rights: auth.All, RateKey: "jwt:" + serviceUser}
	superuser := auth.Caller{Name: "superuser", Kind: auth.KindJWT, Rights: auth.All, RateKey: "jwt:superuser"}
	ofClient := func(id string) auth.Caller {
		c := service
		c.Client = id
		return c
	}
	good := hs256([]byte(secret), nil, goodClaims())
	for name, test := range map[string]struct {
		authorization string
		want          auth.Caller
	}{
		"HS256, as the driver sends it": {"JWT " + good, service},
		"Bearer":                        {"Bearer " + good, service},
		"letter case of the scheme":     {"jwt " + good, service},
		"letter case of Bearer":         {"bEARER " + good, service},
		"two blanks":                    {"JWT  " + good, service},
		"RS256":                         {"JWT " + rs256(oldKey(), object{"kid": "old"}, goodClaims()), service},
		"RS512":                         {"JWT " + rs512(oldKey(), object{"kid": "old"}, goodClaims()), service},
		"RS512 without a key id":        {"JWT " + rs512(oldKey(), nil, goodClaims()), service},
		"HS256 with a key id":           {"JWT " + hs256([]byte(secret), object{"kid": "any"}, goodClaims()), service},
		"several audiences": {"JWT " + hs256([]byte(secret), nil,
			goodClaims(object{"aud": []string{"a", "lms-key"}})), service},
		"the other issuer": {"JWT " + hs256([]byte(secret), nil,
			goodClaims(object{"iss": "https://other.example.org"})), service},
		"superuser": {"JWT " + hs256([]byte(secret), nil,
			goodClaims(object{"preferred_username": "Ada", "superuser": true})), superuser},
		"superuser, more scopes": {"JWT " + hs256([]byte(secret), nil,
			goodClaims(object{
				"superuser": true, "preferred_username": "Ada",
				"scopes": []string{"email", "write", "read", "user_id"},
			})), superuser},
		"superuser of an older LMS": {"JWT " + hs256([]byte(secret), nil,
			goodClaims(object{"superuser": true, "preferred_username": "Ada", "is_restricted": nil})), superuser},
		"driver, restricted client": {"JWT " + rs512(oldKey(), nil,
			goodClaims(object{"is_restricted": true, "scopes": []string{"retirement"}})), service},
		"driver, no scopes": {"JWT " + rs512(oldKey(), nil, goodClaims(object{"scopes": nil})), service},
		"lifetime within the leeway": {"JWT " + hs256([]byte(secret), nil,
			goodClaims(object{"exp": now.Unix() + 86_400 + 30})), service},
		"client_id": {"JWT " + hs256([]byte(secret), nil,
			goodClaims(object{"client_id": "Retire-me_1.0", "azp": "x"})), ofClient("Retire-me_1.0")},
		"azp": {"JWT " + hs256([]byte(secret), nil,
			goodClaims(object{"azp": "x", "client_id": 1})), ofClient("x")},
		"client that is an address": {"JWT " + hs256([]byte(secret), nil,
			goodClaims(object{"client_id": "ada@example.org"})), service},
		"client with a line break": {
			"JWT " + hs256([]byte(secret), nil, goodClaims(object{"client_id": "a\nb"})),
			service,
		},
		"superuser without a name": {"JWT " + hs256([]byte(secret), nil,
			goodClaims(object{"preferred_username": nil, "superuser": true})), superuser},
		"service user, no superuser": {
			"JWT " + hs256([]byte(secret), nil, goodClaims(object{"superuser": false})),
			service,
		},
		"service user, odd superuser": {
			"JWT " + hs256([]byte(secret), nil, goodClaims(object{"superuser": "true"})),
			service,
		},
		"expired within the leeway": {
			"JWT " + hs256([]byte(secret), nil, goodClaims(object{"exp": now.Unix() - 29})),
			service,
		},
		"issued ahead within the leeway": {"JWT " + hs256([]byte(secret), nil,
			goodClaims(object{"iat": now.Unix() + 29, "nbf": now.Unix() + 29})), service},
		"times with a fraction": {
			"JWT " + hs256([]byte(secret), nil, goodClaims(object{"exp": float64(now.Unix()) + 7.5})),
			service,
		},
		"unknown header": {
			"JWT " + hs256([]byte(secret), object{"x": 1, "jku": "https://evil.example"}, goodClaims()),
			service,
		},
		"static token": {
			"Bearer " + staticToken,
			auth.Caller{
				Name: "portal", Kind: auth.KindToken, Rights: auth.Enqueue | auth.Read,
				RateKey: "token:portal",
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := a.Authenticate(request(t, test.authorization))
			if err != nil || got != test.want {
				t.Errorf("got %+v, %v, want %+v", got, err, test.want)
			}
		})
	}
}

// publicKeyForms are all the texts of a public key that could be used as a shared secret.
func publicKeyForms(t *testing.T) map[string][]byte {
	t.Helper()
	public := &oldKey().PublicKey
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	pkcs1 := x509.MarshalPKCS1PublicKey(public)
	text := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	return map[string][]byte{
		"PEM": text, "PEM without its last line break": text[:len(text)-1], "DER": der, "PKCS 1 DER": pkcs1,
		"PKCS 1 PEM": pem.EncodeToMemory(&pem.Block{Type: "RSA PUBLIC KEY", Bytes: pkcs1}),
		"modulus":    public.N.Bytes(), "key set": []byte(jwks(jwk("old", public))), "empty": {},
	}
}

func TestPublicKeyIsNoSecret(t *testing.T) {
	t.Parallel()
	both := full(t)
	only := full(t)
	only.JWT.HS256Secret = config.Secret{}
	withSecret, withoutSecret := newAuthenticator(t, both), newAuthenticator(t, only)
	for name, key := range publicKeyForms(t) {
		for _, id := range []object{nil, {"kid": "old"}, {"kid": nil}} {
			token := "JWT " + hs256(key, id, goodClaims())
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				assertCode(t, withSecret, token, auth.SignatureInvalid)
				assertCode(t, withoutSecret, token, auth.AlgorithmNotAllowed)
			})
		}
	}
}

// flip changes one character of a token's part to the one whose last bits differ, so that a lenient decoder reads the
// same bytes.
func flip(t *testing.T, token string, index int) string {
	t.Helper()
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	parts := strings.Split(token, ".")
	p := parts[index]
	if len(p)%4 == 0 {
		t.Fatalf("part %d has no bits left over", index)
	}
	last := strings.IndexByte(alphabet, p[len(p)-1])
	parts[index] = p[:len(p)-1] + string(alphabet[last^1])
	return strings.Join(parts, ".")
}

func TestBadCredentialsAreRefused(t *testing.T) {
	t.Parallel()
	cfg := full(t)
	good := hs256([]byte(secret), nil, goodClaims())
	parts := strings.Split(good, ".")
	with := func(changes object) []string {
		return []string{"JWT " + hs256([]byte(secret), nil, goodClaims(changes))}
	}
	withHeader := func(header object) []string { return []string{"JWT " + hs256([]byte(secret), header, goodClaims())} }
	raw := func(header, claims string) []string {
		return []string{"JWT " + hs256Raw(header, claims)}
	}
	for name, test := range map[string]struct {
		authorizations []string
		want           auth.Code
	}{
		"none":                   {nil, auth.CredentialsMissing},
		"empty":                  {[]string{""}, auth.SchemeUnknown},
		"two headers":            {[]string{"JWT " + good, "JWT " + good}, auth.CredentialsMalformed},
		"two headers, one empty": {[]string{"JWT " + good, ""}, auth.CredentialsMalformed},
		"two in one header":      {[]string{"JWT " + good + ", JWT " + good}, auth.CredentialsMalformed},
		"wrong scheme":           {[]string{"Token " + good}, auth.SchemeUnknown},
		"Basic":                  {[]string{"Basic dXNlcjpwYXNz"}, auth.SchemeUnknown},
		"scheme with a colon":    {[]string{"JWT: " + good}, auth.SchemeUnknown},
		"no scheme":              {[]string{good}, auth.SchemeUnknown},
		"no token":               {[]string{"JWT"}, auth.CredentialsMalformed},
		"only blanks":            {[]string{"JWT   "}, auth.CredentialsMalformed},
		"tab instead of a blank": {[]string{"JWT\t" + good}, auth.SchemeUnknown},
		"blank at the end":       {[]string{"JWT " + good + " "}, auth.CredentialsMalformed},
		"garbage after a blank":  {[]string{"JWT " + good + " x"}, auth.CredentialsMalformed},
		"quotes":                 {[]string{`JWT "` + good + `"`}, auth.CredentialsMalformed},
		"line break":             {[]string{"JWT " + good + "\n"}, auth.CredentialsMalformed},
		"line break in a part": {[]string{"JWT " + parts[0] + "." + parts[1][:8] + "\r\n" + parts[1][8:] + "." +
			parts[2]}, auth.CredentialsMalformed},
		"zero byte":                {[]string{"JWT " + good + "\x00"}, auth.CredentialsMalformed},
		"not ASCII":                {[]string{"JWT " + good + "é"}, auth.CredentialsMalformed},
		"static token as JWT":      {[]string{"JWT " + staticToken}, auth.TokenMalformed},
		"8 KiB of garbage":         {[]string{"Bearer " + strings.Repeat("x", 8<<10)}, auth.TokenUnknown},
		"more than 8 KiB":          {[]string{"Bearer " + strings.Repeat("x", 8<<10+1)}, auth.TokenTooLarge},
		"large but valid":          {with(object{"x": strings.Repeat("x", 7<<10)}), auth.TokenTooLarge},
		"unknown static token":     {[]string{"Bearer " + strings.ToUpper(staticToken)}, auth.TokenUnknown},
		"static token with more":   {[]string{"Bearer " + staticToken + "="}, auth.TokenUnknown},
		"static token with less":   {[]string{"Bearer " + staticToken[:43]}, auth.TokenUnknown},
		"short static token":       {[]string{"Bearer " + staticToken[:42]}, auth.TokenMalformed},
		"the hash of a token":      {[]string{"Bearer " + sha256Hex(staticToken)}, auth.TokenUnknown},
		"two parts":                {[]string{"JWT " + parts[0] + "." + parts[1]}, auth.TokenMalformed},
		"four parts":               {[]string{"JWT " + good + "." + parts[2]}, auth.TokenMalformed},
		"dot at the end":           {[]string{"JWT " + good + "."}, auth.TokenMalformed},
		"dot at the start":         {[]string{"JWT ." + good}, auth.TokenMalformed},
		"only dots":                {[]string{"JWT .."}, auth.TokenMalformed},
		"five parts, as if sealed": {[]string{"JWT " + good + ".a.b"}, auth.TokenMalformed},
		"padding at the end":       {[]string{"JWT " + good + "="}, auth.TokenMalformed},
		"padding of each part": {
			[]string{"JWT " + parts[0] + "=." + parts[1] + "==." + parts[2] + "="},
			auth.TokenMalformed,
		},
		"other bits left over": {[]string{"JWT " + flip(t, good, 2)}, auth.TokenMalformed},
		"standard base64": {
			[]string{"JWT " + parts[0] + "." + parts[1] + "." + parts[2][:42] + "+"},
			auth.TokenMalformed,
		},
		"one character more":    {[]string{"JWT " + good + "A"}, auth.SignatureInvalid},
		"three characters less": {[]string{"JWT " + good[:len(good)-3]}, auth.SignatureInvalid},
		"no signature":          {[]string{"JWT " + parts[0] + "." + parts[1] + "."}, auth.SignatureInvalid},
		"signature of another": {[]string{"JWT " + parts[0] + "." + parts[1] + "." +
			strings.Split(with(object{"x": 1})[0], ".")[2]}, auth.SignatureInvalid},
		"claims of another": {
			[]string{"JWT " + parts[0] + "." + part(goodClaims(object{"x": 1})) + "." + parts[2]},
			auth.SignatureInvalid,
		},
		"wrong secret": {
			[]string{"JWT " + hs256([]byte("x"+secret[1:]), nil, goodClaims())},
			auth.SignatureInvalid,
		},
		"alg none": {
			[]string{"JWT " + part(object{"alg": "none", "typ": "JWT"}) + "." + parts[1] + "."},
			auth.AlgorithmNotAllowed,
		},
		"alg none, signed": {withHeader(object{"alg": "none"}), auth.AlgorithmNotAllowed},
		"alg None":         {withHeader(object{"alg": "None"}), auth.AlgorithmNotAllowed},
		"alg hs256":        {withHeader(object{"alg": "hs256"}), auth.AlgorithmNotAllowed},
		"alg HS512":        {withHeader(object{"alg": "HS512"}), auth.AlgorithmNotAllowed},
		"alg HS256, NUL":   {withHeader(object{"alg": "HS256\x00"}), auth.AlgorithmNotAllowed},
		"alg PS256":        {withHeader(object{"alg": "PS256"}), auth.AlgorithmNotAllowed},
		"alg ES256":        {withHeader(object{"alg": "ES256"}), auth.AlgorithmNotAllowed},
		"alg missing":      {raw(`{"typ":"JWT"}`, claimsText()), auth.AlgorithmNotAllowed},
		"alg null":         {raw(`{"alg":null}`, claimsText()), auth.AlgorithmNotAllowed},
		"alg a list":       {raw(`{"alg":["HS256"]}`, claimsText()), auth.TokenMalformed},
		"alg twice":        {raw(`{"alg":"none","alg":"HS256"}`, claimsText()), auth.TokenMalformed},
		"ALG":              {raw(`{"ALG":"HS256"}`, claimsText()), auth.AlgorithmNotAllowed},
		"RS256 with a MAC": {withHeader(object{"alg": "RS256", "kid": "old"}), auth.SignatureInvalid},
		"RS256 with an odd length": {[]string{"JWT " + part(object{"alg": "RS256"}) + "." + parts[1] + "." +
			part([]byte("x"))}, auth.SignatureInvalid},
		"RS512 said, RS256 done": {
			[]string{"JWT " + swapAlgorithm(rs256(oldKey(), nil, goodClaims()), "RS512")},
			auth.SignatureInvalid,
		},
		"HS256 said, RS256 done": {
			[]string{"JWT " + swapAlgorithm(rs256(oldKey(), nil, goodClaims()), "HS256")},
			auth.SignatureInvalid,
		},
		"unknown key": {
			[]string{"JWT " + rs256(nextKey(), object{"kid": "next"}, goodClaims())},
			auth.KeyUnknown,
		},
		"unknown key, known id": {
			[]string{"JWT " + rs256(nextKey(), object{"kid": "old"}, goodClaims())},
			auth.SignatureInvalid,
		},
		"unknown key, no id": {[]string{"JWT " + rs256(nextKey(), nil, goodClaims())}, auth.SignatureInvalid},
		"known key, unknown id": {
			[]string{"JWT " + rs256(oldKey(), object{"kid": "OLD"}, goodClaims())},
			auth.KeyUnknown,
		},
		"empty key id":    {[]string{"JWT " + rs256(oldKey(), object{"kid": ""}, goodClaims())}, auth.KeyUnknown},
		"key id a number": {withHeader(object{"kid": 1}), auth.TokenMalformed},
		"key in the header": {[]string{"JWT " +
			rs256(nextKey(), object{"jwk": jwk("next", &nextKey().PublicKey)}, goodClaims())}, auth.SignatureInvalid},
		"critical header":           {withHeader(object{"crit": []string{"exp"}, "exp": 1}), auth.TokenMalformed},
		"critical and empty":        {withHeader(object{"crit": []string{}}), auth.TokenMalformed},
		"b64":                       {withHeader(object{"b64": false}), auth.TokenMalformed},
		"b64 critical":              {withHeader(object{"b64": false, "crit": []string{"b64"}}), auth.TokenMalformed},
		"header no object":          {raw(`"HS256"`, claimsText()), auth.TokenMalformed},
		"header with garbage after": {raw(`{"alg":"HS256"}{}`, claimsText()), auth.TokenMalformed},
		"header no JSON":            {raw(`HS256`, claimsText()), auth.TokenMalformed},
		"claims no object":          {raw(`{"alg":"HS256"}`, `"x"`), auth.TokenMalformed},
		"claims null":               {raw(`{"alg":"HS256"}`, `null`), auth.ClaimMissing},
		"claims no JSON":            {raw(`{"alg":"HS256"}`, `{"exp":`), auth.TokenMalformed},
		"claims empty":              {raw(`{"alg":"HS256"}`, ``), auth.TokenMalformed},
		"claim twice":               {raw(`{"alg":"HS256"}`, `{"exp":1,`+claimsText()[1:]), auth.TokenMalformed},
		"claims of other case":      {with(object{"exp": nil, "EXP": now.Unix() + 60}), auth.ClaimMissing},
		"deep claims":               {raw(`{"alg":"HS256"}`, strings.Repeat("[", 3000)), auth.TokenMalformed},
		"expired":                   {with(object{"exp": now.Unix() - 31}), auth.TokenExpired},
		"expired long ago":          {with(object{"exp": 1}), auth.TokenExpired},
		"exp missing":               {with(object{"exp": nil}), auth.ClaimMissing},
		"exp null": {
			raw(`{"alg":"HS256"}`, strings.Replace(claimsText(), `"exp":`, `"exp":null,"x":`, 1)),
			auth.ClaimMissing,
		},
		"exp a text":          {with(object{"exp": "1800003600"}), auth.TokenMalformed},
		"exp 0":               {with(object{"exp": 0}), auth.TokenExpired},
		"exp negative":        {with(object{"exp": -1}), auth.TokenMalformed},
		"exp in 10,000 years": {with(object{"exp": 400_000_000_000}), auth.TokenMalformed},
		"exp that overflows":  {with(object{"exp": 1e300}), auth.TokenMalformed},
		"exp that is infinite": {
			raw(`{"alg":"HS256"}`, strings.Replace(claimsText(), `"exp":`, `"exp":1e999,"x":`, 1)),
			auth.TokenMalformed,
		},
		"iat missing":            {with(object{"iat": nil}), auth.ClaimMissing},
		"iat in the future":      {with(object{"iat": now.Unix() + 31}), auth.TokenNotYetValid},
		"iat a text":             {with(object{"iat": "yesterday"}), auth.TokenMalformed},
		"nbf in the future":      {with(object{"nbf": now.Unix() + 31}), auth.TokenNotYetValid},
		"nbf a list":             {with(object{"nbf": []int{1}}), auth.TokenMalformed},
		"wrong audience":         {with(object{"aud": "discovery"}), auth.AudienceWrong},
		"audience of other case": {with(object{"aud": "OpenedX"}), auth.AudienceWrong},
		"wrong audiences":        {with(object{"aud": []string{"a", "b", ""}}), auth.AudienceWrong},
		"audience missing":       {with(object{"aud": nil}), auth.AudienceWrong},
		"no audiences":           {with(object{"aud": []string{}}), auth.AudienceWrong},
		"audience a number":      {with(object{"aud": 1}), auth.TokenMalformed},
		"audience with a number": {with(object{"aud": []any{audience, 1}}), auth.TokenMalformed},
		"wrong issuer":           {with(object{"iss": "https://evil.example/oauth2"}), auth.IssuerWrong},
		"issuer with a slash":    {with(object{"iss": issuer + "/"}), auth.IssuerWrong},
		"issuer missing":         {with(object{"iss": nil}), auth.IssuerWrong},
		"issuer a list":          {with(object{"iss": []string{issuer}}), auth.TokenMalformed},
		"another user":           {with(object{"preferred_username": "learner"}), auth.UserNotAllowed},
		"user of other case":     {with(object{"preferred_username": "Retirement_Service_Worker"}), auth.UserNotAllowed},
		"user with a blank":      {with(object{"preferred_username": serviceUser + " "}), auth.UserNotAllowed},
		"user missing":           {with(object{"preferred_username": nil}), auth.UserNotAllowed},
		"user in another claim": {
			with(object{"preferred_username": nil, "username": serviceUser, "sub": serviceUser}),
			auth.UserNotAllowed,
		},
		"user a list": {with(object{"preferred_username": []string{serviceUser}}), auth.TokenMalformed},
		"superuser a text": {
			with(object{"preferred_username": "learner", "superuser": "true"}),
			auth.UserNotAllowed,
		},
		"superuser 1": {with(object{"preferred_username": "learner", "superuser": 1}), auth.UserNotAllowed},
		"superuser a list": {
			with(object{"preferred_username": "learner", "superuser": []bool{true}}),
			auth.UserNotAllowed,
		},
		"lifetime too long": {with(object{"exp": now.Unix() + 86_400 + 31}), auth.LifetimeTooLong},
		"lifetime of years": {with(object{"exp": now.Unix() + 1e9, "iat": now.Unix() - 1e9}), auth.LifetimeTooLong},
		"superuser, restricted": {
			with(object{"preferred_username": "learner", "superuser": true, "is_restricted": true}),
			auth.TokenRestricted,
		},
		"superuser, odd restricted": {with(object{
			"preferred_username": "learner", "superuser": true,
			"is_restricted": "false",
		}), auth.TokenRestricted},
		"superuser, other scopes": {with(object{
			"preferred_username": "learner", "superuser": true,
			"scopes": []string{"grades:read", "profile"},
		}), auth.TokenRestricted},
		"superuser, may only read": {with(object{
			"preferred_username": "learner", "superuser": true,
			"scopes": []string{"read", "profile"},
		}), auth.TokenRestricted},
		"superuser, no scopes": {
			with(object{"preferred_username": "learner", "superuser": true, "scopes": nil}),
			auth.TokenRestricted,
		},
		"superuser, scopes a text": {
			with(object{"preferred_username": "learner", "superuser": true, "scopes": "read write"}),
			auth.TokenRestricted,
		},
		"superuser, odd scopes": {with(object{
			"preferred_username": "learner", "superuser": true,
			"scopes": []any{1, nil, object{"read": "write"}},
		}), auth.TokenRestricted},
		"administrator": {with(object{"preferred_username": "learner", "administrator": true}), auth.UserNotAllowed},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newAuthenticator(t, cfg) // of its own: after a fetch of the key set, the next one must wait
			caller, err := a.Authenticate(request(t, test.authorizations...))
			if got := codeOf(t, err); got != test.want || caller != (auth.Caller{}) {
				t.Errorf("got %+v, %v, want %q", caller, err, test.want)
			}
			assertTellsNothing(t, err, append(test.authorizations, "learner", serviceUser)...)
		})
	}
}

// hs256Raw signs a token of which header and claims are given as texts.
func hs256Raw(header, claims string) string {
	return sign([]byte(secret), part([]byte(header))+"."+part([]byte(claims)))
}

func claimsText() string { return string(marshal(goodClaims())) }

// swapAlgorithm changes what a token says of itself, and leaves its signature.
func swapAlgorithm(token, algorithm string) string {
	_, rest, _ := strings.Cut(token, ".")
	return part(object{"alg": algorithm, "typ": "JWT"}) + "." + rest
}

func TestOnlyWhatIsConfiguredIsAccepted(t *testing.T) {
	t.Parallel()
	hs, rs := "JWT "+hs256([]byte(secret), nil, goodClaims()), "JWT "+rs256(oldKey(), nil, goodClaims())
	static := "Bearer " + staticToken
	for name, test := range map[string]struct {
		change func(*auth.Config)
		want   map[string]auth.Code
	}{
		"no secret": {
			func(c *auth.Config) { c.JWT.HS256Secret = config.Secret{} },
			map[string]auth.Code{hs: auth.AlgorithmNotAllowed, rs: "", static: ""},
		},
		"no key set": {
			func(c *auth.Config) { c.JWT.JWKSFile = "" },
			map[string]auth.Code{hs: "", rs: auth.AlgorithmNotAllowed, static: ""},
		},
		"no JSON Web Token": {
			func(c *auth.Config) { c.JWT = config.JWT{} },
			map[string]auth.Code{hs: auth.TokenUnknown, rs: auth.TokenUnknown, static: ""},
		},
		"no static token": {
			func(c *auth.Config) { c.Tokens = nil },
			map[string]auth.Code{hs: "", rs: "", static: auth.TokenUnknown},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := full(t)
			test.change(&cfg)
			a := newAuthenticator(t, cfg)
			for authorization, want := range test.want {
				assertCode(t, a, authorization, want)
			}
		})
	}
}

func TestWeakConfigurationsAreRefused(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*auth.Config){
		"nothing":      func(c *auth.Config) { *c = auth.Config{} },
		"short secret": func(c *auth.Config) { c.JWT.HS256Secret = config.NewSecret(secret[:31]) },
		"shorter secret": func(c *auth.Config) {
			c.JWT.AcceptShortSecret, c.JWT.HS256Secret = true,
				config.NewSecret(secret[:15])
		},
		"public key as secret": func(c *auth.Config) {
			c.JWT.HS256Secret = config.NewSecret("-----BEGIN PUBLIC KEY-----" +
				secret)
		},
		"no audience":            func(c *auth.Config) { c.JWT.Audiences = nil },
		"empty audience":         func(c *auth.Config) { c.JWT.Audiences = []string{audience, ""} },
		"no issuer":              func(c *auth.Config) { c.JWT.Issuers = nil },
		"empty issuer":           func(c *auth.Config) { c.JWT.Issuers = []string{""} },
		"no service user":        func(c *auth.Config) { c.JWT.ServiceUser = "" },
		"no lifetime":            func(c *auth.Config) { c.JWT.MaxLifetime = 0 },
		"no refresh":             func(c *auth.Config) { c.JWT.JWKSRefresh = 0 },
		"hash of a wrong length": func(c *auth.Config) { c.Tokens[1].SHA256 = sha256Hex("a")[2:] },
		"hash that is none":      func(c *auth.Config) { c.Tokens[1].SHA256 = strings.Repeat("x", 64) },
		"right that is none":     func(c *auth.Config) { c.Tokens[1].Rights = []string{"erase"} },
		"missing key set":        func(c *auth.Config) { c.JWT.JWKSFile += "x" },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := full(t)
			change(&cfg)
			if _, err := auth.New(cfg); err == nil || strings.Contains(err.Error(), secret[:15]) {
				t.Errorf("got %v, want an error without the secret", err)
			}
		})
	}
}

func TestShortSecretOfTutorWorks(t *testing.T) {
	t.Parallel()
	cfg := full(t)
	short := "AbCdEfGhIjKlMnOpQrStUvWx"
	cfg.JWT.HS256Secret, cfg.JWT.AcceptShortSecret = config.NewSecret(short), true
	a := newAuthenticator(t, cfg)
	assertCode(t, a, "JWT "+hs256([]byte(short), nil, goodClaims()), "")
	assertCode(t, a, "JWT "+hs256([]byte(short[:23]), nil, goodClaims()), auth.SignatureInvalid)
}

func TestTimePassesForTokens(t *testing.T) {
	t.Parallel()
	cfg := full(t)
	clock := now
	cfg.Now = func() time.Time { return clock }
	a := newAuthenticator(t, cfg)
	token := "JWT " + rs256(oldKey(), nil, goodClaims())
	assertCode(t, a, token, "")
	clock = now.Add(time.Hour + 31*time.Second)
	assertCode(t, a, token, auth.TokenExpired)
}

func TestHeaderNamesHaveNoLetterCase(t *testing.T) {
	t.Parallel()
	a := newAuthenticator(t, full(t))
	r := request(t)
	r.Header = http.Header{}
	r.Header.Set("authorization", "Bearer "+staticToken)
	if _, err := a.Authenticate(r); err != nil {
		t.Errorf("got %v, want the token to be found", err)
	}
}
