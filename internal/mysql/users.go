package mysql

import (
	"context"
	"database/sql"
	"errors"
	"slices"

	"github.com/certpurge/certpurge/internal/purge"
)

// ErrNoSuchName means that no retirement status row holds exactly this original user name: there is no such user, it
// never asked to be retired, or its row has been redacted or cleaned up already.
var ErrNoSuchName = errors.New("no retirement row holds this user name (compared exactly); use the numeric user id")

// ErrAmbiguousName means that several rows hold the same original user name.
var ErrAmbiguousName = errors.New("several retirement rows hold this user name; use the numeric user id")

// UnknownUsers returns those of the ids that the LMS does not have, in their order.
func (s *Store) UnknownUsers(ctx context.Context, ids []purge.UserID) ([]purge.UserID, error) {
	known := make(map[purge.UserID]bool, len(ids))
	for part := range slices.Chunk(ids, acceptBatch) {
		var rows []purge.UserID
		err := s.read(ctx, "looking up users", &rows, "SELECT id FROM "+s.tables.users+" WHERE id IN ?", part)
		if err != nil {
			return nil, err
		}
		for _, id := range rows {
			known[id] = true
		}
	}
	return slices.DeleteFunc(slices.Clone(ids), func(id purge.UserID) bool { return known[id] }), nil
}

// UserByOriginalName finds the retiring user who had this name. The database compares without case and trailing spaces,
// so the exact comparison is made here.
func (s *Store) UserByOriginalName(ctx context.Context, name string) (purge.UserID, error) {
	var rows []struct {
		UserID purge.UserID
		Name   string
	}
	err := s.read(ctx, "looking up a user name", &rows, "SELECT user_id, "+exact("original_username")+" AS name FROM "+
		s.tables.statuses+" WHERE original_username = ?", name)
	if err != nil {
		return 0, err
	}
	var found []purge.UserID
	for _, r := range rows {
		if r.Name == name {
			found = append(found, r.UserID)
		}
	}
	switch len(found) {
	case 0:
		return 0, ErrNoSuchName
	case 1:
		return found[0], nil
	default:
		return 0, ErrAmbiguousName
	}
}

// OriginalName returns the original user name in the retirement status row of a user; empty if there is no row.
func (s *Store) OriginalName(ctx context.Context, user purge.UserID) (name string, err error) {
	err = s.read(ctx, "looking up the name of a user", &name, "SELECT "+exact("original_username")+" FROM "+
		s.tables.statuses+" WHERE user_id = ?", user)
	return name, err
}

// Glance is what the LMS says about a user, without any link.
type Glance struct {
	Retirement purge.Retirement
	Live       int // rows that hold a reference
	History    int
	Counts     bool // whether those of the history count as left
}

// GlanceUser reads eligibility and counts references.
func (s *Store) GlanceUser(ctx context.Context, user purge.UserID) (g Glance, err error) {
	users := map[purge.UserID]purge.User{}
	err = each(ctx, s.sql, func(rows *sql.Rows) error { return scanUser(rows, users) }, s.tables.retirement("= ?"), user)
	if err != nil {
		return g, classify("reading the LMS database", err)
	}
	g.Retirement = users[user].Retirement
	g.Counts = len(s.counting()) > 1
	for table, n := range map[string]*int{s.tables.certificates: &g.Live, s.tables.history: &g.History} {
		found, err := s.referring(ctx, table, []purge.UserID{user})
		if err != nil {
			return g, err
		}
		*n = found[user]
	}
	return g, nil
}
