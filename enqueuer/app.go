package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/redis/go-redis/v9"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/certpurge/certpurge/internal/cli"
	"github.com/certpurge/certpurge/internal/config"
	"github.com/certpurge/certpurge/internal/mysql"
	"github.com/certpurge/certpurge/internal/purge"
	"github.com/certpurge/certpurge/internal/queue/inspect"
)

// app is what the commands share: the path of the configuration, and functions that open what it names.
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

// servers holds the ledger and the queue, for commands that compare or change both.
type servers struct {
	store  *mysql.Store
	redis  redis.UniversalClient
	keeper *inspect.Keeper
}

// openBoth opens the databases and Redis, which must take tasks; close closes them.
func (a *app) openBoth(cmd *cobra.Command) (*servers, error) {
	s, err := a.openUnchecked()
	if err != nil {
		return nil, err
	}
	if err := inspect.Check(cmd.Context(), s.redis); err != nil {
		s.close()
		return nil, cli.Unavailable(err)
	}
	return s, nil
}

// openUnchecked is openBoth for commands that work while a server is down.
func (a *app) openUnchecked() (*servers, error) {
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

// printf prints a text. The arguments may come from the ledger or from Redis: control characters are escaped.
func (a *app) printf(format string, args ...any) { cli.Printf(a.streams.Out, format, args...) }

// accepter returns the operator who runs the command if they accept what is in doubt, and an empty string otherwise.
func accepter(accept bool) string {
	if !accept {
		return ""
	}
	return cli.Operator()
}

// submitter holds the flags --requested-by and --ticket.
type submitter struct {
	ticket, behalf string
}

func (s *submitter) add(flags *pflag.FlagSet) {
	s.addName(flags)
	flags.StringVar(&s.ticket, "ticket", "", "number of a ticket, or other `TEXT` of at most 64 characters, to keep in "+
		"the evidence")
}

// addName adds only --requested-by.
func (s *submitter) addName(flags *pflag.FlagSet) {
	flags.StringVar(&s.behalf, "requested-by", "", "`NAME` of the person or system for whom you run this, to keep "+
		"in the evidence; never a learner's name")
}

// check rejects values that the ledger would have to change.
func (s *submitter) check() error {
	if err := purge.CheckTicket(s.ticket); err != nil {
		return cli.Usage("--ticket: %w: %.100q", err, s.ticket)
	}
	if err := purge.CheckBehalf(s.behalf); err != nil {
		return cli.Usage("--requested-by: %w: %.100q", err, s.behalf)
	}
	return nil
}

// by returns the Submission.By of a command.
func (s *submitter) by(command string) string {
	return purge.OnBehalf(command+", "+cli.Operator(), s.behalf)
}

// errNothing returns the error of a command that found nothing about a user. It distinguishes a user whom the LMS does
// not have, most likely a typing mistake, a user for whom no request was ever made, and a user who has requests, but
// none of what the command shows; missing names that.
func errNothing(ctx context.Context, store *mysql.Store, user purge.UserID, missing string) error {
	var states []string
	err := store.EachRequest(ctx, mysql.Filter{User: user}, func(rows []mysql.Request) error {
		for _, r := range rows {
			states = append(states, stateOf(r))
		}
		return nil
	})
	if err != nil {
		return cli.Unavailable(err)
	}
	if len(states) > 0 {
		return cli.Errorf(cli.ExitNothing, "user %d: %s; %s", user, missing, listed(states, 5))
	}
	unknown, err := store.UnknownUsers(ctx, []purge.UserID{user})
	if err != nil {
		return cli.Unavailable(err)
	}
	if len(unknown) > 0 {
		return cli.Usage("the LMS has no user %d, and no request was ever made for such a user", user)
	}
	return cli.Errorf(cli.ExitNotKnown, "user %d: no request was ever made", user)
}

func stateOf(r mysql.Request) string {
	text := fmt.Sprintf("request %d is %s", r.ID, r.State)
	if r.Reason != "" {
		text += fmt.Sprintf(" (%s)", r.Reason)
	}
	return text
}

// listed lists at most limit items for a sentence.
func listed[T any](items []T, limit int) string {
	parts := make([]string, min(len(items), limit))
	for i := range parts {
		parts[i] = fmt.Sprint(items[i])
	}
	text := strings.Join(parts, ", ")
	if more := len(items) - len(parts); more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}
