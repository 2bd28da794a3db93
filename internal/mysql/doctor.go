package mysql

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/certpurge/certpurge/internal/evidence"
	"github.com/certpurge/certpurge/internal/purge"
)

// Problems does what Check does, or for the enqueuer CheckIntake, but continues after a problem and returns all of
// them. An error means that it could not check, for example because the server cannot be reached.
func (s *Store) Problems(ctx context.Context, role Role) ([]error, error) {
	if err := s.Ping(ctx); err != nil {
		return nil, err
	}
	var problems []error
	for _, check := range s.Checks(role) {
		switch err := check.Run(ctx); {
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

// Server returns the account of this connection and the version of the server: certpurge_worker@% on 8.4.0.
func (s *Store) Server(ctx context.Context) (string, error) {
	var text string
	err := s.read(ctx, "connecting to MySQL", &text, "SELECT CONCAT(CURRENT_USER(), ' on ', VERSION())")
	return purge.Printable(text), err
}

// Clock returns the time by MySQL's clock.
func (s *Store) Clock(ctx context.Context) (now time.Time, err error) {
	err = s.read(ctx, "reading MySQL's clock", &now, "SELECT UTC_TIMESTAMP(6)")
	return now, err
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

// ExcessRights returns the rights that this account has on the LMS database and on the ledger, but does not need for a
// role. Each is one sentence's part such as "DELETE on lms.auth_user". What the server says in an unknown form is shown
// as a right that could not be understood.
func (s *Store) ExcessRights(ctx context.Context, role Role) (excess []string, err error) {
	// Without FOR, the rights of the roles that are active count as well.
	var lines []string
	err = s.read(ctx, "reading the account's rights", &lines, "SHOW GRANTS")
	for _, line := range lines {
		excess = append(excess, s.excess(role, line)...)
	}
	slices.Sort(excess)
	return slices.Compact(excess), err
}

// The evidence that ChangedEvidence checks, and the requests that it names at most.
const (
	latestEvidence   = 100_000
	evidencePage     = 20_000
	changedRequests  = 1_000
	changedCondition = "object_key <> UNHEX(SHA2(CONCAT(CAST(bucket AS BINARY), 0x00, CAST(name AS BINARY), 0x00," +
		" CAST(generation AS BINARY)), 256))" + // the key that objectArgs made
		" OR LEFT(CAST(name AS BINARY), LENGTH(directory)) <> CAST(directory AS BINARY)"
)

// ChangedEvidence returns the requests with a document that is not as it was written, or with a row of an earlier
// version that does not name the object that it was written about: 1,000 at most. It reads all documents, with the
// anchors, and rows, or the latest.
func (s *Store) ChangedEvidence(ctx context.Context, all bool) ([]purge.RequestID, error) {
	found := map[purge.RequestID]struct{}{}
	changed := func(t evidence.Trouble) error {
		if len(found) < changedRequests {
			found[t.Request] = struct{}{}
		}
		return nil
	}
	var err error
	if all {
		_, err = s.Verify(ctx, nil, changed)
	} else {
		_, err = s.VerifyLatest(ctx, changed)
	}
	if err != nil {
		return nil, err
	}
	return s.changedRows(ctx, all, found)
}

// changedRows adds the requests with rows of earlier versions that were changed.
func (s *Store) changedRows(ctx context.Context, all bool, found map[purge.RequestID]struct{}) ([]purge.RequestID,
	error,
) {
	const what = "comparing evidence with its keys"
	last := int64(0) // rows are counted, not ids: an attacker who can write evidence chooses ids
	if !all {
		err := s.read(ctx, what, &last, "SELECT id FROM evidence_objects ORDER BY id DESC LIMIT 1 OFFSET ?", latestEvidence)
		if err != nil {
			return nil, err
		}
	}
	for len(found) < changedRequests {
		var end int64
		err := s.read(ctx, what, &end, "SELECT COALESCE(MAX(id), 0) FROM (SELECT id FROM evidence_objects WHERE id > ?"+
			" ORDER BY id LIMIT ?) page", last, evidencePage)
		if err != nil || end == 0 {
			return slices.Sorted(maps.Keys(found)), err
		}
		var ids []purge.RequestID
		// Without the hint, all evidence is read, in the order of the requests.
		err = s.read(ctx, what, &ids, "SELECT DISTINCT request_id FROM evidence_objects FORCE INDEX (PRIMARY)"+
			" WHERE id > ? AND id <= ? AND ("+changedCondition+") ORDER BY request_id LIMIT ?", last, end, changedRequests)
		if err != nil {
			return nil, err
		}
		for _, id := range ids {
			found[id] = struct{}{}
		}
		last = end
	}
	return slices.Sorted(maps.Keys(found))[:changedRequests], nil
}
