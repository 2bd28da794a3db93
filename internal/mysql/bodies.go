package mysql

import (
	"context"
	"crypto/subtle"
	"database/sql"
	"time"
)

// SameBody remembers the fingerprint of the body that first came with an idempotency key, as purge.CallerKey made it,
// and reports whether this body is that one, and whether BodyAccepted was called since: then this call is a replay.
// Until then it is the first one, tried again.
func (s *Store) SameBody(ctx context.Context, key string, fingerprint [32]byte) (same, accepted bool, err error) {
	result := s.gorm.WithContext(ctx).Exec("INSERT IGNORE INTO request_bodies (idempotency_key, fingerprint, "+
		"created_at) VALUES (?, ?, ?)",
		key, fingerprint[:], s.now())
	if result.Error != nil {
		return false, false, classify("remembering an idempotency key", result.Error)
	}
	if result.RowsAffected == 1 {
		return true, false, nil
	}
	var before struct {
		Fingerprint []byte
		AcceptedAt  sql.NullTime
	}
	err = s.gorm.WithContext(ctx).Raw("SELECT fingerprint, accepted_at FROM request_bodies WHERE idempotency_key = ?",
		key).Scan(&before).Error
	if err != nil {
		return false, false, classify("looking up an idempotency key", err)
	}
	return subtle.ConstantTimeCompare(before.Fingerprint, fingerprint[:]) == 1, before.AcceptedAt.Valid, nil
}

// BodyAccepted writes down that all that came with an idempotency key is in the ledger.
func (s *Store) BodyAccepted(ctx context.Context, key string) error {
	err := s.gorm.WithContext(ctx).Exec("UPDATE request_bodies SET accepted_at = ? WHERE idempotency_key = ? AND "+
		"accepted_at IS NULL", s.now(), key).Error
	return classify("writing down that an idempotency key was accepted", err)
}

// ForgetBody forgets the body of an idempotency key unless BodyAccepted was called: the call was refused, and nothing
// of it is in the ledger.
func (s *Store) ForgetBody(ctx context.Context, key string) error {
	err := s.gorm.WithContext(ctx).Exec("DELETE FROM request_bodies WHERE idempotency_key = ? AND accepted_at IS NULL",
		key).Error
	return classify("forgetting an idempotency key that was refused", err)
}

// pruneBatch is how many rows one DELETE removes: larger ones hold their locks longer.
const pruneBatch = 1_000

// PruneKeys forgets idempotency keys that are older than a moment: with what came with them, and to which requests they
// led. The requests stay, with their first keys. It returns how many rows it removed.
func (s *Store) PruneKeys(ctx context.Context, before time.Time) (removed int64, err error) {
	for _, table := range []string{"request_bodies", "request_keys"} {
		for {
			statement := "DELETE FROM " + table + " WHERE created_at < ? LIMIT ?" //nolint:gosec // names of our own
			result, err := s.sql.ExecContext(ctx, statement, before.UTC(), pruneBatch)
			if err != nil {
				return removed, classify("forgetting old idempotency keys", err)
			}
			n, err := result.RowsAffected()
			removed += n
			if err != nil || n < pruneBatch {
				break
			}
		}
	}
	return removed, nil
}
