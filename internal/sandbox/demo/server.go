package demo

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/certpurge/certpurge/internal/sandbox/driver"
)

// serviceUser is whom the LMS signs the driver's tokens for.
const serviceUser = "retirement_service_worker"

// Callers are the credentials of everybody who may call a house's server. They are made for one house.
type Callers struct {
	lms   driver.LMS
	Token string // with all rights
}

func newCallers() Callers {
	return Callers{
		lms: driver.LMS{
			Secret: []byte(rand.Text() + rand.Text()), Issuer: "http://lms.example/oauth2",
			Audience: "openedx",
		},
		Token: rand.Text() + rand.Text(),
	}
}

// JWT is the driver's token, good for an hour from now.
func (c Callers) JWT(now time.Time) (string, error) { return c.lms.Token(serviceUser, now) }

// Environ is what the enqueuer needs to know beside its file to let the callers in.
func (c Callers) Environ() []string {
	return []string{"CERTPURGE_JWT_HS256_SECRET=" + string(c.lms.Secret)}
}

// tokenHash is what the configuration holds of the token.
func (c Callers) tokenHash() string {
	sum := sha256.Sum256([]byte(c.Token))
	return hex.EncodeToString(sum[:])
}

// startServer starts the HTTP server and returns its URL.
func (d *demo) startServer(ctx context.Context) (url string, err error) {
	d.server, err = d.start("server", d.Enqueuer, d.env.EnqueuerDSN, d.env.Callers.Environ(),
		"--config", d.env.Path(EnqueuerFile), "serve")
	if err != nil {
		return "", err
	}
	listens, err := address(ctx, d.server, "serving")
	if err != nil {
		return "", fmt.Errorf("waiting for the server: %w", err)
	}
	return "http://" + listens, nil
}
