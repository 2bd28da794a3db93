package config

import (
	"fmt"
	"math"
	"net"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/certpurge/certpurge/internal/login"
)

// rule is what a name in a validate tag means, to the validator, in a problem and in the documentation.
type rule struct {
	// holds checks a value; nil for the validator's own rules.
	holds func(value reflect.Value, param string) bool
	// must is what fits after "must", for the rule's parameter.
	must func(param string) string
	// silent rules do not show the value in a problem: it is secret, or adds nothing.
	silent bool
}

// rules are all the names that validate tags use, besides "omitempty" and "dive".
var rules = map[string]rule{
	"required": {must: fixed("be set"), silent: true},
	"min":      {must: func(param string) string { return "have at least " + param + " entry" }, silent: true},
	"oneof":    {must: func(param string) string { return "be one of " + strings.ReplaceAll(param, " ", ", ") }},
	"between": {
		holds: isBetween,
		must:  func(param string) string { return "be between " + strings.Replace(param, " ", " and ", 1) },
	},
	"whole_seconds": {
		holds: func(value reflect.Value, param string) bool {
			return value.Int()%int64(time.Second) == 0 && isBetween(value, param)
		},
		must: func(param string) string {
			return "be whole seconds between " + strings.Replace(param, " ", " and ", 1)
		},
	},
	"mysql_dsn": {
		holds:  onText(isMySQLDSN),
		must:   fixed("be written user:password@tcp(host:3306)/certpurge and name the ledger's database"),
		silent: true,
	},
	"redis_url": {
		holds: onText(isRedisURL),
		// The separator belongs to the sentence: "redis:host" is the most common slip.
		must:   fixed("start with one of " + strings.Join(redisSchemes, "://, ") + "://"),
		silent: true,
	},
	"database_name": {
		holds: onText(regexp.MustCompile(`^[0-9A-Za-z_$-]{1,64}$`).MatchString),
		must:  fixed("be the name of a database: 1 to 64 of A-Z, a-z, 0-9, _, $ and -"),
	},
	"contains_pending": {
		holds: func(value reflect.Value, _ string) bool {
			states, ok := reflect.TypeAssert[[]string](value)
			return ok && slices.Contains(states, "PENDING")
		},
		must:   fixed("contain PENDING, the state in which a user can still cancel"),
		silent: true,
	},
	"state_name": {
		// 30 is the width of the LMS's column.
		holds: onText(regexp.MustCompile(`^[A-Z0-9_]{1,30}$`).MatchString),
		must:  fixed("be the name of a retirement state: 1 to 30 of A-Z, 0-9 and _"),
	},
	"location_name": {
		holds: onText(regexp.MustCompile(`^[a-z0-9-]{1,32}$`).MatchString),
		must:  fixed("be 1 to 32 of a-z, 0-9 and -"),
	},
	"bucket_name": {
		holds: onText(isBucketName),
		must: fixed("be the name of a Cloud Storage bucket: 3 to 63 of a-z, 0-9, -, _ and ., starting and ending with a " +
			"letter or digit"),
	},
	"object_prefix": {
		holds: onText(isObjectPrefix),
		must:  fixed(`be empty or end with "/", without "/" at its start, "//" or ".."`),
	},
	"directory": {
		holds: onText(isDirectory),
		must:  fixed(`be one or more names with "/" between them, and none at the start or the end`),
	},
	"url_prefix": {
		holds: onText(isURLPrefix),
		must: fixed(
			`be https://, http://, //, gs:// or nothing, then a host and a path, or a path alone, and end with "/", ` +
				`without user, query and fragment`,
		),
	},
	"endpoint_url": {
		holds: onText(isEndpointURL),
		must:  fixed("be an http:// or https:// URL without user, query and fragment"),
	},
	"webhook_url": {
		holds: onText(isWebhookURL),
		must: fixed("be an https:// URL, or an http:// URL of this machine such as http://127.0.0.1:9000/hook, without " +
			"user, query and fragment"),
	},
	"webhook_secrets": {
		holds: onText(func(s string) bool { _, err := parseWebhookKeys(s); return err == nil }),
		must: fixed(fmt.Sprintf("be whsec_ and %d to %d bytes in Base64, or several of these with blanks between them",
			minWebhookKey, maxWebhookKey)),
		silent: true,
	},
	"uri_reference": {
		holds: onText(isURIReference),
		must:  fixed("be a URI or the path of one, such as https://certpurge.example.org or certpurge, without blanks"),
	},
	"token_sha256": {
		holds: onText(isTokenSHA256),
		must:  fixed("be the SHA-256 of a token that is not empty: 64 of 0-9 and a-f"),
	},
	"path_prefix": {
		holds: onText(regexp.MustCompile(`^(/[0-9A-Za-z._~-]+)*$`).MatchString),
		must:  fixed(`be empty or start with "/" and not end with it, of A-Z, a-z, 0-9, ".", "_", "~", "-" and "/"`),
	},
	"admin_users": {
		holds: func(value reflect.Value, _ string) bool {
			_, err := login.ParseUsers(value.String())
			return err == nil
		},
		must: fixed(fmt.Sprintf("be entries NAME:view:HASH or NAME:operate:HASH with bcrypt hashes of one cost, %d to %d, "+
			"and a name only once",
			login.MinCost, login.MaxCost)),
		silent: true,
	},
	"address": {
		holds: func(value reflect.Value, _ string) bool {
			_, err := login.ParseAddresses([]string{value.String()})
			return err == nil
		},
		must: fixed("be an IP address or a network such as 10.1.0.0/16"),
	},
	"header_name": {
		holds: onText(regexp.MustCompile(`^[0-9A-Za-z-]{1,64}$`).MatchString),
		must:  fixed("be the name of an HTTP header"),
	},
	"listen_address": {
		holds: onText(isListenAddress),
		must:  fixed("be written host:port or :port, or be empty"),
	},
}

func fixed(sentence string) func(string) string {
	return func(string) string { return sentence }
}

// onText makes a check of a text from a check of a string.
func onText(holds func(string) bool) func(reflect.Value, string) bool {
	return func(value reflect.Value, _ string) bool { return holds(value.String()) }
}

// isBetween checks a number or a duration against two bounds, both included.
func isBetween(value reflect.Value, param string) bool {
	low, high, _ := strings.Cut(param, " ")
	number := value.Convert(reflect.TypeFor[float64]()).Float()
	return bound(low) <= number && number <= bound(high)
}

// bound reads a number, or a duration as its nanoseconds. Of a misspelt one it makes NaN, which no value keeps.
func bound(s string) float64 {
	if d, err := ParseDuration(s); err == nil {
		return float64(d)
	}
	number, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return math.NaN()
	}
	return number
}

func isMySQLDSN(s string) bool {
	dsn, err := mysql.ParseDSN(s) // The error may quote the DSN, so it goes nowhere.
	return err == nil && dsn.DBName != ""
}

var redisSchemes = []string{
	"redis", "rediss", "unix", "redis+sentinel", "rediss+sentinel", "redis+cluster",
	"rediss+cluster",
}

// isRedisURL checks the scheme only: the rest is parsed by the package that connects.
func isRedisURL(s string) bool {
	scheme, rest, found := strings.Cut(s, "://")
	return found && rest != "" && slices.Contains(redisSchemes, scheme)
}

func isListenAddress(s string) bool {
	host, port, err := net.SplitHostPort(s)
	if err != nil || strings.ContainsAny(host, "/ @") {
		return false
	}
	_, err = strconv.ParseUint(port, 10, 16)
	return err == nil
}

// describeRules says in words what a validate tag asks for.
func describeRules(tag string) string {
	var sentences []string
	optional, each := false, ""
	for part := range strings.SplitSeq(tag, ",") {
		name, param, _ := strings.Cut(part, "=")
		switch name {
		case "":
		case "omitempty":
			optional = true
		case "dive":
			each = "each "
		default:
			if r, ok := rules[name]; ok {
				sentences = append(sentences, each+"must "+r.must(param))
			} else {
				sentences = append(sentences, fmt.Sprintf("%s(%s)", name, param))
			}
		}
	}
	sentence := strings.Join(sentences, "; ")
	if optional && !strings.Contains(sentence, "empty") {
		sentence = strings.Replace(sentence, "must ", "must be empty or ", 1)
	}
	return sentence
}
