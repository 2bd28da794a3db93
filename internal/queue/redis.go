package queue

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/certpurge/certpurge/internal/config"
)

// The library's own log repeats, on standard error, what every call returns.
func init() { redis.SetLogger(silent{}) }

type silent struct{}

// Printf implements the library's logger.
func (silent) Printf(context.Context, string, ...any) {}

// redisForms are the URL schemes that NewRedis understands.
const redisForms = "redis://user:password@host:6379/5, rediss:// for TLS, unix:///path?db=5, " +
	"redis+sentinel://host:26379/5?master_name=NAME&addr=host2:26379, redis+cluster://host:6379?addr=host2:6379 (and " +
	"rediss+...)"

// NewRedis makes a client without connecting. asynq's own parser drops ACL user names and knows no cluster, so
// go-redis's parsers are used. The error never holds the URL, which may hold a password.
func NewRedis(cfg config.Redis) (redis.UniversalClient, error) {
	wanted, err := cfg.TLS.Client("redis.tls")
	if err != nil {
		return nil, err
	}
	url := cfg.URL.Reveal()
	scheme, rest, ok := strings.Cut(url, "://")
	base, kind, _ := strings.Cut(scheme, "+")
	if !ok || (base != "redis" && base != "rediss" && scheme != "unix") {
		return nil, errors.New("redis.url: expected one of " + redisForms)
	}
	var makeClient func() redis.UniversalClient
	var encrypted **tls.Config
	var settings []setting
	switch kind {
	case "":
		var o *redis.Options
		if o, err = redis.ParseURL(url); err == nil {
			encrypted, settings = &o.TLSConfig, account(cfg, &o.Username, &o.Password)
			makeClient = func() redis.UniversalClient { return redis.NewClient(o) }
		}
	case "sentinel":
		var o *redis.FailoverOptions
		if o, err = redis.ParseFailoverURL(base + "://" + rest); err == nil && o.MasterName == "" {
			err = errors.New("no master_name")
		}
		if err == nil {
			encrypted, settings = &o.TLSConfig, append(account(cfg, &o.Username, &o.Password),
				setting{"redis.sentinel_username", &o.SentinelUsername, cfg.SentinelUsername},
				setting{"redis.sentinel_password", &o.SentinelPassword, cfg.SentinelPassword.Reveal()})
			makeClient = func() redis.UniversalClient { return redis.NewFailoverClient(o) }
		}
	case "cluster":
		var o *redis.ClusterOptions
		if o, err = redis.ParseClusterURL(base + "://" + rest); err == nil {
			encrypted, settings = &o.TLSConfig, account(cfg, &o.Username, &o.Password)
			makeClient = func() redis.UniversalClient { return redis.NewClusterClient(o) }
		}
	default:
		err = errors.New("unknown kind")
	}
	if err != nil {
		return nil, errors.New("redis.url: not a valid URL (write # / @ in a password as %23 %2F %40); " +
			"expected one of " + redisForms)
	}
	for _, s := range settings {
		if err := s.apply(); err != nil {
			return nil, err
		}
	}
	if *encrypted != nil {
		secure(*encrypted, wanted)
	}
	return makeClient(), nil
}

// account returns the settings of the Redis servers' account.
func account(cfg config.Redis, username, password *string) []setting {
	return []setting{
		{"redis.username", username, cfg.Username}, {"redis.password", password, cfg.Password.Reveal()},
	}
}

// setting is a part of the client's options that may be in the URL or in a key of its own.
type setting struct {
	key    string
	option *string
	value  string
}

func (s setting) apply() error {
	switch {
	case s.value == "":
		return nil
	case *s.option != "":
		return fmt.Errorf("%s: redis.url holds one too; keep one of them", s.key)
	default:
		*s.option = s.value
		return nil
	}
}

// secure prepares the encryption that a URL demands. For a cluster, and for Sentinel and its servers, the parsers
// expect the certificate of the first node from every node. Without a name, each must show that of the host that is
// dialled.
func secure(client, wanted *tls.Config) {
	client.ServerName = ""
	client.MinVersion = tls.VersionTLS12
	if wanted != nil {
		client.ServerName, client.RootCAs = wanted.ServerName, wanted.RootCAs
		client.GetClientCertificate = wanted.GetClientCertificate
	}
}
