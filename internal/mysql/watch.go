package mysql

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/certpurge/certpurge/internal/purge"
)

// WatchPosition returns the user after whom the next round begins, and how long ago the latest one ended, by the clock
// of the server. If none has ever ended, that is the longest possible duration.
func (s *Store) WatchPosition(ctx context.Context) (after purge.UserID, ended time.Duration, err error) {
	const forEver = time.Duration(1<<63 - 1)
	var ago sql.NullInt64
	err = s.sql.QueryRowContext(ctx, "SELECT after_user_id, TIMESTAMPDIFF(MICROSECOND, ended_at, UTC_TIMESTAMP(6)) FROM "+
		"watch_position WHERE id = 1").
		Scan(&after, &ago)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return 0, forEver, nil
	case err != nil:
		return 0, 0, classify("reading where watching goes on", err)
	case !ago.Valid || ago.Int64 < 0: // the clock was set back
		return after, forEver, nil
	}
	return after, time.Duration(ago.Int64) * time.Microsecond, nil
}

// SaveWatchPosition stores after which user to continue, and whether a round has ended there.
func (s *Store) SaveWatchPosition(ctx context.Context, after purge.UserID, ended bool) error {
	_, err := s.sql.ExecContext(ctx, "INSERT INTO watch_position (id, after_user_id, ended_at) VALUES (1, ?, IF(?, "+
		"UTC_TIMESTAMP(6), NULL))"+
		" ON DUPLICATE KEY UPDATE after_user_id = VALUES(after_user_id), ended_at = COALESCE(VALUES(ended_at), ended_at)",
		after, ended)
	return classify("writing down where watching goes on", err)
}
