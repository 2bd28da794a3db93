package mysql

import (
	"context"

	"github.com/certpurge/certpurge/internal/purge"
)

// Preview says what Accept would answer, and changes nothing. Requests that would be made have no id.
func (s *Store) Preview(ctx context.Context, submissions []purge.Submission) ([]purge.Accepted, error) {
	known, err := s.lookUp(ctx, submissions)
	if err != nil {
		return nil, err
	}
	var earlier []purge.Submission
	for _, w := range submissions {
		if known.of(w) != nil {
			earlier = append(earlier, w)
		}
	}
	left, err := s.leftToDo(ctx, earlier, known)
	if err != nil {
		return nil, err
	}
	previewed := make([]purge.Accepted, len(submissions))
	for i, w := range submissions {
		previewed[i] = purge.Accepted{User: w.User, Certificate: w.Certificate, Found: purge.FoundNew, Open: true}
		if m := known.of(w); m != nil {
			stays := m.state.Ended() && (w.Replay || m.state == purge.Done && !left[scopeOf(w)])
			previewed[i] = purge.Accepted{
				Request: m.id, User: w.User, Certificate: w.Certificate, Found: purge.Found(m.state), Open: !stays,
				Attempts: m.attempts,
			}
			if stays {
				previewed[i].Reason = m.reason
			}
		}
	}
	return previewed, nil
}

// LastRetiree returns the highest id of a user with a retirement request; 0 if there is none.
func (s *Store) LastRetiree(ctx context.Context) (last purge.UserID, err error) {
	err = s.read(ctx, "reading retirement requests", &last, "SELECT COALESCE(MAX(user_id), 0) FROM "+s.tables.requests)
	return last, err
}
