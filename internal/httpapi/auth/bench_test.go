package auth_test

import (
	"fmt"
	"strconv"
	"testing"

	"github.com/certpurge/certpurge/internal/config"
	"github.com/certpurge/certpurge/internal/httpapi/auth"
)

// BenchmarkAuthenticate measures what each way in costs a request.
func BenchmarkAuthenticate(b *testing.B) {
	a := newAuthenticator(b, full(b))
	for name, authorization := range map[string]string{
		"HS256": "JWT " + hs256([]byte(secret), nil, goodClaims()),
		"RS256": "JWT " + rs256(oldKey(), object{"kid": "old"}, goodClaims()),
		"RS512": "JWT " + rs512(oldKey(), object{"kid": "old"}, goodClaims()),
		// What a caller without a token can make the server do.
		"forged RS256": "JWT " + rs256(nextKey(), object{"kid": "old"}, goodClaims()),
		"garbage":      "JWT x.y.z",
	} {
		b.Run(name, func(b *testing.B) {
			r := request(b, authorization)
			b.ReportAllocs()
			for b.Loop() {
				_, _ = a.Authenticate(r)
			}
		})
	}
}

// BenchmarkStaticToken measures the look-up among that many tokens, all of which are compared.
func BenchmarkStaticToken(b *testing.B) {
	for _, count := range []int{1, 10, 100, 1000} {
		b.Run(fmt.Sprintf("of %d", count), func(b *testing.B) {
			var cfg auth.Config
			for i := range count {
				cfg.Tokens = append(cfg.Tokens, config.Token{
					Name: strconv.Itoa(i), SHA256: sha256Hex(fmt.Sprint(staticToken, i)),
				})
			}
			a := newAuthenticator(b, cfg)
			r := request(b, fmt.Sprint("Bearer ", staticToken, 0))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := a.Authenticate(r); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
