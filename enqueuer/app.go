package main

import (
	"context"
	"errors"

	"github.com/redis/go-redis/v9"
	"github.com/spf13/cobra"

	"github.com/certpurge/certpurge/internal/cli"
	"github.com/certpurge/certpurge/internal/config"
	"github.com/certpurge/certpurge/internal/mysql"
	"github.com/certpurge/certpurge/internal/queue/inspect"
)

// app is what the commands share: where the configuration is, and how to open what it names.
type app struct {
	streams cli.Streams
	path    string
}

// openStore loads the configuration and opens the databases.
func (a *app) openStore() (config.Enqueuer, *mysql.Store, error) {
	cfg, err := config.LoadEnqueuer(a.path, a.streams.Environ)
	if err != nil {
		return cfg, nil, err
	}
	store, err := cli.OpenStore(cfg.MySQL, cfg.LMS)
	return cfg, store, err
}

// openRedis connects to the queue's Redis. check says whether it may be used: inspect.Check for a command that puts
// tasks into it, queue.Ping for one that reads.
func openRedis(
	cmd *cobra.Command, cfg config.Enqueuer, check func(context.Context, redis.UniversalClient) error,
) (redis.UniversalClient, error) {
	rdb, err := cli.NewRedis(cfg.Redis)
	if err != nil {
		return nil, err
	}
	if err := check(cmd.Context(), rdb); err != nil {
		return nil, errors.Join(cli.Unavailable(err), rdb.Close())
	}
	return rdb, nil
}

// servers is what the commands need that compare ledger and queue, or change both.
type servers struct {
	store  *mysql.Store
	redis  redis.UniversalClient
	keeper *inspect.Keeper
}

// openBoth opens the databases and Redis, which must take tasks; close closes them.
func (a *app) openBoth(cmd *cobra.Command) (*servers, error) {
	s, err := a.openWithoutAsking()
	if err != nil {
		return nil, err
	}
	if err := inspect.Check(cmd.Context(), s.redis); err != nil {
		s.close()
		return nil, cli.Unavailable(err)
	}
	return s, nil
}

// openWithoutAsking is openBoth for servers that may be away.
func (a *app) openWithoutAsking() (*servers, error) {
	cfg, store, err := a.openStore()
	if err != nil {
		return nil, err
	}
	rdb, err := cli.NewRedis(cfg.Redis)
	if err != nil {
		return nil, errors.Join(err, store.Close())
	}
	keeper := inspect.NewKeeper(rdb, cfg.Tasks)
	return &servers{store: store, redis: rdb, keeper: keeper}, nil
}

func (s *servers) close() {
	_ = s.redis.Close() // the command has its answer; there is nothing left to lose
	_ = s.store.Close()
}

// printJSON writes one object on one line.
func (a *app) printJSON(v any) error { return cli.PrintJSON(a.streams.Out, v) }

// printf prints a text; what it is given may come from the ledger or from Redis.
func (a *app) printf(format string, args ...any) { cli.Printf(a.streams.Out, format, args...) }

// accepter names who runs the command if what is in doubt is accepted; otherwise it is empty.
func accepter(accept bool) string {
	if !accept {
		return ""
	}
	return cli.Operator()
}
