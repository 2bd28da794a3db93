package mysql

import (
	"context"
	"time"

	"github.com/certpurge/certpurge/internal/purge"
)

// Retirees returns users with a retirement request, in the order of their ids behind a given one; fewer than limit only if
// there are no more. Each page is a short statement over the unique index of the requests' user_id.
func (s *Store) Retirees(ctx context.Context, after purge.UserID, limit int) ([]purge.Retiree, error) {
	var page []struct {
		UserID    purge.UserID
		HasStatus bool
		State     *string
		Since     time.Time
	}
	err := s.gorm.WithContext(ctx).Raw("SELECT r.user_id, s.id IS NOT NULL AS has_status, "+exact("t.state_name")+" AS state,"+
		" COALESCE(s.created, r.created) AS since FROM "+
		s.tables.requests+" r LEFT JOIN "+s.tables.statuses+" s ON s.user_id = r.user_id LEFT JOIN "+s.tables.states+
		" t ON t.id = s.current_state_id WHERE r.user_id > ? ORDER BY r.user_id LIMIT ?", after, limit).Scan(&page).Error
	if err != nil {
		return nil, classify("reading retirement requests", err)
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

// Standings tells those of the users apart that have a reference, live or in the history, and how each stands. Users without
// one are missing. Requests about single certificates say nothing about the rest of a user, and do not count.
func (s *Store) Standings(ctx context.Context, users []purge.UserID) (map[purge.UserID]purge.Standing, error) {
	if len(users) == 0 {
		return nil, nil
	}
	found := map[purge.UserID]purge.Standing{}
	for _, table := range []string{s.tables.history, s.tables.certificates} { // the live table decides last
		ids, err := s.referring(ctx, table, users)
		if err != nil {
			return nil, classify("asking the LMS database", err)
		}
		for _, id := range ids {
			found[id] = purge.Standing{Left: table == s.tables.certificates || s.clear}
		}
	}
	if len(found) == 0 {
		return found, nil
	}
	left := make([]purge.UserID, 0, len(found))
	for id := range found {
		left = append(left, id)
	}
	var rows []Request
	if err := s.gorm.WithContext(ctx).Select("user_id, state, finished_at").Where("user_id IN ? AND certificate_id = 0", left).Order("id").Find(&rows).Error; err != nil {
		return nil, classify("looking up requests", err)
	}
	for _, r := range rows {
		standing := found[r.UserID]
		switch {
		case !r.State.Ended():
			standing.Open = true
		case r.FinishedAt != nil && !r.FinishedAt.Before(standing.EndedAt):
			standing.Ended, standing.EndedAt = r.State, *r.FinishedAt
		}
		found[r.UserID] = standing
	}
	return found, nil
}

// referring returns those of the users that have a reference in a table.
func (s *Store) referring(ctx context.Context, table string, users []purge.UserID) ([]purge.UserID, error) {
	var ids []purge.UserID
	err := s.gorm.WithContext(ctx).Raw("SELECT DISTINCT user_id FROM "+table+" WHERE user_id IN ? AND "+hasReference, users).Scan(&ids).Error
	return ids, err
}
