package config

import (
	"time"

	"github.com/certpurge/certpurge/internal/purge"
)

// Log says what is written to standard error, and in which format.
type Log struct {
	// Level is the least severe level that is written: debug, info, warn or error. At warn the log has no
	// summary line of finished tasks; the ledger has the evidence in any case.
	Level string `yaml:"level" validate:"oneof=debug info warn error"`

	// Format is json for log collectors, text for people, or auto: text on a terminal, json otherwise. Collectors that
	// parse json break on text, so set json where a terminal may be attached to a container.
	Format string `yaml:"format" validate:"oneof=auto json text"`
}

// MySQL is the one connection pool to the server that holds both the LMS tables and the ledger.
type MySQL struct {
	// DSN is the address of the server and names the ledger's own database, in the driver's form
	// user:password@tcp(host:3306)/certpurge or user:password@unix(/path/to/socket)/certpurge. The user needs the rights
	// of configs/mysql/grants.sql and should have no more: they are the last fence around the LMS tables.
	DSN Secret `yaml:"dsn" validate:"required,mysql_dsn"`

	// DSNFile is a file that holds the DSN instead, such as a mounted Kubernetes or Docker secret. It is read once, at the
	// start, and a newline at its end is dropped; a changed secret needs a restart. Set either this or the DSN, not both.
	DSNFile string `yaml:"dsn_file"`

	// MaxOpenConnections bounds the pool of one process. A purge holds a connection for short moments only, so fewer
	// connections than tasks are enough; too few make tasks wait for each other, too many processes times this number can
	// use up the connections of the server that the LMS itself lives on.
	MaxOpenConnections int `yaml:"max_open_connections" validate:"between=1 1000"`

	// ConnectTimeout bounds opening one connection. A longer one delays the report that the server is not reachable.
	ConnectTimeout time.Duration `yaml:"connect_timeout" validate:"between=1s 1m"`

	// QueryTimeout bounds each statement and transaction. Too short, and a busy server fails purges that would have gone
	// through (they are retried); too long, and one blocked row holds a task until the task's own timeout.
	// A wait for a row or a table that another connection has locked ends after half of it.
	QueryTimeout time.Duration `yaml:"query_timeout" validate:"between=1s 10m"`

	// Batch bounds how many attempts of one process share a transaction. Attempts that reach the same step at the same
	// time are written together, so that a busy worker costs the LMS's server less; none waits for others to come. More
	// than 16 gains little and keeps rows locked for longer. 1 writes each attempt by itself.
	Batch int `yaml:"batch" validate:"between=1 64"`

	// TLS encrypts the connections; see encryption.md. Without any of its keys, the DSN's own parameter tls decides.
	TLS TLS `yaml:"tls"`
}

// TLS says how connections to a server are encrypted. Each of its keys, set, switches encryption on.
type TLS struct {
	// CAFile is a file with the certificates, in PEM form, of the authorities that may have signed the server's
	// certificate. Empty means those that the system trusts. It is read once, at the start.
	CAFile string `yaml:"ca_file"`

	// CertificateFile is a file with the certificate, in PEM form, by which certpurge shows who it is, for servers that
	// ask for one. It goes together with key_file. Both are read again for each new connection, so a renewed one needs no
	// restart.
	CertificateFile string `yaml:"certificate_file"`

	// KeyFile is the file with the private key of certificate_file, in PEM form.
	KeyFile string `yaml:"key_file"`

	// ServerName is the name that the server's certificate must hold. Empty means the host that is connected to, of a
	// cluster or of Sentinel the host of each node. Set it where certificates hold another name than the one by which the
	// server is reached.
	ServerName string `yaml:"server_name"`
}

// LMS says where the Open edX tables are and who counts as retiring.
type LMS struct {
	// Database is the schema with the Open edX tables, on the server of mysql.dsn. It must be another one than the
	// ledger's: the ledger's migrations must never meet LMS tables.
	Database string `yaml:"database" validate:"database_name"`

	// ExcludedStates are the names of the retirement states in which a user is not touched although a retirement request
	// exists. PENDING must stay in the list, because a user in it can still cancel, and what was erased cannot be brought
	// back. A deployment with states of its own in which a retirement can be undone must add them.
	ExcludedStates []string `yaml:"excluded_states" validate:"contains_pending,dive,state_name"`

	// ClearHistory says whether the references in the history table of the certificates are cleared too. The files of a
	// regenerated certificate are known to the history only, and are erased either way; when this is false, their dead
	// links remain readable there.
	ClearHistory bool `yaml:"clear_history"`
}

// Policy returns the part of the policy that this section decides: who is retiring, and whether the history is cleared.
func (l LMS) Policy() purge.Policy {
	return purge.Policy{ExcludedStates: l.ExcludedStates, ClearHistory: l.ClearHistory}
}

// Redis is the server of the queue.
type Redis struct {
	// URL is the address of the server: redis://user:password@host:6379/0, rediss:// for TLS, unix:///path/to/socket,
	// redis+sentinel:// or redis+cluster:// (both also with rediss). The server must run with maxmemory-policy noeviction;
	// any other may drop tasks, which costs a second run of each. The worker and the enqueuer must name the same server
	// and database number, or the tasks of one are never seen by the other.
	URL Secret `yaml:"url" validate:"required,redis_url"`

	// URLFile is a file that holds the URL instead, such as a mounted Kubernetes or Docker secret. It is read once, at the
	// start, and a newline at its end is dropped. Set either this or the URL, not both.
	URLFile string `yaml:"url_file"`

	// Username is the ACL user of the Redis servers; empty for the default one. It can stand in the URL as well, but not
	// in both: in a URL of redis+sentinel:// as ?username=…, because what stands before its host belongs to Sentinel.
	Username string `yaml:"username"`

	// Password is the password of the Redis servers. It can stand in the URL as well, but not in both: in a URL of
	// redis+sentinel:// as ?password=….
	Password Secret `yaml:"password"`

	// PasswordFile is a file that holds the password instead, read like url_file.
	PasswordFile string `yaml:"password_file"`

	// SentinelUsername is the ACL user of the Sentinels, with redis+sentinel:// only. It can stand in the URL as well,
	// before the host, but not in both.
	SentinelUsername string `yaml:"sentinel_username"`

	// SentinelPassword is the password of the Sentinels (their requirepass), which need not be that of the Redis servers.
	// It can stand in the URL as well, before the host, but not in both.
	SentinelPassword Secret `yaml:"sentinel_password"`

	// SentinelPasswordFile is a file that holds the password of the Sentinels instead, read like url_file.
	SentinelPasswordFile string `yaml:"sentinel_password_file"`

	// TLS encrypts the connections; see encryption.md. It needs a URL that starts with rediss.
	TLS TLS `yaml:"tls"`
}

// Tasks are the properties a task is given when it is put into the queue. Give both binaries the same values.
type Tasks struct {
	// Timeout ends an attempt to purge one user; what is left is done by the next attempt. The queue stores whole seconds,
	// and would take less than one second for its own default of 30 minutes, so only whole seconds are accepted. Too
	// short, and users with very many certificates never come to an end.
	Timeout time.Duration `yaml:"timeout" validate:"whole_seconds=10s 1h"`

	// Retention is how long a finished task stays in Redis, visible in the dashboard and in the way of a second task for
	// the same user. The evidence is in the ledger, so this is a convenience that costs memory: 0.6 KiB a task, without a
	// limit.
	Retention time.Duration `yaml:"retention" validate:"whole_seconds=0s 24h"`
}

// Tracing says where traces go. Headers that a collector asks for, such as a key, are taken from the environment
// variable OTEL_EXPORTER_OTLP_HEADERS of OpenTelemetry.
type Tracing struct {
	// Endpoint is the URL of an OpenTelemetry collector that takes OTLP by HTTP, such as http://collector:4318/v1/traces;
	// the path belongs to it. Empty switches tracing off. A collector that is slow or away loses spans, and delays no
	// purge.
	Endpoint string `yaml:"endpoint" validate:"omitempty,endpoint_url"`

	// SampleRatio is the part of the traces that begin here and are kept, 0 to 1. Those that a caller began are kept if
	// the caller says so. A purge is some 15 spans, and one more for each request to Cloud Storage.
	SampleRatio float64 `yaml:"sample_ratio" validate:"between=0 1"`
}
