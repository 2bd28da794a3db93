package demo

import (
	"bytes"
	"fmt"
	"net"
	"text/template"

	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/sandbox/demo/dataset"
)

// The configuration files. Secrets are not in them: the DSN and the Redis URL go through the environment.
const (
	workerFile   = "worker.yaml"
	enqueuerFile = "enqueuer.yaml"
)

var settings = template.Must(template.New("").Parse(`
{{define "enqueuer.yaml"}}# The demo's enqueuer. CERTPURGE_MYSQL_DSN and CERTPURGE_REDIS_URL come from the environment.
log:
  level: info
  format: json
lms:
  database: {{.LMS}}
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
{{- end}}
gcs: # never like this in production
  endpoint: {{.Endpoint}}
  anonymous: true
  allow_emulator: true
health:
  listen: {{.Health}}
{{end}}`))

// writeSettings writes both files.
func (h *house) writeSettings() error {
	data := struct {
		LMS, Endpoint, Health string
		Locations             []purge.Location
	}{lmsDatabase, h.storageURL, net.JoinHostPort("127.0.0.1", "0"), dataset.Locations()}
	for _, name := range []string{workerFile, enqueuerFile} {
		var text bytes.Buffer
		if err := settings.ExecuteTemplate(&text, name, data); err != nil {
			return fmt.Errorf("writing %s: %w", name, err)
		}
		if err := h.write(name, text.Bytes()); err != nil {
			return err
		}
	}
	return nil
}
