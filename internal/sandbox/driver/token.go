package driver

import (
	"fmt"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// LMS issues tokens as the LMS does for the driver's client credentials.
type LMS struct {
	Secret   []byte // JWT_SECRET_KEY
	Issuer   string
	Audience string
}

// Token is what the driver would get for a user at this moment. It expires after an hour, as by default.
func (l LMS) Token(user string, now time.Time) (string, error) {
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.HS256, Key: l.Secret},
		(&jose.SignerOptions{}).WithType("JWT"))
	if err != nil {
		return "", fmt.Errorf("signing a token: %w", err)
	}
	token, err := jwt.Signed(signer).Claims(map[string]any{
		"aud": l.Audience, "iss": l.Issuer, "iat": now.Unix(), "exp": now.Add(time.Hour).Unix(),
		"grant_type":         "client-credentials",
		"preferred_username": user, "scopes": []string{"read", "write", "email", "profile"}, "version": "1.2.0", "sub": "0",
		"filters": []string{"user:me"}, "is_restricted": false, "email_verified": true, "administrator": false,
		"superuser": false,
	}).Serialize()
	if err != nil {
		return "", fmt.Errorf("signing a token: %w", err)
	}
	return token, nil
}
