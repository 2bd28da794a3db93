package mysql

import (
	"context"
	"crypto/subtle"
)

// SameBody remembers the fingerprint of the body that first came with an idempotency key, as purge.CallerKey made it, and
// reports whether this body is that one, and whether it is the first. Of two calls at the same time, one is the first.
func (s *Store) SameBody(ctx context.Context, key string, fingerprint [32]byte) (same, first bool, err error) {
	result := s.gorm.WithContext(ctx).Exec("INSERT IGNORE INTO request_bodies (idempotency_key, fingerprint, created_at) VALUES (?, ?, ?)",
		key, fingerprint[:], s.now())
	if result.Error != nil {
		return false, false, classify("remembering an idempotency key", result.Error)
	}
	if result.RowsAffected == 1 {
		return true, true, nil
	}
	var before []byte
	err = s.gorm.WithContext(ctx).Raw("SELECT fingerprint FROM request_bodies WHERE idempotency_key = ?", key).Scan(&before).Error
	if err != nil {
		return false, false, classify("looking up an idempotency key", err)
	}
	return subtle.ConstantTimeCompare(before, fingerprint[:]) == 1, false, nil
}
