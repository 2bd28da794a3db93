package mysql

import (
	"context"

	"github.com/certpurge/certpurge/internal/purge"
)

// Uncovered is a retiring user who still has references, with the request that is, or was, to erase them.
type Uncovered struct {
	User    purge.UserID
	Request purge.RequestID // 0: never requested, but perhaps for single certificates
	State   purge.State     // empty: never requested
	Reason  purge.Reason
}

// EachUncovered calls do for every user of whom eligible says that they may be purged, and who has references left, in
// the order of user ids. Links to other services that a request has kept do not count, like in Standings. It reads the
// LMS by indexed pages, never a whole table.
func (s *Store) EachUncovered(ctx context.Context, eligible func(purge.Retirement) bool,
	do func(Uncovered) error,
) error {
	for last := purge.UserID(0); ; {
		page, err := s.Retirees(ctx, last, acceptBatch)
		if err != nil || len(page) == 0 {
			return err
		}
		last = page[len(page)-1].User
		var users []purge.UserID
		for _, r := range page {
			if eligible(r.Retirement) {
				users = append(users, r.User)
			}
		}
		if err := s.uncovered(ctx, users, do); err != nil {
			return err
		}
	}
}

// uncovered finds those of a page's users who have references, and their requests.
func (s *Store) uncovered(ctx context.Context, users []purge.UserID, do func(Uncovered) error) error {
	if len(users) == 0 {
		return nil
	}
	left, err := s.withReferences(ctx, users)
	if err != nil || len(left) == 0 {
		return err
	}
	var rows []Request
	if err := s.gorm.WithContext(ctx).Select("id, user_id, state, reason, references_kept").
		Where("user_id IN ? AND certificate_id = 0", users).Order("id").Find(&rows).Error; err != nil {
		return classify("looking up requests", err)
	}
	latest := map[purge.UserID]Request{}
	for _, r := range rows {
		if before, ok := latest[r.UserID]; !ok || before.State.Ended() || !r.State.Ended() { // an open one says more
			latest[r.UserID] = r
		}
	}
	for _, user := range users {
		r := latest[user]
		if left[user] == 0 || r.State == purge.Done && left[user] <= r.ReferencesKept {
			continue
		}
		if err := do(Uncovered{User: user, Request: r.ID, State: r.State, Reason: r.Reason}); err != nil {
			return err
		}
	}
	return nil
}
