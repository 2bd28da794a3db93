package backfill

import (
	"context"
	"fmt"
	"iter"
	"strings"
	"time"

	"github.com/certpurge/certpurge/internal/purge"
)

// Retirees reads the retiring users.
type Retirees interface {
	// Retirees returns users with a retirement request after a user id, in order; fewer than limit only if there are no
	// more.
	Retirees(ctx context.Context, after purge.UserID, limit int) ([]purge.Retiree, error)
	// Standings returns the standing of each user who has a reference; the others are missing.
	Standings(ctx context.Context, users []purge.UserID) (map[purge.UserID]purge.Standing, error)
	// LastRetiree returns the highest id of a user with a retirement request.
	LastRetiree(ctx context.Context) (purge.UserID, error)
}

// Retired is the source of all users who may be purged and have references. Positions are user ids.
type Retired struct {
	LMS          Retirees
	Database     string // the LMS's, for the fingerprint
	Eligible     func(purge.Retirement) bool
	Since, Until time.Time // of the retirement; zero for no bound; until is not included

	Passed Passed // users who were passed over; read it when no iteration is running

	last purge.UserID
}

// Passed counts retirement requests whose users are not submitted, by the reason.
type Passed struct {
	Requests    int `json:"requests"`     // all that were checked
	NotEligible int `json:"not_eligible"` // in a state of lms.excluded_states
	OtherDates  int `json:"other_dates"`
	NoReference int `json:"no_reference"`
}

// Fingerprint implements Source.
func (s *Retired) Fingerprint() string {
	parts := []string{"retired users of " + s.Database}
	for _, bound := range []struct {
		name string
		at   time.Time
	}{{"since", s.Since}, {"until", s.Until}} {
		if !bound.at.IsZero() {
			parts = append(parts, bound.name+" "+bound.at.UTC().Format(time.RFC3339))
		}
	}
	return strings.Join(parts, ", ")
}

// Open reads the highest user id, for Share.
func (s *Retired) Open(ctx context.Context) (err error) {
	s.last, err = s.LMS.LastRetiree(ctx)
	return err
}

// Share implements Source. It takes the ids as evenly spread.
func (s *Retired) Share(position int64) float64 {
	if s.last == 0 {
		return -1
	}
	return min(1, float64(position)/float64(s.last))
}

// Items implements Source. It reads the next page when the one before is used up; no transaction is open in between.
func (s *Retired) Items(ctx context.Context, after int64) iter.Seq2[Item, error] {
	s.Passed = Passed{}
	return func(yield func(Item, error) bool) {
		for last := purge.UserID(after); ; {
			page, err := s.LMS.Retirees(ctx, last, purge.MaxBatch)
			if err != nil || len(page) == 0 {
				if err != nil {
					yield(Item{}, fmt.Errorf("reading retired users after user %d: %w", last, err))
				}
				return
			}
			users, err := s.due(ctx, page)
			if err != nil {
				yield(Item{}, fmt.Errorf("reading retired users after user %d: %w", last, err))
				return
			}
			for _, user := range users {
				submission := purge.Submission{User: user, Key: purge.DefaultKey(user), Source: purge.SourceBackfill}
				if !yield(Item{Submission: submission, Position: int64(user)}, nil) {
					return
				}
			}
			last = page[len(page)-1].User
		}
	}
}

// due returns the users of a page who are to be submitted, and counts the others.
func (s *Retired) due(ctx context.Context, page []purge.Retiree) ([]purge.UserID, error) {
	var users []purge.UserID
	for _, r := range page {
		s.Passed.Requests++
		switch {
		case !s.Eligible(r.Retirement):
			s.Passed.NotEligible++
		case !s.Since.IsZero() && r.Since.Before(s.Since), !s.Until.IsZero() && !r.Since.Before(s.Until):
			s.Passed.OtherDates++
		default:
			users = append(users, r.User)
		}
	}
	standings, err := s.LMS.Standings(ctx, users)
	if err != nil {
		return nil, err
	}
	due := users[:0]
	for _, user := range users {
		standing, ok := standings[user]
		if !ok || !standing.Left && standing.Ended == purge.Done && !standing.Open { // erased; the history keeps dead links
			s.Passed.NoReference++
			continue
		}
		due = append(due, user)
	}
	return due, nil
}
