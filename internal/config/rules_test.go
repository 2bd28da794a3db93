package config_test

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/certpurge/certpurge/internal/config"
)

const (
	bucketRule = "must be the name of a Cloud Storage bucket: 3 to 63 of a-z, 0-9, -, _ and ., starting and ending " +
		"with a letter or digit"
	urlPrefixRule = "must be https://, http://, //, gs:// or nothing, then a host and a path, or a path alone, and end " +
		"with \"/\", without user, query and fragment"
	directoryRule = "must be one or more names with \"/\" between them, and none at the start or the end"
	dsnRule       = "must be written user:password@tcp(host:3306)/certpurge and name the ledger's database"
	redisRule     = "must start with one of redis://, rediss://, unix://, redis+sentinel://, rediss+sentinel://, " +
		"redis+cluster://, rediss+cluster://"
	databaseRule   = "must be the name of a database: 1 to 64 of A-Z, a-z, 0-9, _, $ and -"
	stateRule      = "must be the name of a retirement state: 1 to 30 of A-Z, 0-9 and _"
	pathPrefixRule = `must be empty or start with "/" and not end with it, of A-Z, a-z, 0-9, ".", "_", "~", "-" and "/"`
	tokenRule      = "must be the SHA-256 of a token that is not empty: 64 of 0-9 and a-f"
	someSHA256     = "2c624232cdd221771294dfbb310aca000a0df6ac8b66b696d90ef06fdefb64a3"
	endpointRule   = "must be empty or be an http:// or https:// URL without user, query and fragment"
	usersRule      = "must be entries NAME:view:HASH or NAME:operate:HASH with bcrypt hashes of one cost, 10 to 15, and " +
		"a name only once"
	webhookSecretRule = "must be whsec_ and 24 to 64 bytes in Base64, or several of these with blanks " +
		"between them"
	someWebhookSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	uriRule           = "must be a URI or the path of one, such as https://certpurge.example.org or certpurge, without blanks"
	hash10            = "$2y$10$QGq4/Y4vLxIZcXQ9eZwI1eGRuXNzu4yq6JUtVsTDdEYP5Rmmb4hq2"
)

// ruleTests holds, for each key with a rule, values that keep it and values that break it, as YAML. Keys of one value
// are tried alone, over a configuration that is valid.
var ruleTests = map[string]struct {
	good []string
	bad  map[string]string // to what the problem says after the path
}{
	"log.level": {
		good: []string{"debug", "info", "warn", "error"},
		bad: map[string]string{
			"INFO": `must be one of debug, info, warn, error, is "INFO"`,
			`""`:   `must be one of debug, info, warn, error, is empty`,
		},
	},
	"log.format": {
		good: []string{"auto", "json", "text"},
		bad:  map[string]string{"logfmt": `must be one of auto, json, text, is "logfmt"`},
	},
	"mysql.dsn": {
		good: []string{
			"user:password@tcp(host:3306)/certpurge", "user@unix(/run/mysqld.sock)/certpurge?charset=utf8mb4", "/certpurge",
			`"user:p@ss/w:ord@tcp([::1]:3306)/certpurge"`,
		},
		bad: map[string]string{
			`""`:                                    "must be set",
			"user:hunter2@tcp(host:3306)":           dsnRule,
			"user:hunter2@tcp(host:3306)/":          dsnRule,
			"user:hunter2@tcp(host:3306/certpurge":  dsnRule,
			"mysql://user:hunter2@host/certpurge":   dsnRule,
			"user:hunter2@tcp(h)/c?parseTime=maybe": dsnRule,
		},
	},
	"mysql.max_open_connections": betweenTest("1", "1000", "0", "1001"),
	"mysql.connect_timeout":      betweenTest("1s", "1m", "999ms", "1m1s"),
	"mysql.query_timeout":        betweenTest("1s", "10m", "999ms", "10m1s"),
	"lms.database": {
		good: []string{"edxapp", "open-edx", "a$b_C9", strings.Repeat("a", 64)},
		bad: map[string]string{
			`""`:                    databaseRule + ", is empty",
			"edx`; DROP":            databaseRule + ", is \"edx`; DROP\"",
			"a.b":                   databaseRule + `, is "a.b"`,
			strings.Repeat("a", 65): databaseRule + `, is "` + strings.Repeat("a", 65) + `"`,
			"certpurge":             `must be another database than that of mysql.dsn, which is the ledger's, is "certpurge" for both`,
			"CertPurge":             `must be another database than that of mysql.dsn, which is the ledger's, is "CertPurge" for both`,
		},
	},
	"lms.excluded_states": {
		good: []string{"[PENDING]", "[ABORTED, PENDING, ON_HOLD_2]"},
		bad: map[string]string{
			"[]":        "must contain PENDING, the state in which a user can still cancel",
			"[ABORTED]": "must contain PENDING, the state in which a user can still cancel",
			"[pending]": "must contain PENDING, the state in which a user can still cancel",
		},
	},
	"lms.excluded_states[1]": {
		good: []string{strings.Repeat("A", 30)},
		bad: map[string]string{
			"aborted":               stateRule + `, is "aborted"`,
			`""`:                    stateRule + ", is empty",
			"ON HOLD":               stateRule + `, is "ON HOLD"`,
			strings.Repeat("A", 31): stateRule + `, is "` + strings.Repeat("A", 31) + `"`,
		},
	},
	"redis.url": {
		good: []string{
			"redis://h", "rediss://u:p@h:1/0", "unix:///run/redis.sock", "redis+sentinel://h/m", "rediss+sentinel://h/m",
			"redis+cluster://h",
			"rediss+cluster://h",
		},
		bad: map[string]string{
			`""`: "must be set", "redis:6379": redisRule, "http://me:hunter2@h": redisRule, "redis://": redisRule,
			"REDIS://h": redisRule,
		},
	},
	"tasks.timeout": {
		good: []string{"21s", "1h"}, // Less than 21s collides with the default of queue.drain_timeout.
		bad: map[string]string{
			"9s":     "must be whole seconds between 10s and 1h, is 9s",
			"1h1s":   "must be whole seconds between 10s and 1h, is 1h0m1s",
			"90.5s":  "must be whole seconds between 10s and 1h, is 1m30.5s",
			"500ms":  "must be whole seconds between 10s and 1h, is 500ms",
			"-1m":    "must be whole seconds between 10s and 1h, is -1m",
			"1000us": "must be whole seconds between 10s and 1h, is 1ms",
		},
	},
	"tasks.retention": {
		good: []string{"0s", "1s", "24h"},
		bad: map[string]string{
			"24h1s": "must be whole seconds between 0s and 24h, is 24h0m1s",
			"900ms": "must be whole seconds between 0s and 24h, is 900ms",
			"-1s":   "must be whole seconds between 0s and 24h, is -1s",
		},
	},
	"tracing.sample_ratio": betweenTest("0", "1", "-0.1", "1.1"),
	"tracing.endpoint": {
		good: []string{`""`, "http://collector:4318/v1/traces", "https://otel.example.org"},
		bad: map[string]string{
			"collector:4318":     endpointProblem("collector:4318"),
			"http://u:p@host/v1": endpointProblem("http://REDACTED@host/v1"),
		},
	},
	"queue.concurrency":        betweenTest("1", "1000", "0", "1001"),
	"queue.weights.purge":      betweenTest("1", "100", "0", "101"),
	"queue.weights.backfill":   betweenTest("1", "100", "0", "101"),
	"queue.max_attempts":       betweenTest("1", "100", "0", "101"),
	"queue.max_age":            betweenTest("1h", "2160h", "59m59s", "2161h"),
	"evidence.anchor_interval": betweenTest("10s", "24h", "9s", "24h1m"),
	"mysql.batch":              betweenTest("1", "64", "0", "65"),
	"reconciler.interval":      betweenTest("1s", "1h", "999ms", "1h1m"),
	"reconciler.grace":         betweenTest("1s", "1h", "999ms", "1h1m"),
	"reconciler.rate":          betweenTest("1", "10000", "0", "10001"),
	"reconciler.high_water":    betweenTest("100", "1000000", "99", "1000001"),
	"queue.retry_base":         betweenTest("1s", "10m", "999ms", "10m1s"),
	"queue.retry_cap": {
		good: []string{"5s", "24h"},
		bad: map[string]string{
			"24h1s": "must be between 1s and 24h, is 24h0m1s",
			"4s":    "must not be less than queue.retry_base (5s), is 4s",
		},
	},
	"queue.drain_timeout": {
		good: []string{"1s", "2m59s"},
		bad: map[string]string{
			"0s":    "must be whole seconds between 1s and 10m, is 0s",
			"1.5s":  "must be whole seconds between 1s and 10m, is 1.5s",
			"3m":    "must be less than tasks.timeout (3m), is 3m",
			"10m1s": "must be whole seconds between 1s and 10m, is 10m1s",
		},
	},
	"locations": {
		bad: map[string]string{"[]": "must have at least 1 entry"},
	},
	"locations[0].name": {
		good: []string{"a", "s3-era-2", strings.Repeat("a", 32)},
		bad: map[string]string{
			`""`:                    "must be set",
			"S3":                    `must be 1 to 32 of a-z, 0-9 and -, is "S3"`,
			"a b":                   `must be 1 to 32 of a-z, 0-9 and -, is "a b"`,
			strings.Repeat("a", 33): `must be 1 to 32 of a-z, 0-9 and -, is "` + strings.Repeat("a", 33) + `"`,
		},
	},
	"locations[0].bucket": {
		good: []string{"abc", "a_b-c.d", "2024", strings.Repeat("a", 63), "certificates.example.com"},
		bad: map[string]string{
			`""`:                    "must be set",
			"ab":                    bucketRule + `, is "ab"`,
			"Example":               bucketRule + `, is "Example"`,
			"-abc":                  bucketRule + `, is "-abc"`,
			"abc-":                  bucketRule + `, is "abc-"`,
			"a..b":                  bucketRule + `, is "a..b"`,
			"a/b":                   bucketRule + `, is "a/b"`,
			"gs://abc":              bucketRule + `, is "gs://abc"`,
			"192.168.5.4":           bucketRule + `, is "192.168.5.4"`,
			"goog-certs":            bucketRule + `, is "goog-certs"`,
			"my-google-certs":       bucketRule + `, is "my-google-certs"`,
			strings.Repeat("a", 64): bucketRule + `, is "` + strings.Repeat("a", 64) + `"`,
		},
	},
	"locations[0].object_prefix": {
		good: []string{`""`, "a/", "a/b c/ü/"},
		bad: map[string]string{
			"a":        objectPrefixProblem("a"),
			"/":        objectPrefixProblem("/"),
			"/a/":      objectPrefixProblem("/a/"),
			"a//b/":    objectPrefixProblem("a//b/"),
			"a/../b/":  objectPrefixProblem("a/../b/"),
			"./":       objectPrefixProblem("./"),
			"a..b/":    objectPrefixProblem("a..b/"),
			`"a\n/"`:   objectPrefixProblem("a\n/"),
			`"a\\b/"`:  objectPrefixProblem(`a\b/`),
			`"a/\0b/"`: objectPrefixProblem("a/\x00b/"),
		},
	},
	"locations[0].downloads_dir": {
		good: []string{"downloads", "a/b"},
		bad: map[string]string{
			`""`:         directoryRule + ", is empty",
			"downloads/": directoryRule + `, is "downloads/"`,
			"/downloads": directoryRule + `, is "/downloads"`,
			"a//b":       directoryRule + `, is "a//b"`,
			"..":         directoryRule + `, is ".."`,
		},
	},
	"locations[0].verify_dir": {
		good: []string{"cert", "a/b"},
		bad:  map[string]string{`""`: directoryRule + ", is empty", ".": directoryRule + `, is "."`},
	},
	"locations[0].url_prefixes[0]": {
		good: []string{
			"https://s3.amazonaws.com/OLD/", "http://a/", "//s3.amazonaws.com/OLD/", "gs://bucket/",
			"https://cdn.example.com:8443/a%20b/",
			"https://a/b@c/", "/", "/b/", "certs.example.org/", "localhost:18090/", "https://s3.amazonaws.com/",
		},
		bad: map[string]string{
			`""`:                      urlPrefixRule + ", is empty",
			"https://a/b":             urlPrefixRule + `, is "https://a/b"`,
			"https://a":               urlPrefixRule + `, is "https://a"`,
			"https:///b/":             urlPrefixRule + `, is "https:///b/"`,
			"///b/":                   urlPrefixRule + `, is "///b/"`,
			"s3://b/":                 urlPrefixRule + `, is "s3://b/"`,
			"a/b/":                    urlPrefixRule + `, is "a/b/"`,
			"https://a/b?c/":          urlPrefixRule + `, is "https://a/b?c/"`,
			"https://a/b#c/":          urlPrefixRule + `, is "https://a/b#c/"`,
			"https://me:hunter2@a/b/": urlPrefixRule + `, is "https://REDACTED@a/b/"`,
			"https://@a/b/":           urlPrefixRule + `, is "https://REDACTED@a/b/"`,
			"https://a/%zz/":          urlPrefixRule + `, is "https://a/%zz/"`,
			`"https://a b/"`:          urlPrefixRule + `, is "https://a b/"`,
		},
	},
	"locations[0].allow_empty": {
		good: []string{"false", "true", "downloads", "verification"},
		bad:  map[string]string{"both": `must be one of false, downloads, verification, true, is "both"`},
	},
	"locations[0].missing_files.downloads": {
		good: []string{"refuse", "accept"},
		bad:  map[string]string{"keep": `must be one of refuse, accept, is "keep"`},
	},
	"locations[0].missing_files.verification": {
		good: []string{"refuse", "accept"},
		bad:  map[string]string{"true": `must be one of refuse, accept, is "true"`},
	},
	"external_prefixes[0]": {
		good: []string{"https://credentials.example.net/", "/badges/"},
		bad:  map[string]string{"https://a/b": urlPrefixRule + `, is "https://a/b"`},
	},
	"external_links": {
		good: []string{"keep", "clear"},
		bad:  map[string]string{"ignore": `must be one of keep, clear, is "ignore"`},
	},
	"shared_directories": {
		good: []string{"refuse", "accept"},
		bad:  map[string]string{"ignore": `must be one of refuse, accept, is "ignore"`},
	},
	"gcs.call_timeout":       betweenTest("1s", "5m", "999ms", "5m1s"),
	"gcs.max_tries":          betweenTest("1", "10", "0", "11"),
	"gcs.max_in_flight":      betweenTest("1", "100", "0", "101"),
	"gcs.max_generations":    betweenTest("10", "1000000", "9", "1000001"),
	"gcs.max_listing_bytes":  betweenTest("65536", "1073741824", "65535", "1073741825"),
	"gcs.attributes_max_age": betweenTest("1s", "10m", "0s", "11m"),
	"gcs.delete_rate.start":  rateStartTest("4000"),
	"gcs.read_rate.start":    rateStartTest("20000"),
	"gcs.delete_rate.ceiling": {
		good: []string{"1000", "100000"},
		bad: map[string]string{
			"100001": "must be between 1 and 100000, is 100001",
			"0":      "must be between 1 and 100000, is 0",
			"999":    "must not be less than gcs.delete_rate.start (1000), is 999",
		},
	},
	"gcs.read_rate.ceiling": {
		good: []string{"5000", "100000"},
		bad: map[string]string{
			"100001": "must be between 1 and 100000, is 100001",
			"4999":   "must not be less than gcs.read_rate.start (5000), is 4999",
		},
	},
	"gcs.endpoint": {
		good: []string{
			`""`, "https://storage-private.p.googleapis.com", "https://10.0.0.1:443/storage/v1/",
			"https://[2600:1900::1]", "https://storage.0x.example",
		},
		bad: map[string]string{
			"localhost:4443":        endpointProblem("localhost:4443"),
			"ftp://a":               endpointProblem("ftp://a"),
			"https://":              endpointProblem("https://"),
			"https://a?b":           endpointProblem("https://a?b"),
			"https://u:hunter2@a/":  endpointProblem("https://REDACTED@a/"),
			"http://private":        privateProblem("http://private"),
			"https://127.0.0.1:443": privateProblem("https://127.0.0.1:443"),
			"https://[::1]/":        privateProblem("https://[::1]/"),
			"https://LOCALHOST.":    privateProblem("https://LOCALHOST."),
			"https://a.localhost":   privateProblem("https://a.localhost"),
			"https://0.0.0.0":       privateProblem("https://0.0.0.0"),
			// Other spellings, which some resolvers take for addresses.
			"https://127.1":                  privateProblem("https://127.1"),
			"https://2130706433/storage/v1/": privateProblem("https://2130706433/storage/v1/"),
			"https://0x7f000001":             privateProblem("https://0x7f000001"),
			"https://0X7F.1:443":             privateProblem("https://0X7F.1:443"),
			"https://0177.0.0.1":             privateProblem("https://0177.0.0.1"),
			"https://127.0.0.1.":             privateProblem("https://127.0.0.1."),
			"https://0":                      privateProblem("https://0"),
			"https://[::ffff:127.0.0.1]":     privateProblem("https://[::ffff:127.0.0.1]"),
			"https://[::1%25lo]":             privateProblem("https://[::1%25lo]"),
			"https://localhost.localdomain":  privateProblem("https://localhost.localdomain"),
			"https://ip6-loopback":           privateProblem("https://ip6-loopback"),
		},
	},
	"gcs.anonymous": {
		good: []string{"false"},
		bad:  map[string]string{"true": "must be false without gcs.endpoint, is true"},
	},
	"serve.listen": {
		good: []string{":8080", "127.0.0.1:0"},
		bad:  map[string]string{`""`: "must be set", "8080": `must be written host:port or :port, or be empty, is "8080"`},
	},
	"serve.path_prefix": {
		good: []string{`""`, "/certpurge", "/a.b/c-d_e~f"},
		bad: map[string]string{
			"/":           pathPrefixRule + `, is "/"`,
			"certpurge":   pathPrefixRule + `, is "certpurge"`,
			"/certpurge/": pathPrefixRule + `, is "/certpurge/"`,
			"//a":         pathPrefixRule + `, is "//a"`,
			"/a?b":        pathPrefixRule + `, is "/a?b"`,
		},
	},
	"serve.hold":          betweenTest("0s", "5m", "-1s", "5m1s"),
	"serve.max_held":      betweenTest("1", "100000", "0", "100001"),
	"serve.keep_keys":     betweenTest("24h", "8760h", "23h", "8761h"),
	"serve.max_body":      betweenTest("1024", "16777216", "1023", "16777217"),
	"serve.read_timeout":  betweenTest("1s", "5m", "999ms", "5m1s"),
	"serve.drain_timeout": betweenTest("1s", "10m", "999ms", "10m1s"),
	"jwt.jwks_url": {
		good: []string{`""`, "https://lms.example/jwks.json", "http://lms:8000/jwks.json"},
		bad: map[string]string{
			"lms:8000/jwks":     endpointProblem("lms:8000/jwks"),
			"https://a/b?c=d":   endpointProblem("https://a/b?c=d"),
			"https://u:p@a/b":   endpointProblem("https://REDACTED@a/b"),
			"file:///etc/jwks":  endpointProblem("file:///etc/jwks"),
			"https://lms/jwks#": endpointProblem("https://lms/jwks#"),
		},
	},
	"jwt.jwks_refresh": betweenTest("1m", "24h", "59s", "24h1m"),
	"jwt.audiences[0]": {
		good: []string{"openedx"},
		bad:  map[string]string{`""`: "must be set"},
	},
	"jwt.issuers[0]": {
		good: []string{"https://lms.example/oauth2"},
		bad:  map[string]string{`""`: "must be set"},
	},
	"jwt.max_lifetime": betweenTest("1m", "8760h", "59s", "8761h"),
	"jwt.service_user": {
		good: []string{"retirement_service_worker"},
		bad:  map[string]string{`""`: "must be set"},
	},
	"jwt.rate":  betweenTest("1", "10000", "0", "10001"),
	"jwt.burst": betweenTest("1", "100000", "0", "100001"),
	"tokens[0].name": {
		good: []string{"portal", "ci-2"},
		bad:  map[string]string{`""`: "must be set", "Portal": `must be 1 to 32 of a-z, 0-9 and -, is "Portal"`},
	},
	"tokens[0].sha256": {
		good: []string{someSHA256},
		bad: map[string]string{
			`""`:                                  tokenRule + ", is empty",
			strings.ToUpper(someSHA256):           tokenRule + `, is "` + strings.ToUpper(someSHA256) + `"`,
			someSHA256[1:]:                        tokenRule + `, is "` + someSHA256[1:] + `"`,
			someSHA256 + "0":                      tokenRule + `, is "` + someSHA256 + `0"`,
			fmt.Sprintf("%x", sha256.Sum256(nil)): tokenRule + `, is "` + fmt.Sprintf("%x", sha256.Sum256(nil)) + `"`,
		},
	},
	"tokens[0].rights": {
		good: []string{"[enqueue]", "[enqueue, read, requeue]"},
		bad:  map[string]string{"[]": "must have at least 1 entry"},
	},
	"tokens[0].rights[0]": {
		good: []string{"read", "requeue"},
		bad: map[string]string{
			"all": `must be one of enqueue, read, requeue, is "all"`,
			`""`:  "must be one of enqueue, read, requeue, is empty",
		},
	},
	"tokens[0].rate":            betweenTest("1", "10000", "0", "10001"),
	"tokens[0].burst":           betweenTest("1", "100000", "0", "100001"),
	"watch.interval":            betweenTest("10s", "24h", "9s", "24h1m"),
	"watch.cool_off_days":       betweenTest("0", "3650", "-1", "3651"),
	"watch.max_users_per_round": betweenTest("1", "1000000", "0", "1000001"),
	"watch.high_water":          betweenTest("100", "1000000", "99", "1000001"),
	"watch.ask_again_after":     betweenTest("1m", "8760h", "59s", "8761h"),
	"notify.url": {
		good: []string{`""`, "https://hooks.example.org/certpurge", "http://127.0.0.1:9000/hook", "http://[::1]/", "http://localhost:1"},
		bad: map[string]string{
			"http://hooks.example.org/":    webhookProblem("http://hooks.example.org/"),
			"https://u:p@hooks.example":    webhookProblem("https://REDACTED@hooks.example"),
			"https://hooks.example/?a=b":   webhookProblem("https://hooks.example/?a=b"),
			"http://127.0.0.1.example.org": webhookProblem("http://127.0.0.1.example.org"),
			"hooks.example.org/certpurge":  webhookProblem("hooks.example.org/certpurge"),
		},
	},
	"notify.secret": {
		good: []string{someWebhookSecret, someWebhookSecret + " whsec_" + strings.Repeat("AAAA", 8)},
		bad: map[string]string{
			"hunter2": webhookSecretRule, "whsec_hunter2": webhookSecretRule, "whsec_" + strings.Repeat("A", 28): webhookSecretRule,
			"whsec_" + strings.Repeat("AAAA", 22): webhookSecretRule, someWebhookSecret + " hunter2": webhookSecretRule,
			someWebhookSecret[6:]: webhookSecretRule, `" "`: webhookSecretRule,
		},
	},
	"notify.events": {good: []string{"[verdict.changed]"}, bad: map[string]string{"[]": "must have at least 1 entry"}},
	"notify.events[0]": {
		good: []string{"request.ended"},
		bad:  map[string]string{"ended": `must be one of request.ended, verdict.changed, is "ended"`},
	},
	"notify.source": {
		good: []string{"certpurge", "https://certpurge.example.org/eu", "/certpurge"},
		bad: map[string]string{
			`""`: uriRule + ", is empty", "our site": uriRule + `, is "our site"`, `"::"`: uriRule + `, is "::"`,
		},
	},
	"notify.timeout":      betweenTest("1s", "1m", "999ms", "1m1s"),
	"notify.max_age":      betweenTest("24h", "8760h", "23h", "8761h"),
	"admin.listen":        listenTest(),
	"admin.probes_listen": listenTest(),
	"admin.base_path": {
		good: []string{`""`, "/certpurge", "/a/b-c_d.e~1"},
		bad: map[string]string{
			"/": pathPrefixRule + `, is "/"`, "a": pathPrefixRule + `, is "a"`,
			"/a/": pathPrefixRule + `, is "/a/"`, "/a b": pathPrefixRule + `, is "/a b"`, "//a": pathPrefixRule + `, is "//a"`,
		},
	},
	"admin.users": {
		good: []string{
			`""`, "alice:view:" + hash10, "alice:operate:" + hash10 + " bob@x.example:view:" + hash10,
			`"a:view:` + hash10 + `\nb:view:` + hash10 + `\n"`,
		},
		bad: map[string]string{
			"alice:" + hash10:                           usersRule,
			"alice:admin:" + hash10:                     usersRule,
			"alice:view:hunter2":                        usersRule,
			"al/ice:view:" + hash10:                     usersRule,
			":view:" + hash10:                           usersRule,
			"a:view:" + hash10 + " a:operate:" + hash10: usersRule,
			"a:view:" + hash10 + " b:view:" + strings.Replace(hash10, "$10$", "$11$", 1): usersRule,
			"a:view:" + strings.Replace(hash10, "$10$", "$09$", 1):                       usersRule,
			"a:view:" + strings.Replace(hash10, "$10$", "$16$", 1):                       usersRule,
		},
	},
	"admin.proxy.addresses[0]": {
		good: []string{"192.0.2.7", "10.0.0.0/8", `"2001:db8::/32"`, `"::1"`},
		bad: map[string]string{
			"proxy.example": `must be an IP address or a network such as 10.1.0.0/16, is "proxy.example"`,
			`""`:            "must be an IP address or a network such as 10.1.0.0/16, is empty",
			"10.0.0.0/33":   `must be an IP address or a network such as 10.1.0.0/16, is "10.0.0.0/33"`,
		},
	},
	"admin.proxy.user_header":       headerTest(),
	"admin.proxy.groups_header":     headerTest(),
	"admin.proxy.view_groups[0]":    {good: []string{"staff"}, bad: map[string]string{`""`: "must be set"}},
	"admin.proxy.operate_groups[0]": {good: []string{"operators"}, bad: map[string]string{`""`: "must be set"}},
}

// ruleTest is one entry of ruleTests.
type ruleTest = struct {
	good []string
	bad  map[string]string
}

func listenTest() (test ruleTest) {
	const sentence = "must be written host:port or :port, or be empty, is "
	test.good = []string{`""`, ":8082", "0.0.0.0:0", `"[::1]:8082"`, "localhost:65535"}
	test.bad = map[string]string{
		"localhost": sentence + `"localhost"`, "a:b": sentence + `"a:b"`, "a:65536": sentence + `"a:65536"`,
		"http://a:1": sentence + `"http://a:1"`,
	}
	return test
}

func headerTest() (test ruleTest) {
	test.good = []string{"X-Forwarded-User", "Remote-User"}
	test.bad = map[string]string{
		`""`: "must be the name of an HTTP header, is empty", `"X User"`: `must be the name of an HTTP header, is "X User"`,
	}
	return test
}

func betweenTest(least, most, below, above string) (test struct {
	good []string
	bad  map[string]string
},
) {
	test.good = []string{least, most}
	sentence := "must be between " + least + " and " + most + ", is "
	test.bad = map[string]string{below: sentence + below, above: sentence + above}
	return test
}

// rateStartTest tests the start of a rate, which the default of its ceiling bounds as well.
func rateStartTest(ceiling string) (test struct {
	good []string
	bad  map[string]string
},
) {
	test = betweenTest("1", "100000", "0", "100001")
	test.good = []string{"1", ceiling}
	return test
}

func objectPrefixProblem(value string) string {
	return fmt.Sprintf(`must be empty or end with "/", without "/" at its start, "//" or "..", is %q`, value)
}

func endpointProblem(value string) string {
	return fmt.Sprintf("%s, is %q", strings.Replace(endpointRule, "be empty or ", "", 1), value)
}

func webhookProblem(value string) string {
	return fmt.Sprintf("must be an https:// URL, or an http:// URL of this machine such as http://127.0.0.1:9000/hook, "+
		"without user, query and fragment, is %q", value)
}

func privateProblem(value string) string {
	return fmt.Sprintf("must not be a loopback or plain http address while gcs.allow_emulator is false, is %q", value)
}

// loadWith loads a valid file of the binary that has the key, the worker's if both have it, with the value at path
// replaced by another, written as YAML. It returns the problems.
func loadWith(t *testing.T, path, value string) []string {
	t.Helper()
	var replacement any
	if err := yaml.Unmarshal([]byte(value), &replacement); err != nil {
		t.Fatalf("%s is no YAML: %v", value, err)
	}
	general := strings.TrimSuffix(strings.ReplaceAll(path, "[0]", "[]"), "[]")
	isWorkers := !slices.ContainsFunc(config.Keys(), func(k config.Key) bool { return k.Path == general && !k.Worker })
	file := map[string]any{
		"mysql": map[string]any{"dsn": dsn},
		"lms":   map[string]any{"excluded_states": []any{"PENDING", "ABORTED"}},
	}
	if isWorkers {
		file["locations"] = []any{
			map[string]any{"name": "first", "bucket": "example-certificates", "url_prefixes": []any{"https://first.example/"}},
			map[string]any{"name": "second", "bucket": "other-certificates"},
		}
		file["external_prefixes"] = []any{"https://external.example/"}
	} else {
		file["jwt"] = map[string]any{"audiences": []any{"openedx"}, "issuers": []any{"https://lms.example/oauth2"}}
		file["tokens"] = []any{map[string]any{"name": "first", "sha256": strings.Repeat("1", 64), "rights": []any{"read"}}}
	}
	if strings.HasPrefix(path, "admin.proxy") {
		file["admin"] = map[string]any{"proxy": map[string]any{
			"addresses": []any{"192.0.2.1"}, "view_groups": []any{"staff"}, "operate_groups": []any{"operators"},
		}}
	}
	if path == "notify.events[0]" {
		file["notify"] = map[string]any{"events": []any{"verdict.changed"}}
	}
	if path == "notify.url" {
		file["notify"] = map[string]any{"secret": someWebhookSecret}
	}
	if path == "admin.listen" { // any address is right for one who has a login
		file["admin"] = map[string]any{"users": "alice:view:" + hash10}
	}
	setPath(file, strings.FieldsFunc(path, func(r rune) bool { return strings.ContainsRune(".[]", r) }), replacement)
	content, err := yaml.Marshal(file)
	if err != nil {
		t.Fatal(err)
	}
	if isWorkers {
		_, got := loadWorker(t, string(content))
		return got
	}
	return loadEnqueuer(t, string(content))
}

// setPath sets the value at steps below tree, making sections on the way, and returns the tree.
func setPath(tree any, steps []string, value any) any {
	if len(steps) == 0 {
		return value
	}
	if list, ok := tree.([]any); ok {
		i := int(steps[0][0] - '0')
		list[i] = setPath(list[i], steps[1:], value)
		return list
	}
	section, ok := tree.(map[string]any)
	if !ok {
		section = map[string]any{}
	}
	section[steps[0]] = setPath(section[steps[0]], steps[1:], value)
	return section
}

func TestValuesThatKeepTheirRuleAreAccepted(t *testing.T) {
	t.Parallel()
	for path, test := range ruleTests {
		for _, value := range test.good {
			t.Run(path+"="+value, func(t *testing.T) {
				t.Parallel()
				assertProblems(t, loadWith(t, path, value))
			})
		}
	}
}

func TestValuesThatBreakTheirRuleAreReported(t *testing.T) {
	t.Parallel()
	for path, test := range ruleTests {
		for value, sentence := range test.bad {
			t.Run(path+"="+value, func(t *testing.T) {
				t.Parallel()
				got := loadWith(t, path, value)
				// A rule between keys may break along with it.
				want := path + ": " + sentence
				if !slices.ContainsFunc(got, func(problem string) bool {
					_, problem, _ = strings.Cut(problem, ": ") // The place.
					return problem == want
				}) {
					t.Errorf("got\n  %s\nwant\n  %s", strings.Join(got, "\n  "), want)
				}
			})
		}
	}
}

func TestEveryRuleIsTested(t *testing.T) {
	t.Parallel()
	for _, key := range config.Keys() {
		if key.Rule == "" {
			continue
		}
		tested := false
		for path := range ruleTests {
			general := strings.ReplaceAll(path, "[0]", "[]")
			tested = tested || general == key.Path || strings.HasPrefix(general, key.Path+"[")
		}
		if !tested {
			t.Errorf("%s has a rule (%s) and no test of it", key.Path, key.Rule)
		}
	}
}

func TestLocationsMustNotShare(t *testing.T) {
	t.Parallel()
	_, got := loadWorker(t, `
locations:
  - {name: first, bucket: aaa, url_prefixes: ["https://a.example/x/", "//b.example/", "https://a.example/X/"]}
  - {name: second, bucket: aaa, url_prefixes: ["http://a.example/x/", "https://b.example/"]}
  - {name: first, bucket: bbb, url_prefixes: ["HTTPS://A.Example/x/", "//b.example/"]}
`, dsnVariable)
	assertProblems(
		t,
		got,
		`worker.yaml:5: locations[2].name: must be unique, is "first" like locations[0].name`,
		`worker.yaml:5: locations[2].url_prefixes[0]: must stand in one location only, is "HTTPS://A.Example/x/" like locations[0].url_prefixes[0]`,
		`worker.yaml:5: locations[2].url_prefixes[1]: must stand in one location only, is "//b.example/" like locations[0].url_prefixes[1]`,
	)
}

func TestRulesBetweenKeysSeeTheEnvironment(t *testing.T) {
	t.Parallel()
	_, got := loadWorker(t, "tasks: {timeout: 10s}\n"+locations, dsnVariable, "CERTPURGE_QUEUE_RETRY_BASE=10m",
		"CERTPURGE_QUEUE_RETRY_CAP=1m")
	assertProblems(t, got,
		`CERTPURGE_QUEUE_RETRY_CAP: queue.retry_cap: must not be less than queue.retry_base (10m), is 1m`,
		`queue.drain_timeout: must be less than tasks.timeout (10s), is 20s`)
	_, got = loadWorker(t, locations, dsnVariable,
		"CERTPURGE_GCS_ENDPOINT=http://127.0.0.1:4443", "CERTPURGE_GCS_ANONYMOUS=true", "CERTPURGE_GCS_ALLOW_EMULATOR=true")
	assertProblems(t, got)
}

func TestPagesWithoutALoginStayOnThisMachine(t *testing.T) {
	t.Parallel()
	const sentence = "admin.listen: must be an address of this machine only, such as 127.0.0.1:8081, while there are no " +
		"admin.users and no " +
		"admin.proxy.addresses (probes can be moved to admin.probes_listen), is "
	for address, local := range map[string]bool{
		"127.1:8081": false, "2130706433:8081": false, "0x7f.1:8081": false, // a resolver decides what they are
		":8081": false, "0.0.0.0:8081": false, "[::]:8081": false, "10.0.0.1:8081": false, "admin.example:8081": false,
		"127.0.0.1:8081": true, "127.1.2.3:8081": true, "[::1]:8081": true, "localhost:8081": true,
		"[::ffff:127.0.0.1]:8081": true,
	} {
		_, got := loadWorker(t, locations, dsnVariable, "CERTPURGE_ADMIN_LISTEN="+address)
		if local {
			assertProblems(t, got)
		} else {
			assertProblems(t, got, fmt.Sprintf("CERTPURGE_ADMIN_LISTEN: %s%q", sentence, address))
		}
		for _, login := range []string{
			"CERTPURGE_ADMIN_USERS=alice:view:" + hash10,
			"CERTPURGE_ADMIN_PROXY_ADDRESSES=10.0.0.5",
		} {
			_, got := loadWorker(t, locations, dsnVariable, "CERTPURGE_ADMIN_LISTEN="+address, login)
			assertProblems(t, got)
		}
	}
	_, got := loadWorker(t, locations, dsnVariable, "CERTPURGE_ADMIN_PROBES_LISTEN=127.0.0.1:8081")
	assertProblems(
		t,
		got,
		`CERTPURGE_ADMIN_PROBES_LISTEN: admin.probes_listen: must be another address than admin.listen, is "127.0.0.1:8081" for both`,
	)
}

func TestUsersMayFillAFile(t *testing.T) {
	t.Parallel()
	file := write(t, "users", "alice:view:"+hash10+"\nbob:operate:"+hash10+"\n")
	cfg, got := loadWorker(t, locations, dsnVariable, "CERTPURGE_ADMIN_USERS_FILE="+file)
	assertProblems(t, got)
	if want := "alice:view:" + hash10 + "\nbob:operate:" + hash10; cfg.Admin.Users.Reveal() != want {
		t.Errorf("got %q, want %q", cfg.Admin.Users.Reveal(), want)
	}
}

func TestRulesAreNotAppliedToWhatCouldNotBeRead(t *testing.T) {
	t.Parallel()
	_, got := loadWorker(t, "mysql: {dsn: []}\nlocations: none\n")
	assertProblems(t, got,
		`worker.yaml:1: mysql.dsn: must be a text`,
		`worker.yaml:2: locations: must be a list of locations, is "none"`)
}

func TestTLSNeedsBothFiles(t *testing.T) {
	t.Parallel()
	got := loadEnqueuer(t, "serve: {tls_key_file: key.pem}\n", dsnVariable)
	assertProblems(t, got,
		`enqueuer.yaml:1: serve.tls_key_file: must be set together with serve.tls_certificate_file, or neither`)
	got = loadEnqueuer(t, "serve: {tls_key_file: key.pem, tls_certificate_file: cert.pem}\n", dsnVariable)
	assertProblems(t, got)
}

func TestEncryptionIsSetInOnePlaceAndWhole(t *testing.T) {
	t.Parallel()
	got := loadEnqueuer(t,
		"mysql: {tls: {key_file: a.key}}\nredis: {url: 'rediss://h', tls: {certificate_file: a.pem}}\n", dsnVariable)
	assertProblems(t, got,
		"enqueuer.yaml:1: mysql.tls.key_file: must be set together with mysql.tls.certificate_file, or neither",
		"enqueuer.yaml:2: redis.tls.key_file: must be set together with redis.tls.certificate_file, or neither")
	got = loadEnqueuer(t, "mysql: {tls: {server_name: a}}\nredis: {tls: {ca_file: a.pem}, sentinel_password: hunter2}\n",
		dsnVariable+"?tls=true")
	assertProblems(t, got,
		"CERTPURGE_MYSQL_DSN: mysql.dsn: must not hold the parameter tls while keys of mysql.tls are set; keep one of them",
		"enqueuer.yaml:2: redis.url: must start with rediss while keys of redis.tls are set, or the connection would not "+
			"be encrypted",
		"enqueuer.yaml:2: redis.url: must start with redis+sentinel:// or rediss+sentinel:// while redis.sentinel_username "+
			"or redis.sentinel_password is set")
	_, got = loadWorker(t,
		"mysql: {tls: {ca_file: a.pem}}\nredis: {url: 'rediss+sentinel://h?master_name=m', tls: {certificate_file: a, "+
			"key_file: b},"+
			" sentinel_password_file: "+write(t, "password", "hunter2")+"}\n"+locations, dsnVariable)
	assertProblems(t, got)
}

func TestAWebhookIsSignedAndEncrypted(t *testing.T) {
	t.Parallel()
	got := loadEnqueuer(t, "notify: {url: 'https://hooks.example.org', tls: {key_file: a.key}}\n", dsnVariable)
	assertProblems(t, got,
		"enqueuer.yaml:1: notify.secret: must be set with notify.url: the receiver could not tell who sends",
		"enqueuer.yaml:1: notify.tls.key_file: must be set together with notify.tls.certificate_file, or neither")
	got = loadEnqueuer(t, "notify: {url: 'http://localhost:9000', tls: {ca_file: a.pem}, secret_file: "+
		write(t, "secret", someWebhookSecret+"\n")+"}\n", dsnVariable)
	assertProblems(t, got, "enqueuer.yaml:1: notify.url: must start with https while keys of notify.tls are set, or the "+
		"connection would not be encrypted")
}

func TestTheNewestKeyOfAWebhookComesFirst(t *testing.T) {
	t.Parallel()
	notify := config.Notify{Secret: config.NewSecret("whsec_" + strings.Repeat("AAAA", 8) + " " + someWebhookSecret)}
	keys, err := notify.Keys()
	if err != nil || len(keys) != 2 || len(keys[0]) != 24 || keys[0][0] != 0 || keys[1][0] != 0x31 {
		t.Errorf("got %x, %v", keys, err)
	}
}
