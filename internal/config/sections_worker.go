package config

import "time"

// Queue says how the worker pulls tasks and when it gives up on one.
type Queue struct {
	// Concurrency is the number of users purged at the same time by one process. A purge mostly waits for Cloud
	// Storage, so 50 to 100 are right on two cores; more tasks than gcs.max_in_flight can serve only wait for each other.
	Concurrency int `yaml:"concurrency" validate:"between=1 1000"`

	// Weights share the worker between the two queues.
	Weights Weights `yaml:"weights"`

	// MaxAttempts is the number of counted failures after which a request ends as failed with the reason gave_up.
	// Throttling, retention, a wrong configuration and an orderly shutdown are not counted. With too few, an outage of
	// Cloud Storage fails requests that an operator must requeue; their references stay in either case.
	MaxAttempts int `yaml:"max_attempts" validate:"between=1 100"`

	// RetryBase is the longest wait before the second attempt. It doubles with each failure; the actual wait is random
	// between zero and that, so that the retries of many users do not arrive together.
	RetryBase time.Duration `yaml:"retry_base" validate:"between=1s 10m"`

	// RetryCap is the longest wait before any attempt, and not less than retry_base. With the defaults a request
	// has been tried for about 8 hours, on average, when it is given up.
	RetryCap time.Duration `yaml:"retry_cap" validate:"between=1s 24h"`

	// MaxAge is how long a request may be open before a failure ends it as gave_up, even one that is not counted: without
	// a limit, no operator would see a request that is throttled for ever. Waiting for a retention date is not limited.
	MaxAge time.Duration `yaml:"max_age" validate:"between=1h 2160h"`

	// DrainTimeout is how long running tasks may continue when the worker stops; then they go back to the queue
	// without losing an attempt. It must be less than tasks.timeout, and less than the grace period of the process manager
	// (30 seconds in Kubernetes by default); otherwise the process is killed, and its tasks wait until their lease ends.
	DrainTimeout time.Duration `yaml:"drain_timeout" validate:"whole_seconds=1s 10m"`
}

// Reconciler says how the leading worker keeps Redis consistent with the ledger.
type Reconciler struct {
	// Interval is the time between two rounds. With a longer one, requests whose tasks were lost wait longer.
	Interval time.Duration `yaml:"interval" validate:"between=1s 1h"`
	// Grace is how long a request must be unchanged before the reconciler checks that it has a task. If it is shorter than
	// accepting a request takes, the reconciler queues tasks that the enqueuer is about to queue: harmless, but wasted.
	Grace time.Duration `yaml:"grace" validate:"between=1s 1h"`
	// Rate is the number of tasks put back in a second. It limits the load on the databases and on Redis after Redis has
	// lost a backfill.
	Rate int `yaml:"rate" validate:"between=1 10000"`
	// HighWater is the number of waiting tasks above which no task is put back, so that Redis stays small. The rest
	// follows in later rounds.
	HighWater int `yaml:"high_water" validate:"between=100 1000000"`
}

// Evidence says how evidence is kept from being changed later.
type Evidence struct {
	// AnchorInterval is the time between two anchors: hashes over all evidence that was written since the one before,
	// which one of the workers adds to the ledger and to its log. What is not anchored yet can be removed without a trace
	// by an attacker who may write to the ledger's tables as an administrator.
	AnchorInterval time.Duration `yaml:"anchor_interval" validate:"between=10s 24h"`

	// SigningKeyFile is a file with the private key that signs certificates of erasure: Ed25519, PKCS#8 in PEM, as
	// "openssl genpkey -algorithm ed25519" writes it. Certificates are not signed if it is empty. Who has this file can
	// sign as you, so only the account that makes certificates should be able to read it. A process reads it when
	// it starts.
	SigningKeyFile string `yaml:"signing_key_file"`
}

// Weights are the shares of the two queues; only their ratio counts.
type Weights struct {
	// Purge is the share of single requests. While it is the larger one, a backfill of any length hardly delays them.
	Purge int `yaml:"purge" validate:"between=1 100"`

	// Backfill is the share of bulk requests. It cannot be 0: a queue that is never served looks like a stuck one.
	Backfill int `yaml:"backfill" validate:"between=1 100"`
}

// Location says which bucket and which prefix hold the artifacts that a download_url points to. The list of locations
// is also the allow-list of buckets: the worker deletes nowhere else. A user with a reference outside of it fails as
// unrecognised_reference, and keeps the reference.
type Location struct {
	// Name is this location's name in error messages. It must be unique.
	Name string `yaml:"name" validate:"required,location_name"`

	// Bucket is the Cloud Storage bucket. It must exist and be readable when the worker starts: a wrong bucket answers
	// a delete with "not found", which looks like success.
	Bucket string `yaml:"bucket" validate:"required,bucket_name"`

	// ObjectPrefix stands before the directories in the names of the objects. It is empty or ends with "/"; without the
	// slash, a listing would also find the objects of longer names.
	ObjectPrefix string `yaml:"object_prefix" validate:"object_prefix"`

	// DownloadsDir is the directory below the prefix with a directory of each download_uuid: the PDF.
	// With a wrong one, nothing is found, and so "proven" absent, while the files lie elsewhere.
	DownloadsDir string `yaml:"downloads_dir" validate:"directory"`

	// VerifyDir is the directory below the prefix with a directory of each verify_uuid: the signature and the two pages of
	// the verification. A wrong one is as dangerous as a wrong downloads_dir.
	VerifyDir string `yaml:"verify_dir" validate:"directory"`

	// URLPrefixes are the beginnings of download URLs that mean this location, each ending with "/". gs://bucket/prefix,
	// https://storage.googleapis.com/bucket/prefix and https://bucket.storage.googleapis.com/prefix are recognised without
	// being listed. List the name of a CDN here, and the URLs of the S3 era whose files were moved to this bucket:
	// https://s3.amazonaws.com/OLD-BUCKET/, https://OLD-BUCKET.s3.amazonaws.com/ and //s3.amazonaws.com/OLD-BUCKET/. The
	// scheme may be left out (certs.example.org/), and so may the host, for links that are paths only (/). A bucket that
	// is named after a host needs no entry for it. A prefix may stand in one location only.
	URLPrefixes []string `yaml:"url_prefixes" validate:"dive,url_prefix"`

	// Signed says whether the site signed its certificates (CERT_KEY_ID was set), so that each certificate with a
	// verify_uuid had files in the verification directory. With false, such files are erased if there are any, and a
	// reference is cleared without them.
	Signed bool `yaml:"signed"`

	// MissingFiles says what happens to a reference whose directory is empty although no file of the user was ever erased
	// there.
	MissingFiles MissingFiles `yaml:"missing_files"`

	// AllowEmpty says which directories may hold nothing at all when a worker starts: false for none, downloads,
	// verification, or true for both. Otherwise an empty one is taken for a misspelt bucket, prefix or
	// directory. Set it when the last certificate of a location has been purged.
	AllowEmpty string `yaml:"allow_empty" validate:"oneof=false downloads verification true"`
}

// MissingFiles says, for each kind of directory, whether a reference is cleared although its files were never seen.
type MissingFiles struct {
	// Downloads is about the PDF. With refuse the request fails as files_missing and the reference is kept, because the
	// file may be somewhere else; with accept the reference is cleared, and the request ends as done: files_missing.
	// Accept this only if you know that the files are gone: the link is the only way to find a file. Single requests are
	// accepted with enqueuer requeue --accept-missing.
	Downloads string `yaml:"downloads" validate:"oneof=refuse accept"`

	// Verification is about the signature and the two verification pages. Accept it if the site signed its certificates in
	// some years only.
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

	// MaxTries is the number of tries of one call within its timeout. The queue retries what fails after that, so
	// more tries only keep a slot busy.
	MaxTries int `yaml:"max_tries" validate:"between=1 10"`

	// MaxGenerations bounds the objects, with all their versions, that one directory of a certificate may hold. Four are
	// usual. If a directory holds more, the request fails as too_many_objects, and nothing in that directory is deleted:
	// it is not the directory of a certificate, or the server is not Cloud Storage.
	MaxGenerations int `yaml:"max_generations" validate:"between=10 1000000"`

	// MaxListingBytes bounds the bytes of the listing of one directory, all pages together; beyond it the request fails as
	// too_many_objects, too. The default is enough for 1,000 objects of 16 KiB of metadata each.
	MaxListingBytes int `yaml:"max_listing_bytes" validate:"between=65536 1073741824"`

	// MaxInFlight bounds the calls that one process has under way to each bucket. The bound of 100 is measured: above it,
	// HTTP/2 opens a new connection for almost every request.
	MaxInFlight int `yaml:"max_in_flight" validate:"between=1 100"`

	// BatchDeletes says whether deletes of one bucket that are ready at the same moment are sent as one batch request, of
	// at most 100. Each still counts by itself for max_in_flight and delete_rate, as it does for Google, and has its own
	// answer and tries. A third of a delete's processor time is saved, so it is for backfills on few cores; but a delete
	// then waits for the slowest of its batch, and Google does not say how it runs the calls of a batch. An endpoint that
	// takes no batches gets single deletes after the first attempt.
	BatchDeletes bool `yaml:"batch_deletes"`

	// DeleteRate bounds the deletes that one process sends to each bucket.
	DeleteRate Rate `yaml:"delete_rate"`

	// ReadRate bounds the listings, and the reads of the bucket's own settings, in the same way.
	ReadRate Rate `yaml:"read_rate"`

	// AttributesMaxAge is how long the worker relies on the settings of a bucket (versioning, soft delete, retention)
	// before it reads them again. An idle worker reads them at the same interval, and checks MySQL and Redis too. With a
	// longer time, a changed policy is noticed later before the deletes; after them, the settings are read again in any
	// case.
	AttributesMaxAge time.Duration `yaml:"attributes_max_age" validate:"between=1s 10m"`

	// Endpoint is the base URL of the service, for emulators and private endpoints only; empty means Google's. Without a
	// path, /storage/v1/ is added. A wrong one sends deletes to a host whose "not found" means nothing, so a
	// loopback or plain http address needs allow_emulator too.
	Endpoint string `yaml:"endpoint" validate:"omitempty,endpoint_url"`

	// Anonymous sends no credentials. It is for emulators, and allowed only together with an endpoint.
	Anonymous bool `yaml:"anonymous"`

	// AllowEmulator says whether STORAGE_EMULATOR_HOST may be set in the environment. If that variable were set in
	// production by mistake, every delete would go to another host, whose answers look like success; so the worker does
	// not start.
	AllowEmulator bool `yaml:"allow_emulator"`
}

// Rate bounds the requests of one kind that one process sends to each bucket, in requests a second.
type Rate struct {
	// Start is the rate at which a process begins, in requests a second and bucket. When Cloud Storage throttles (429, or
	// 403 or 503 with such a reason), the rate is halved, at most once a second, and then recovers slowly: from half to
	// whole in 50 seconds. Google promises about 1,000 deletes and 5,000 reads a second for any bucket, for all its
	// clients together; processes do not know of each other, so with four workers give each a quarter. With a rate that is
	// too high, requests are refused and sent again; with one that is too low, a backfill takes longer than necessary.
	Start int `yaml:"start" validate:"between=1 100000"`

	// Ceiling is the rate that is never exceeded, and not less than start. Above start, the rate grows only while it is
	// used up, and doubles no faster than every 20 minutes, as Google asks. Set both to the same value for a fixed bound.
	Ceiling int `yaml:"ceiling" validate:"between=1 100000"`
}
