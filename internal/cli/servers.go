package cli

import (
	"github.com/redis/go-redis/v9"

	"github.com/certpurge/certpurge/internal/config"
	"github.com/certpurge/certpurge/internal/mysql"
	"github.com/certpurge/certpurge/internal/queue"
)

// OpenStore opens the databases that a configuration names, without connecting.
func OpenStore(server config.MySQL, lms config.LMS) (*mysql.Store, error) {
	store, err := mysql.Open(mysql.Config{MySQL: server, LMS: lms})
	if err != nil {
		return nil, &Error{Code: ExitConfiguration, Err: err}
	}
	return store, nil
}

// NewRedis makes a client of the Redis that a configuration names, without connecting.
func NewRedis(server config.Redis) (redis.UniversalClient, error) {
	client, err := queue.NewRedis(server)
	if err != nil {
		return nil, &Error{Code: ExitConfiguration, Err: err}
	}
	return client, nil
}
