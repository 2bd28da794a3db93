package demo

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net"
	"text/template"
	"time"

	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/sandbox/demo/dataset"
	"github.com/certpurge/certpurge/internal/sandbox/driver"
)

// The configuration files in the house's directory. Secrets are not in them: the DSN and the Redis URL go through the
// environment.
const (
	WorkerFile   = "worker.yaml"
	EnqueuerFile = "enqueuer.yaml"
)

var settings = template.Must(template.New("").Parse(`
{{define "enqueuer.yaml"}}# The demo's enqueuer. CERTPURGE_MYSQL_DSN and CERTPURGE_REDIS_URL come from the environment.
log:
  level: info
  format: json
lms:
  database: {{.LMS}}
serve:
  listen: {{.Anywhere}}
jwt: # the secret comes from the environment
  audiences: [{{.Audience}}]
  issuers: [{{.Issuer}}]
tokens:
  - name: demo
    sha256: {{.TokenHash}}
    rights: [enqueue, read, requeue]
    rate: 10000
    burst: 10000
admin:
  listen: {{.Anywhere}}
{{end}}
{{define "worker.yaml"}}# The demo's worker. CERTPURGE_MYSQL_DSN and CERTPURGE_REDIS_URL come from the environment.
log:
  level: info
  format: json
lms:
  database: {{.LMS}}
queue:
  concurrency: 50
  retry_base: 1s # a demo is short
  retry_cap: 10s
  drain_timeout: 10s
locations:
{{- range .Locations}}
  - name: {{.Name}}
    bucket: {{.Bucket}}
    object_prefix: {{printf "%q" .ObjectPrefix}}
    downloads_dir: {{.DownloadsDir}}
    verify_dir: {{.VerifyDir}}
    url_prefixes:
    {{- range .URLPrefixes}}
      - {{printf "%q" .}}
    {{- end}}
    signed: {{.Signed}}
    {{- range $kind, $accepted := .AcceptMissing}}
    missing_files: { {{- $kind}}: accept}
    {{- end}}
{{- end}}
external_prefixes:
{{- range .ExternalPrefixes}}
  - {{.}}
{{- end}}
gcs: # never like this in production
  endpoint: {{.Endpoint}}
  anonymous: true
  allow_emulator: true
  delete_rate: {start: 10000, ceiling: 10000} # the emulator bears more than a bucket
admin:
  listen: {{.Anywhere}}
{{end}}`))

// writeSettings writes both files.
func (h *Environment) writeSettings() error {
	data := struct {
		LMS, Endpoint, Anywhere, Audience, Issuer, TokenHash string
		Locations                                            []purge.Location
		ExternalPrefixes                                     []string
	}{
		h.LMS, h.StorageURL, net.JoinHostPort("127.0.0.1", "0"), h.Callers.lms.Audience, h.Callers.lms.Issuer,
		h.Callers.tokenHash(),
		dataset.Locations(), dataset.ExternalPrefixes(),
	}
	for _, name := range []string{WorkerFile, EnqueuerFile} {
		var text bytes.Buffer
		if err := settings.ExecuteTemplate(&text, name, data); err != nil {
			return fmt.Errorf("writing %s: %w", name, err)
		}
		if err := h.Write(name, text.Bytes()); err != nil {
			return err
		}
	}
	return nil
}

// serviceUser is whom the LMS signs the driver's tokens for.
const serviceUser = "retirement_service_worker"

// Callers are the credentials of all callers of an environment's server. They are made for one environment.
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
