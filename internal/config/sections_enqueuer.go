package config

import "time"

// Serve is the HTTP server of "enqueuer serve": the face for the retirement driver and the native one.
type Serve struct {
	// Listen is the address of the server as host:port; :8080 means all interfaces.
	Listen string `yaml:"listen" validate:"required,listen_address"`

	// PathPrefix stands before every path, such as /certpurge, where a proxy in front passes it on. Empty for none.
	PathPrefix string `yaml:"path_prefix" validate:"path_prefix"`

	// TLSCertificateFile and tls_key_file switch TLS on: a certificate with its chain, and its key, in PEM. They are read
	// again when they change. Set both or neither; without TLS, keep the server behind a proxy that has it: tokens travel
	// in the clear.
	TLSCertificateFile string `yaml:"tls_certificate_file"`

	// TLSKeyFile belongs to tls_certificate_file.
	TLSKeyFile string `yaml:"tls_key_file"`

	// Hold is how long an answer to the retirement driver may wait for the purge to end; then it is 503, and the driver
	// asks again. It must be shorter than the time-outs of all proxies in between: one that gives up answers 504, which
	// the driver asks again only once before it gives up on the learner. Most purges take less than a second.
	Hold time.Duration `yaml:"hold" validate:"between=0s 5m"`

	// MaxHeld is how many answers to the driver may wait at the same time; those beyond are answered 503 at once. A caller
	// may take a place as long as more are free than it has: alone it gets half of them, and of two that take all they can
	// get, each gets a third. So no caller can take the last place of another.
	MaxHeld int `yaml:"max_held" validate:"between=1 100000"`

	// KeepKeys is how long an idempotency key of a caller is remembered: within it, the same call again is a replay. Older
	// ones are forgotten, so that the ledger does not grow with each key; the requests that they made stay.
	KeepKeys time.Duration `yaml:"keep_keys" validate:"between=24h 8760h"`

	// MaxBody is the largest body of a request in bytes. 10,000 ids as NDJSON are 210,000 bytes.
	MaxBody int `yaml:"max_body" validate:"between=1024 16777216"`

	// ReadTimeout is how long a client may take to send a request. A shorter one frees the connections of slow attackers
	// earlier, and cuts off honest clients behind bad lines.
	ReadTimeout time.Duration `yaml:"read_timeout" validate:"between=1s 5m"`

	// DrainTimeout is how long requests in hand may go on when the server is told to stop. Answers that are held back for
	// the driver do not wait for it: they are 503 at once. It must be less than the grace period of whatever stops the
	// process.
	DrainTimeout time.Duration `yaml:"drain_timeout" validate:"between=1s 10m"`
}

// Watch says how the command enqueuer watch looks for users who have become eligible, and how many it asks for.
type Watch struct {
	// Interval is the time between two rounds; each is lengthened or shortened by up to a tenth, so that the rounds of
	// many programs do not fall together. A round reads all retirement requests, but no whole table of certificates.
	Interval time.Duration `yaml:"interval" validate:"between=10s 24h"`

	// CoolOffDays is how many days must have passed since a user asked for retirement: days of 24 hours, counted from the
	// creation of the retirement status row, or, where that is cleaned up, of the request. The pipeline has a cool-off of
	// its own, after which it moves users out of PENDING; this one protects users whom somebody moves out of it earlier.
	CoolOffDays int `yaml:"cool_off_days" validate:"between=0 3650"`

	// MaxUsersPerRound is the number of users that one round asks for at most; the next one goes on behind the last of
	// them. It bounds what a mistake in the LMS, such as a mass retirement, can set going before somebody sees it.
	MaxUsersPerRound int `yaml:"max_users_per_round" validate:"between=1 1000000"`

	// HighWater is the number of waiting tasks in the queue purge above which nobody is asked for: users wait in the LMS
	// as well as in Redis, and requests that people make do not stand behind them.
	HighWater int `yaml:"high_water" validate:"between=100 1000000"`

	// AskAgainAfter is how long after the end of a request a user may be asked for again: one who was refused and is
	// eligible now, or one who was done and has references again. Users whose request failed are never asked for again;
	// that is up to an operator (enqueuer requeue). Should worker and enqueuer disagree on lms.excluded_states or
	// lms.clear_history, users are asked for in vain at this pace.
	AskAgainAfter time.Duration `yaml:"ask_again_after" validate:"between=1m 8760h"`
}
