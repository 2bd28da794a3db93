package config

import (
	"fmt"
	"strings"

	"github.com/go-sql-driver/mysql"

	"github.com/certpurge/certpurge/internal/login"
	"github.com/certpurge/certpurge/internal/purge"
)

func (e *Enqueuer) checkTogether(report func(path, sentence string)) {
	checkDatabases(e.MySQL, e.LMS, report)
	checkTLS(e.MySQL, e.Redis, report)
	checkJWT(&e.JWT, report)
	checkTokens(e.Tokens, report)
	checkPair("serve.tls_", e.Serve.TLSCertificateFile, e.Serve.TLSKeyFile, report)
	checkNotify(e.Notify, report)
	checkAdmin(e.Admin, report)
}

func (w *Worker) checkTogether(report func(path, sentence string)) {
	checkDatabases(w.MySQL, w.LMS, report)
	checkTLS(w.MySQL, w.Redis, report)
	checkQueue(w.Queue, w.Tasks, report)
	checkGCS(w.GCS, report)
	checkLocations(w.Locations, report)
	checkAdmin(w.Admin, report)
}

// checkAdmin refuses pages without a login on an address that other machines can reach.
func checkAdmin(admin Admin, report func(path, sentence string)) {
	open := admin.Users.IsZero() && len(admin.Proxy.Addresses) == 0
	if open && isListenAddress(admin.Listen) && !login.IsLocal(admin.Listen) {
		report("admin.listen", "must be an address of this machine only, such as 127.0.0.1:8081, while there are no "+
			"admin.users and no admin.proxy.addresses"+
			" (probes can be moved to admin.probes_listen), is "+describe(admin.Listen))
	}
	if admin.ProbesListen != "" && admin.ProbesListen == admin.Listen {
		report("admin.probes_listen", "must be another address than admin.listen, is "+describe(admin.ProbesListen)+
			" for both")
	}
}

// checkDatabases keeps the ledger out of the LMS's schema. Names are compared without case, as some servers do.
func checkDatabases(server MySQL, lms LMS, report func(path, sentence string)) {
	dsn, err := mysql.ParseDSN(server.DSN.Reveal())
	if err == nil && strings.EqualFold(dsn.DBName, lms.Database) {
		report("lms.database", fmt.Sprintf("must be another database than that of mysql.dsn, which is the ledger's, is "+
			"%s for both",
			describe(lms.Database)))
	}
}

// checkTLS reports encryption that is set in two places, or only in part.
func checkTLS(server MySQL, redis Redis, report func(path, sentence string)) {
	checkPair("mysql.tls.", server.TLS.CertificateFile, server.TLS.KeyFile, report)
	checkPair("redis.tls.", redis.TLS.CertificateFile, redis.TLS.KeyFile, report)
	dsn, err := mysql.ParseDSN(server.DSN.Reveal())
	if err == nil && dsn.TLSConfig != "" && server.TLS != (TLS{}) {
		report("mysql.dsn", "must not hold the parameter tls while keys of mysql.tls are set; keep one of them")
	}
	scheme, _, found := strings.Cut(redis.URL.Reveal(), "://")
	if found && !strings.HasPrefix(scheme, "rediss") && redis.TLS != (TLS{}) {
		report("redis.url",
			"must start with rediss while keys of redis.tls are set, or the connection would not be encrypted")
	}
	ofSentinel := redis.SentinelUsername != "" || !redis.SentinelPassword.IsZero()
	if found && !strings.HasSuffix(scheme, "+sentinel") && ofSentinel {
		report("redis.url", "must start with redis+sentinel:// or rediss+sentinel:// while redis.sentinel_username or"+
			" redis.sentinel_password is set")
	}
}

func checkPair(prefix, certificate, key string, report func(path, sentence string)) {
	if (certificate == "") != (key == "") {
		report(prefix+"key_file", "must be set together with "+prefix+"certificate_file, or neither")
	}
}

func checkQueue(queue Queue, tasks Tasks, report func(path, sentence string)) {
	if queue.RetryCap < queue.RetryBase {
		report("queue.retry_cap", fmt.Sprintf("must not be less than queue.retry_base (%s), is %s",
			formatDuration(queue.RetryBase), formatDuration(queue.RetryCap)))
	}
	if queue.DrainTimeout >= tasks.Timeout {
		report("queue.drain_timeout", fmt.Sprintf("must be less than tasks.timeout (%s), is %s",
			formatDuration(tasks.Timeout), formatDuration(queue.DrainTimeout)))
	}
}

func checkGCS(gcs GCS, report func(path, sentence string)) {
	checkRate("gcs.delete_rate", gcs.DeleteRate, report)
	checkRate("gcs.read_rate", gcs.ReadRate, report)
	if gcs.Anonymous && gcs.Endpoint == "" {
		report("gcs.anonymous", "must be false without gcs.endpoint, is true")
	}
	if isPrivateEndpoint(gcs.Endpoint) && !gcs.AllowEmulator {
		report("gcs.endpoint", "must not be a loopback or plain http address while gcs.allow_emulator is false, is "+
			describe(gcs.Endpoint))
	}
}

func checkRate(path string, rate Rate, report func(path, sentence string)) {
	if rate.Ceiling < rate.Start {
		report(path+".ceiling", fmt.Sprintf("must not be less than %s.start (%d), is %d", path, rate.Start, rate.Ceiling))
	}
}

func checkLocations(locations []Location, report func(path, sentence string)) {
	names, prefixes := map[string]string{}, map[string]string{}
	for i, location := range locations {
		checkUnique(names, location.Name, fmt.Sprintf("locations[%d].name", i), report)
		if isDirectory(location.DownloadsDir) && isDirectory(location.VerifyDir) &&
			purge.Nested(location.DownloadsDir, location.VerifyDir) {
			report(fmt.Sprintf("locations[%d].verify_dir", i), fmt.Sprintf(
				"must not be the directory of downloads_dir (%s), nor in it or around it, is %s",
				location.DownloadsDir, describe(location.VerifyDir)))
		}
		for j, prefix := range location.URLPrefixes {
			path := fmt.Sprintf("locations[%d].url_prefixes[%d]", i, j)
			if first, taken := prefixes[normalPrefix(prefix)]; taken {
				report(path, fmt.Sprintf("must stand in one location only, is %s like %s", describe(prefix), first))
				continue
			}
			prefixes[normalPrefix(prefix)] = path
		}
	}
}

// normalPrefix is prefix with the scheme and the host in lower case, where case does not count.
func normalPrefix(prefix string) string {
	scheme, rest, found := strings.Cut(prefix, "//")
	if !found {
		return prefix
	}
	host, path, _ := strings.Cut(rest, "/")
	return strings.ToLower(scheme+"//"+host) + "/" + path
}
