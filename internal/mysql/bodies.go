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
	added, err := s.exec(ctx, "writing down an idempotency key", "INSERT IGNORE INTO request_bodies (idempotency_key,"+
		" fingerprint, created_at) VALUES (?, ?, ?)", key, fingerprint[:], s.now())
	if err != nil || added == 1 {
		return added == 1, false, err
	}
	var before struct {
		Fingerprint []byte
		AcceptedAt  sql.NullTime
	}
	err = s.read(ctx, "looking up an idempotency key", &before,
		"SELECT fingerprint, accepted_at FROM request_bodies WHERE idempotency_key = ?", key)
	if err != nil {
		return false, false, err
	}
	return subtle.ConstantTimeCompare(before.Fingerprint, fingerprint[:]) == 1, before.AcceptedAt.Valid, nil
}

// BodyAccepted writes down that all that came with an idempotency key is in the ledger.
func (s *Store) BodyAccepted(ctx context.Context, key string) error {
	_, err := s.exec(ctx, "writing down that an idempotency key was accepted", "UPDATE request_bodies SET accepted_at = ?"+
		" WHERE idempotency_key = ? AND accepted_at IS NULL", s.now(), key)
	return err
}

// ForgetBody forgets the body of an idempotency key unless BodyAccepted was called: the call was refused, and nothing
// of it is in the ledger.
func (s *Store) ForgetBody(ctx context.Context, key string) error {
	_, err := s.exec(ctx, "removing an idempotency key that was refused",
		"DELETE FROM request_bodies WHERE idempotency_key = ? AND accepted_at IS NULL", key)
	return err
}

// PruneKeys forgets idempotency keys that are older than a moment: with what came with them, and to which requests they
// led. The requests stay, with their first keys. It returns how many rows it removed.
func (s *Store) PruneKeys(ctx context.Context, before time.Time) (removed int64, err error) {
	for _, table := range []string{"request_bodies", "request_keys"} {
		n, err := inBatches(ctx, s.sql, "removing old idempotency keys",
			"DELETE FROM "+table+" WHERE created_at < ? LIMIT ?", before.UTC())
		removed += n
		if err != nil {
			return removed, err
		}
	}
	return removed, nil
}
