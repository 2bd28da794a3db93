package purge

import (
	"encoding/hex"
	"errors"
	"strings"
)

// errOddLink is the error of a text that is no link: neither a URL, nor a host with a path, nor an absolute path.
var errOddLink = errors.New("not a link")

// NormalLink reduces a link of the LMS, or the beginning of one, to host and decoded path, so that http, https,
// protocol-relative and scheme-less forms, upper-case hosts and default ports compare as equal. gs URLs keep their
// scheme, because a bucket is no host name. A link that is a path only keeps its leading slash. Query and fragment are
// dropped. An invalid escape ("100%.pdf") is kept as it is. Any other text is an error, which never quotes it.
func NormalLink(raw string) (string, error) {
	rest := strings.TrimSpace(raw)
	if strings.ContainsFunc(rest, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return "", errOddLink
	}
	if i := strings.IndexAny(rest, "?#"); i >= 0 {
		rest = rest[:i]
	}
	scheme, defaultPort := "", ""
	switch before, after, found := strings.Cut(rest, "://"); {
	case found && !strings.Contains(before, "/"):
		scheme, rest = strings.ToLower(before), after
	case strings.HasPrefix(rest, "//"):
		rest = rest[2:]
	case strings.HasPrefix(rest, "/"):
		return unescape(rest), nil
	default: // without a scheme, only what looks like a host differs from a relative path
		if host, _, _ := strings.Cut(rest, "/"); !strings.ContainsAny(host, ".:") {
			return "", errOddLink
		}
	}
	host, path, _ := strings.Cut(rest, "/")
	if !isHost(host) {
		return "", errOddLink
	}
	path = "/" + unescape(path)
	switch scheme {
	case "gs":
		return "gs://" + strings.ToLower(host) + path, nil
	case "https":
		defaultPort = ":443"
	case "http":
		defaultPort = ":80"
	case "":
	default:
		return "", errOddLink
	}
	return strings.TrimSuffix(strings.ToLower(host), defaultPort) + path, nil
}

// isHost reports whether a text can be the host of a link, with or without a port, or the name of a bucket.
func isHost(s string) bool {
	name, port, hasPort := s, "", false
	if i := strings.LastIndexByte(s, ':'); i >= 0 && !strings.HasSuffix(s, "]") {
		name, port, hasPort = s[:i], s[i+1:], true
	}
	if hasPort && (port == "" || strings.Trim(port, "0123456789") != "") {
		return false
	}
	return name != "" && !strings.ContainsAny(name, " @\\%\"<>^`{|}")
}

// unescape decodes a percent-encoded path. What is no escape stays as it is.
func unescape(path string) string {
	if !strings.Contains(path, "%") {
		return path
	}
	var b strings.Builder
	for i := 0; i < len(path); i++ {
		if path[i] == '%' && i+2 < len(path) {
			if c, err := hex.DecodeString(path[i+1 : i+3]); err == nil {
				b.Write(c)
				i += 2
				continue
			}
		}
		b.WriteByte(path[i])
	}
	return b.String()
}

// idsIn returns the ids of 32 hexadecimal digits that stand alone in a text.
func idsIn(text string) []string {
	var ids []string
	for _, part := range strings.FieldsFunc(text, func(r rune) bool {
		return (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
	}) {
		if isID(part) {
			ids = append(ids, part)
		}
	}
	return ids
}
