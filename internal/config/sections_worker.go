package config

import "time"

// Queue says how the worker takes tasks and when it gives up on one.
type Queue struct {
	// Concurrency is the number of users purged at the same time by one process. The work is waiting for Cloud Storage, so
	// 50 to 100 are right on two cores; more tasks than gcs.max_in_flight can serve only wait for each other.
	Concurrency int `yaml:"concurrency" validate:"between=1 1000"`

	// Weights share the worker between the two queues.
	Weights Weights `yaml:"weights"`

	// MaxAttempts is the number of counted failures after which a request ends as failed with the reason gave_up, in sight
	// of the operator. Throttling, retention, a wrong configuration and an orderly shutdown are not counted. Too few, and
	// an outage of Cloud Storage fails requests that somebody must ask for again; their references stay in either case.
	MaxAttempts int `yaml:"max_attempts" validate:"between=1 100"`

	// RetryBase is the longest wait before the second attempt. It doubles with each failure; the actual wait is random
	// between zero and that, so that the retries of many users do not arrive together.
	RetryBase time.Duration `yaml:"retry_base" validate:"between=1s 10m"`

	// RetryCap is the longest wait before any attempt, and not less than retry_base. With the defaults a request
	// has been tried for about 8 hours, on average, when it is given up.
	RetryCap time.Duration `yaml:"retry_cap" validate:"between=1s 24h"`

	// MaxAge is how long a request may be open before a failure ends it as gave_up, also one that is not counted: without
	// a limit, a request that is throttled for ever would never be seen. Waiting for a retention date is not limited.
	MaxAge time.Duration `yaml:"max_age" validate:"between=1h 2160h"`
	// DrainTimeout is how long tasks in hand may go on when the worker is told to stop; then they go back to the queue
	// without losing an attempt. It must be less than tasks.timeout, and less than the grace period of whatever stops the
	// process (30 seconds in Kubernetes by default), or the process is killed and its tasks wait for their lease to run
	// out.
	DrainTimeout time.Duration `yaml:"drain_timeout" validate:"whole_seconds=1s 10m"`
}

// Reconciler says how the worker that leads keeps Redis in line with the ledger.
type Reconciler struct {
	// Interval is the time between two rounds. A longer one means that requests whose tasks were lost wait longer.
	Interval time.Duration `yaml:"interval" validate:"between=1s 1h"`
	// Grace is how long a request must have been left alone before a task is looked for. Below the time that accepting one
	// takes, tasks that are about to be queued are queued by both; that is harmless, but wasted.
	Grace time.Duration `yaml:"grace" validate:"between=1s 1h"`
	// Rate is the number of tasks put back in a second. After Redis has lost a backfill, it keeps the load on the
	// databases and on Redis even.
	Rate int `yaml:"rate" validate:"between=1 10000"`
	// HighWater is the number of waiting tasks above which none is put back: Redis stays small, and the rest follows.
	HighWater int `yaml:"high_water" validate:"between=100 1000000"`
}

// Weights are the shares of the two queues; only their ratio counts.
type Weights struct {
	// Purge is the share of single requests. A backfill of any length hardly delays them while this is the larger one.
	Purge int `yaml:"purge" validate:"between=1 100"`

	// Backfill is the share of bulk requests. It cannot be 0: a queue that is never looked at looks like a stuck one.
	Backfill int `yaml:"backfill" validate:"between=1 100"`
}

// Location says which bucket and which prefix hold the artifacts that a download_url points to. The list of locations
// is also the allow-list of buckets: the worker deletes nowhere else. A user with a reference outside of it fails as
// unrecognised_reference, and keeps the reference.
type Location struct {
	// Name is this location's name in error messages. It must be unique.
	Name string `yaml:"name" validate:"required,location_name"`

	// Bucket is the Cloud Storage bucket. It must exist and be readable at the start of the worker: a wrong one answers a
	// delete with "not found", which looks like success.
	Bucket string `yaml:"bucket" validate:"required,bucket_name"`

	// ObjectPrefix stands before the directories in the names of the objects. It is empty or ends with "/"; without the
	// slash, a listing would also find the objects of longer names.
	ObjectPrefix string `yaml:"object_prefix" validate:"object_prefix"`

	// DownloadsDir is the directory below the prefix with a directory of each download_uuid: the PDF.
	// With a wrong one, nothing is found, and so "proven" absent, while the files lie elsewhere.
	DownloadsDir string `yaml:"downloads_dir" validate:"directory"`

	// VerifyDir is the directory below the prefix with a directory of each verify_uuid: the signature and the two pages of
	// the verification. The same care is due as with downloads_dir.
	VerifyDir string `yaml:"verify_dir" validate:"directory"`

	// URLPrefixes are the beginnings of download URLs that mean this location, each ending with "/". gs://bucket/prefix,
	// https://storage.googleapis.com/bucket/prefix and https://bucket.storage.googleapis.com/prefix are recognised without
	// being listed. List the name of a CDN here, and the URLs of the S3 era whose files were moved to this bucket:
	// https://s3.amazonaws.com/OLD-BUCKET/, https://OLD-BUCKET.s3.amazonaws.com/ and //s3.amazonaws.com/OLD-BUCKET/. The
	// scheme may be left out (certs.example.org/), and so may the host, for links that are paths only (/). A bucket that
	// is named after a host needs no entry for it. A prefix may stand in one location only.
	URLPrefixes []string `yaml:"url_prefixes" validate:"dive,url_prefix"`

	// Signed says whether the site signed its certificates (CERT_KEY_ID was set), so that each with a verify_uuid had
	// files in the verification directory. With false they are erased where there are some, but a reference is cleared
	// without them.
	Signed bool `yaml:"signed"`

	// MissingFiles says what becomes of a reference whose directory is empty although nothing was ever erased there for
	// the user.
	MissingFiles MissingFiles `yaml:"missing_files"`

	// AllowEmpty says which directories may hold nothing at all when a worker starts: false for none, downloads,
	// verification, or true for both. An empty one is taken for a misspelt bucket, prefix or directory. Set it once the
	// last certificate of a location has been purged.
	AllowEmpty string `yaml:"allow_empty" validate:"oneof=false downloads verification true"`
}

// MissingFiles says, for each kind of directory, whether a reference is cleared although its files were never seen.
type MissingFiles struct {
	// Downloads is about the PDF. With refuse the request fails as files_missing and the reference is kept, because the
	// file may be somewhere else; with accept the reference is cleared, and the request ends as done: files_missing.
	// Accept only what you know to be gone: the link is the only thing that leads to the file. Single requests are
	// accepted with enqueuer requeue --accept-missing.
	Downloads string `yaml:"downloads" validate:"oneof=refuse accept"`

	// Verification is about the signature and the two verification pages. Accept it where the site signed in some years
	// only.
	Verification string `yaml:"verification" validate:"oneof=refuse accept"`
}

// GCS says how the worker talks to Cloud Storage.
type GCS struct {
	// AcceptSoftDelete says whether an object that Cloud Storage keeps recoverable after its deletion (soft delete, 7 days
	// by default in every new bucket) counts as erased, so that its reference is cleared. The outcome names the date until
	// which it can be restored either way. While this is false, the worker does not work on a bucket with soft delete at
	// all: switch it off on the bucket, or accept it here on purpose.
	AcceptSoftDelete bool `yaml:"accept_soft_delete"`

	// UserProject is the project billed for requests to requester-pays buckets; empty for all others.
	UserProject string `yaml:"user_project"`

	// CredentialsFile is the key file of a service account. Empty means the application default credentials, which is
	// right on Google's own machines and with workload identity.
	CredentialsFile string `yaml:"credentials_file"`

	// CallTimeout bounds one call with all its tries: the client itself has no limit. Each page of a listing, of up to
	// 1,000 files, is a call; one try may wait for half of it.
	CallTimeout time.Duration `yaml:"call_timeout" validate:"between=1s 5m"`

	// MaxTries is the number of tries of one call within its timeout. What fails after that is retried by the queue, so
	// more tries here only keep a slot busy.
	MaxTries int `yaml:"max_tries" validate:"between=1 10"`

	// MaxGenerations bounds the objects, with all their versions, that one directory of a certificate may hold. Four are
	// usual. A request with a directory that holds more fails as too_many_objects, and nothing in that directory is
	// deleted: it is no certificate's, or what answers is not Cloud Storage.
	MaxGenerations int `yaml:"max_generations" validate:"between=10 1000000"`

	// MaxListingBytes bounds the bytes of the listing of one directory, all pages together; beyond it the request fails as
	// too_many_objects, too. The default is enough for 1,000 objects of 16 KiB of metadata each.
	MaxListingBytes int `yaml:"max_listing_bytes" validate:"between=65536 1073741824"`

	// MaxInFlight bounds the calls that one process has under way to each bucket. The bound of 100 is measured: above it,
	// HTTP/2 opens a new connection for almost every request.
	MaxInFlight int `yaml:"max_in_flight" validate:"between=1 100"`

	// DeleteRate bounds the deletes that one process sends to each bucket.
	DeleteRate Rate `yaml:"delete_rate"`

	// ReadRate bounds the listings, and the questions about the bucket itself, in the same way.
	ReadRate Rate `yaml:"read_rate"`

	// AttributesMaxAge is how long the worker relies on what it knows of a bucket (versioning, soft delete, retention)
	// before it asks again. Without work it asks as often, and looks at MySQL and Redis on the occasion. A longer time
	// means that a changed policy is noticed later, before the deletes; after them, what is older than five seconds is
	// read again in any case.
	AttributesMaxAge time.Duration `yaml:"attributes_max_age" validate:"between=1s 10m"`

	// Endpoint is the base URL of the service, for emulators and private endpoints only; empty means Google's. Without a
	// path, /storage/v1/ is added. A wrong one sends deletes to a host whose "not found" means nothing, so a loopback or
	// plain http address needs allow_emulator too.
	Endpoint string `yaml:"endpoint" validate:"omitempty,endpoint_url"`

	// Anonymous sends no credentials. It is for emulators, and allowed together with an endpoint only.
	Anonymous bool `yaml:"anonymous"`

	// AllowEmulator says whether STORAGE_EMULATOR_HOST may be set in the environment. Where that variable is left over in
	// production, every delete goes to another host, and is answered as if all were gone; so the worker does not start
	// then.
	AllowEmulator bool `yaml:"allow_emulator"`
}

// Rate bounds the requests of one kind that one process sends to each bucket, in requests a second.
type Rate struct {
	// Start is the rate at which a process begins, in requests a second and bucket. Whenever Cloud Storage asks for less
	// (429, or 403 or 503 with such a reason) it is halved, at most once a second, and then comes back slowly: from half
	// to whole in 50 seconds. Google promises about 1,000 deletes and 5,000 reads a second for any bucket, for all its
	// users together; processes do not know of each other, so with four workers give each a quarter. Too high, and
	// requests are refused and sent again; too low, and a backfill takes longer than it must.
	Start int `yaml:"start" validate:"between=1 100000"`

	// Ceiling is the rate that is never exceeded, and not less than start. Above start, the rate grows only while it is
	// used up, and doubles no faster than every 20 minutes, as Google asks. Set both to the same value for a fixed bound.
	Ceiling int `yaml:"ceiling" validate:"between=1 100000"`
}
