package cli

import (
	"github.com/redis/go-redis/v9"

	"github.com/certpurge/certpurge/internal/config"
	"github.com/certpurge/certpurge/internal/mysql"
	"github.com/certpurge/certpurge/internal/queue"
)

// OpenStore opens the databases that a configuration names, without connecting.
func OpenStore(server config.MySQL, lms config.LMS) (*mysql.Store, error) {
	encryption, err := server.TLS.Client("mysql.tls")
	if err != nil {
		return nil, &Error{Code: ExitConfiguration, Err: err}
	}
	store, err := mysql.Open(mysql.Config{
		DSN: server.DSN.Reveal(), TLS: encryption, LMSDatabase: lms.Database, ClearHistory: lms.ClearHistory,
		MaxOpenConnections: server.MaxOpenConnections, ConnectTimeout: server.ConnectTimeout,
		QueryTimeout: server.QueryTimeout,
	})
	if err != nil {
		return nil, &Error{Code: ExitConfiguration, Err: err}
	}
	return store, nil
}

// NewRedis makes a client of the Redis that a configuration names, without connecting.
func NewRedis(server config.Redis) (redis.UniversalClient, error) {
	encryption, err := server.TLS.Client("redis.tls")
	if err != nil {
		return nil, &Error{Code: ExitConfiguration, Err: err}
	}
	client, err := queue.OpenRedis(queue.RedisConfig{
		URL: server.URL.Reveal(), Username: server.Username, Password: server.Password.Reveal(),
		SentinelUsername: server.SentinelUsername, SentinelPassword: server.SentinelPassword.Reveal(), TLS: encryption,
	})
	if err != nil {
		return nil, &Error{Code: ExitConfiguration, Err: err}
	}
	return client, nil
}
