package config

import "time"

// Notify is the webhook: where "enqueuer serve" and "enqueuer watch" report that requests have ended and that the
// verdict of the overview has changed. integrations.md says what is sent. It is off until there is a URL.
type Notify struct {
	// URL is where events are sent, by POST: an https:// URL, or an http:// URL of this machine. Redirects are not
	// followed. Each event is signed, so put no password into it; the URL is no secret. The environment variable
	// HTTPS_PROXY is respected, as for all requests to other services.
	URL string `yaml:"url" validate:"omitempty,webhook_url"`

	// Secret signs the events as Standard Webhooks describes it: whsec_ and at least 24 random bytes in Base64. The
	// receiver needs the same. A person who has it can forge events. To replace it, write both with a blank between them,
	// the new one first, until the receiver knows the new one: each event then has a signature of each.
	Secret Secret `yaml:"secret" validate:"omitempty,webhook_secrets"`

	// SecretFile is a file that holds the secret instead, such as a mounted Kubernetes or Docker secret. It is read once,
	// at the start, and a newline at its end is dropped. Set either this or the secret, not both.
	SecretFile string `yaml:"secret_file"`

	// Events are the kinds of events that are sent: request.ended, for each request that is done, was refused, or has
	// failed; verdict.changed, when the verdict of the overview changes between ok, warn and bad.
	Events []string `yaml:"events" validate:"min=1,dive,oneof=request.ended verdict.changed"`

	// Source names this installation in each event: a URI, or the path of one. Set it if several installations have the
	// same receiver.
	Source string `yaml:"source" validate:"uri_reference"`

	// Timeout is how long the receiver may take to answer. One that works on an event for longer should answer first: an
	// event without an answer in time is sent again.
	Timeout time.Duration `yaml:"timeout" validate:"between=1s 1m"`

	// MaxAge is for how long an event is sent again until the receiver accepts it; then it is given up, and `enqueuer
	// doctor` says so. Requests that ended longer ago are not notified either, if no process ran meanwhile.
	MaxAge time.Duration `yaml:"max_age" validate:"between=24h 8760h"`

	// TLS is for receivers whose certificate the system does not trust, or that ask for one; see encryption.md.
	TLS TLS `yaml:"tls"`
}
