package mysql

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/certpurge/certpurge/internal/purge"
)

// Problems does what Check does, or for the enqueuer CheckIntake, but goes on after a problem and returns all of them. An error means that it could not
// look, because the server cannot be reached for example.
func (s *Store) Problems(ctx context.Context, role Role) ([]error, error) {
	if err := s.Ping(ctx); err != nil {
		return nil, err
	}
	checks := s.checks()
	if role == RoleEnqueuer {
		checks = s.intakeChecks()
	}
	var problems []error
	for _, check := range checks {
		switch err := check(ctx); {
		case err == nil:
		case purge.ClassOf(err) == purge.Misconfigured:
			problems = append(problems, err)
		case purge.ClassOf(err) == purge.Unavailable: // it answered Ping, so it refuses to work, whatever is asked next
			return append(problems, err), nil
		default:
			return nil, err
		}
	}
	return problems, nil
}

// Clock returns the time by MySQL's clock.
func (s *Store) Clock(ctx context.Context) (time.Time, error) {
	var now time.Time
	if err := s.sql.QueryRowContext(ctx, "SELECT UTC_TIMESTAMP(6)").Scan(&now); err != nil {
		return now, classify("reading MySQL's clock", err)
	}
	return now, nil
}

// WithOpenRequests returns those of the users who have a request that is queued or running.
func (s *Store) WithOpenRequests(ctx context.Context, users []purge.UserID) ([]purge.UserID, error) {
	var open []purge.UserID
	for page := range slices.Chunk(users, acceptBatch) {
		var rows []purge.UserID
		err := s.gorm.WithContext(ctx).Model(&Request{}).Distinct("user_id").
			Where("user_id IN ? AND state IN ?", page, []purge.State{purge.Queued, purge.Running}).Scan(&rows).Error
		if err != nil {
			return nil, classify("looking for open requests", err)
		}
		open = append(open, rows...)
	}
	return open, nil
}

// ExcessRights returns the rights that this account has on the LMS database and on the ledger, but does not need for a role.
// Each is one sentence's part such as "DELETE on lms.auth_user". What the server says in an unknown form is shown as a right
// that could not be understood.
func (s *Store) ExcessRights(ctx context.Context, role Role) (excess []string, err error) {
	// Without FOR, the rights of the roles that are active count as well.
	rows, err := s.sql.QueryContext(ctx, "SHOW GRANTS")
	if err != nil {
		return nil, classify("reading the account's rights", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var line string
		if err := rows.Scan(&line); err != nil {
			return nil, fmt.Errorf("reading the account's rights: %w", err)
		}
		excess = append(excess, s.excess(role, line)...)
	}
	slices.Sort(excess)
	return slices.Compact(excess), classify("reading the account's rights", rows.Err())
}

// changedRows is how many of the latest rows of evidence ChangedEvidence looks at.
const changedRows = 100_000

// ChangedEvidence returns the requests of which one of the latest 100,000 rows of evidence does not name the object that it was
// written about: its key is the SHA-256 of bucket, name and generation, which objectArgs made.
func (s *Store) ChangedEvidence(ctx context.Context) ([]purge.RequestID, error) {
	var ids []purge.RequestID
	err := s.gorm.WithContext(ctx).Raw("SELECT DISTINCT request_id FROM evidence_objects WHERE id > (SELECT COALESCE(MAX(id), 0) - ? FROM evidence_objects)"+
		" AND object_key <> UNHEX(SHA2(CONCAT(CAST(bucket AS BINARY), 0x00, CAST(name AS BINARY), 0x00, CAST(generation AS BINARY)), 256))"+
		" ORDER BY request_id LIMIT 1000", changedRows).Scan(&ids).Error
	return ids, classify("comparing evidence with its keys", err)
}
