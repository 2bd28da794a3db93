package config

import "time"

// Serve is the HTTP server of "enqueuer serve", with the API for the retirement driver and the native one.
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
	// repeats its request. It must be shorter than the time-outs of all proxies in between: a proxy that times out answers
	// 504, after which the driver repeats its request only once before it gives up on the learner. Most purges take less
	// than a second.
	Hold time.Duration `yaml:"hold" validate:"between=0s 5m"`

	// MaxHeld is how many answers to the driver may wait at the same time; requests beyond it are answered 503 at once. A
	// caller gets a place only while more places are free than it holds: a single caller gets half of them, and each of
	// two busy callers gets a third. So no caller can take all places.
	MaxHeld int `yaml:"max_held" validate:"between=1 100000"`

	// KeepKeys is how long an idempotency key of a caller is remembered: within it, the same call again is a replay. Older
	// keys are deleted, so that the ledger does not grow with each key; the requests stay.
	KeepKeys time.Duration `yaml:"keep_keys" validate:"between=24h 8760h"`

	// MaxBody is the largest body of a request in bytes. 10,000 ids as NDJSON are 210,000 bytes.
	MaxBody int `yaml:"max_body" validate:"between=1024 16777216"`

	// ReadTimeout is how long a client may take to send a request. A shorter one frees the connections of slow attackers
	// earlier, and cuts off clients with a slow connection.
	ReadTimeout time.Duration `yaml:"read_timeout" validate:"between=1s 5m"`

	// DrainTimeout is how long requests in hand may continue when the server stops. Answers that are held back for
	// the driver do not wait for it: they are 503 at once. It must be less than the grace period of what stops the
	// process.
	DrainTimeout time.Duration `yaml:"drain_timeout" validate:"between=1s 10m"`
}

// Watch says how often enqueuer watch searches for users who have become eligible, and how many requests it submits.
type Watch struct {
	// Interval is the time between two rounds; each is lengthened or shortened by up to a tenth, so that the rounds of
	// many programs do not fall together. A round reads all retirement requests, but no whole table of certificates.
	Interval time.Duration `yaml:"interval" validate:"between=10s 24h"`

	// CoolOffDays is how many days must have passed since a user asked for retirement: days of 24 hours, counted from the
	// creation of the retirement status row, or of the request if that row was deleted. The pipeline has a cool-off of its
	// own, after which it moves users out of PENDING; this one protects users who are moved out of PENDING earlier by
	// hand.
	CoolOffDays int `yaml:"cool_off_days" validate:"between=0 3650"`

	// MaxUsersPerRound is the maximum number of users for whom one round submits requests; the next round continues after
	// the last of them. It limits the damage of a mistake in the LMS, such as a mass retirement, until an operator sees
	// it.
	MaxUsersPerRound int `yaml:"max_users_per_round" validate:"between=1 1000000"`

	// HighWater is the number of waiting tasks in the queue purge above which no request is submitted. So Redis stays
	// small, and requests of other callers do not wait behind those of the watcher.
	HighWater int `yaml:"high_water" validate:"between=100 1000000"`

	// AskAgainAfter is how long after the end of a request another one may be submitted for the same user: one who was
	// refused and is eligible now, or one who was done and has references again. Failed requests are never repeated; an
	// operator does that with enqueuer requeue. If worker and enqueuer have different lms.excluded_states or
	// lms.clear_history, useless requests are submitted at this interval.
	AskAgainAfter time.Duration `yaml:"ask_again_after" validate:"between=1m 8760h"`
}

// Certificates is the section evidence of the enqueuer, which makes no anchors.
type Certificates struct {
	// SigningKeyFile is what it is for the worker.
	SigningKeyFile string `yaml:"signing_key_file"`
}
