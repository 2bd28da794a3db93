package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/certpurge/certpurge/internal/cli"
	"github.com/certpurge/certpurge/internal/mysql"
	"github.com/certpurge/certpurge/internal/purge"
)

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
