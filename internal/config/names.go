package config

import (
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"github.com/certpurge/certpurge/internal/purge"
)

var bucketCharacters = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]+[a-z0-9]$`)

// isBucketName follows https://cloud.google.com/storage/docs/buckets#naming.
func isBucketName(s string) bool {
	if !bucketCharacters.MatchString(s) || len(s) > 222 || net.ParseIP(s) != nil {
		return false
	}
	for part := range strings.SplitSeq(s, ".") {
		if part == "" || len(part) > 63 {
			return false
		}
	}
	return !strings.HasPrefix(s, "goog") && !strings.Contains(s, "google")
}

// isObjectPrefix accepts "" and directories with their closing slash. Without that slash the listing of one prefix
// would match longer names.
func isObjectPrefix(s string) bool {
	directory, closed := strings.CutSuffix(s, "/")
	return s == "" || closed && isDirectory(directory)
}

// isDirectory accepts one or more path segments. Object names are not paths to Cloud Storage, but "." and ".." are to
// other programs that read them, and an empty segment is a slip.
func isDirectory(s string) bool {
	if strings.Contains(s, "..") || strings.ContainsFunc(s, func(r rune) bool {
		return !unicode.IsPrint(r) || r == unicode.ReplacementChar || r == '\\'
	}) {
		return false
	}
	segments := strings.Split(s, "/")
	return !slices.Contains(segments, "") && !slices.Contains(segments, ".")
}

// isURLPrefix accepts the beginning of a download URL, with or without scheme and host. The closing slash keeps one
// bucket's prefix from matching another bucket with a longer name.
func isURLPrefix(s string) bool {
	if _, err := purge.NormalLink(s); err != nil || strings.ContainsAny(s, "?# ") || !strings.HasSuffix(s, "/") {
		return false
	}
	_, err := url.PathUnescape(s) // a link may hold a % that is no escape; in a prefix it is a slip
	return err == nil
}

// isEndpointURL accepts the base URL of a service.
func isEndpointURL(s string) bool {
	u, ok := plainURL(s)
	return ok && (u.Scheme == "http" || u.Scheme == "https")
}

// plainURL parses a URL with a host and without user, query and fragment.
func plainURL(s string) (*url.URL, bool) {
	u, err := url.Parse(s)
	if err != nil || u.Hostname() == "" || u.User != nil || strings.ContainsAny(s, "?# ") {
		return nil, false
	}
	return u, true
}

// isPrivateEndpoint reports whether the endpoint cannot be the real service: a loopback address, in any spelling,
// or one without TLS.
func isPrivateEndpoint(endpoint string) bool {
	u, ok := plainURL(endpoint)
	if !ok {
		return false // Reported as malformed.
	}
	host := strings.TrimSuffix(strings.ToLower(u.Hostname()), ".")
	if ip, err := netip.ParseAddr(host); err == nil {
		ip = ip.Unmap()
		return u.Scheme == "http" || ip.IsLoopback() || ip.IsUnspecified()
	}
	return u.Scheme == "http" || loopbackNames[host] || strings.HasSuffix(host, ".localhost") ||
		numericEnd.MatchString(host)
}

// loopbackNames are those of the usual hosts files.
var loopbackNames = map[string]bool{
	"localhost": true, "localhost.localdomain": true, "localhost4": true, "localhost6": true,
	"localhost6.localdomain6": true, "ip6-localhost": true, "ip6-loopback": true,
}

// numericEnd matches a host whose last part is a number: an IPv4 address in one of the old spellings, 127.1 or
// 2130706433 or 0x7f.1, which some resolvers still read. No name of a public service is one.
var numericEnd = regexp.MustCompile(`(^|\.)([0-9]+|0x[0-9a-f]*)$`)
