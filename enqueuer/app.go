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

// submitter is the flags that say on whose behalf an operator submits, and with which ticket.
type submitter struct {
	ticket, behalf string
}

func (s *submitter) add(flags *pflag.FlagSet) {
	s.addName(flags)
	flags.StringVar(&s.ticket, "ticket", "", "`TEXT` of your own, such as the number of a ticket, for the evidence: at "+
		"most 64 characters")
}

// addName adds only the flag that says on whose behalf.
func (s *submitter) addName(flags *pflag.FlagSet) {
	flags.StringVar(&s.behalf, "requested-by", "", "`NAME` of the person or system on whose behalf you ask, for the "+
		"evidence; no learner's")
}

// check rejects what the ledger cannot keep as it is.
func (s *submitter) check() error {
	if err := purge.CheckTicket(s.ticket); err != nil {
		return cli.Usage("--ticket: %w: %.100q", err, s.ticket)
	}
	if err := purge.CheckBehalf(s.behalf); err != nil {
		return cli.Usage("--requested-by: %w: %.100q", err, s.behalf)
	}
	return nil
}

// by is purge.Submission.By of a command.
func (s *submitter) by(command string) string {
	return purge.OnBehalf(command+", "+cli.Operator(), s.behalf)
}

// nothingOf is the error of a command that has nothing to show of a user. It tells apart a user whom the LMS does not
// have, most likely a typing mistake; one for whom no request was ever made; and one who has requests, but not what was
// requested.
func nothingOf(ctx context.Context, store *mysql.Store, user purge.UserID, missing string) error {
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
		return &cli.Error{Code: cli.ExitNothing, Err: fmt.Errorf("user %d: %s; %s", user, missing, listed(states))}
	}
	unknown, err := store.UnknownUsers(ctx, []purge.UserID{user})
	if err != nil {
		return cli.Unavailable(err)
	}
	if len(unknown) > 0 {
		return cli.Usage("the LMS has no user %d, and no request was ever made for such a user", user)
	}
	return &cli.Error{Code: cli.ExitNotKnown, Err: fmt.Errorf("user %d: no request was ever made", user)}
}

func stateOf(r mysql.Request) string {
	text := fmt.Sprintf("request %d is %s", r.ID, r.State)
	if r.Reason != "" {
		text += fmt.Sprintf(" (%s)", r.Reason)
	}
	return text
}

// listed joins parts for a sentence, not more than a line holds.
func listed(parts []string) string {
	const shown = 5
	text := strings.Join(parts[:min(len(parts), shown)], ", ")
	if more := len(parts) - shown; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}
