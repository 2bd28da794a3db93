package demo

import (
	"bytes"
	"fmt"
	"net"
	"text/template"

	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/sandbox/demo/dataset"
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
		LMSDatabase, h.StorageURL, net.JoinHostPort("127.0.0.1", "0"), h.Callers.lms.Audience, h.Callers.lms.Issuer,
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
