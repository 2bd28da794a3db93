package mysql

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/certpurge/certpurge/internal/purge"
)

// retireesPage is how many retirement requests EachRetiree reads at a time.
const retireesPage = 1_000

// EachRetiree calls do for every user with a retirement request, in the order of their ids. It reads them in pages, as
// Retirees does.
func (s *Store) EachRetiree(ctx context.Context, do func(purge.Retiree) error) error {
	for last := purge.UserID(0); ; {
		page, err := s.Retirees(ctx, last, retireesPage)
		if err != nil {
			return err
		}
		for _, retiree := range page {
			if err := do(retiree); err != nil {
				return err
			}
			last = retiree.User
		}
		if len(page) < retireesPage {
			return nil
		}
	}
}

// Retirees returns users with a retirement request, in the order of their ids after a given one; fewer than limit only
// if there are no more. Each page is a short statement over the unique index of the requests' user_id.
func (s *Store) Retirees(ctx context.Context, after purge.UserID, limit int) ([]purge.Retiree, error) {
	var page []struct {
		UserID    purge.UserID
		HasStatus bool
		State     *string
		Since     time.Time
	}
	err := s.read(ctx, "reading retirement requests", &page, "SELECT r.user_id, s.id IS NOT NULL AS has_status, "+
		exact("t.state_name")+" AS state, COALESCE(s.created, r.created) AS since FROM "+
		s.tables.requests+" r LEFT JOIN "+s.tables.statuses+" s ON s.user_id = r.user_id LEFT JOIN "+s.tables.states+
		" t ON t.id = s.current_state_id WHERE r.user_id > ? ORDER BY r.user_id LIMIT ?", after, limit)
	if err != nil {
		return nil, err
	}
	retirees := make([]purge.Retiree, len(page))
	for i, row := range page {
		r := purge.Retirement{UserExists: true, Requested: true}
		switch {
		case row.State != nil:
			r.State = *row.State
		case row.HasStatus:
			r.State = purge.StateUnknown
		}
		retirees[i] = purge.Retiree{User: row.UserID, Retirement: r, Since: row.Since}
	}
	return retirees, nil
}

// Standings returns the standing of each user who has a reference, live or in the history; the others are missing.
// Requests about single certificates do not count, because they say nothing about the user's other certificates.
func (s *Store) Standings(ctx context.Context, users []purge.UserID) (map[purge.UserID]purge.Standing, error) {
	if len(users) == 0 {
		return nil, nil
	}
	found, counting := map[purge.UserID]purge.Standing{}, map[purge.UserID]int{}
	for _, table := range []string{s.tables.certificates, s.tables.history} {
		references, err := s.referring(ctx, table, users)
		if err != nil {
			return nil, err
		}
		for id, n := range references {
			found[id] = purge.Standing{}
			if slices.Contains(s.counting(), table) {
				counting[id] += n
			}
		}
	}
	if len(found) == 0 {
		return found, nil
	}
	left := slices.Collect(maps.Keys(found))
	var rows []Request
	if err := s.gorm.WithContext(ctx).Select("user_id, state, finished_at, "+
		"references_kept").Where("user_id IN ? AND certificate_id = 0", left).Order("id").Find(&rows).Error; err != nil {
		return nil, classify("looking up requests", err)
	}
	kept := map[purge.UserID]int{}
	for _, r := range rows {
		standing := found[r.UserID]
		switch {
		case !r.State.Ended():
			standing.Open = true
		case r.FinishedAt != nil && !r.FinishedAt.Before(standing.EndedAt):
			standing.Ended, standing.EndedAt = r.State, *r.FinishedAt
			kept[r.UserID] = r.ReferencesKept
		}
		found[r.UserID] = standing
	}
	for id, standing := range found {
		standing.Left = counting[id] > kept[id]
		found[id] = standing
	}
	return found, nil
}

// referring counts the references in a table of those of the users that have any.
func (s *Store) referring(ctx context.Context, table string, users []purge.UserID) (map[purge.UserID]int, error) {
	var rows []struct {
		UserID purge.UserID
		N      int
	}
	err := s.read(ctx, "asking the LMS database", &rows, "SELECT user_id, COUNT(*) AS n FROM "+table+
		" WHERE user_id IN ? AND "+hasReference+" GROUP BY user_id", users)
	found := make(map[purge.UserID]int, len(rows))
	for _, row := range rows {
		found[row.UserID] = row.N
	}
	return found, err
}
